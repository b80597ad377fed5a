//! Telling the operator's scripts what happened (contract 5.16): nobody waits for them, one runs at a time, a newer
//! one ends the older with its children, and a reload's has a place of its own.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio_util::sync::CancellationToken;
use trunkline_core::Scope;
use trunkline_io::shutdown::Tasks;

use super::program;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// PostgreSQL was started.
    Start,
    /// It was stopped.
    Stop,
    /// It was restarted.
    Restart,
    /// Its configuration was reloaded.
    Reload,
    /// It became a primary, or ceased to be one.
    RoleChange,
}

impl Event {
    /// Its name in patroni.yml, and the script's first argument.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "on_start",
            Self::Stop => "on_stop",
            Self::Restart => "on_restart",
            Self::Reload => "on_reload",
            Self::RoleChange => "on_role_change",
        }
    }
}

/// What the scripts were told so far, which decides what they are told next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    anything: bool,
    leads: bool,
}

/// An event and the role it is told with.
pub type News = (Event, &'static str);

impl Told {
    /// PostgreSQL was started. Where a primary comes back as a standby that is a change of its role, and no start.
    pub const fn started(&mut self, primary: bool) -> News {
        let event = if self.anything && self.leads && !primary {
            Event::RoleChange
        } else {
            Event::Start
        };
        self.is(primary);
        (event, role(primary))
    }

    /// It was stopped; `standby` if it was one.
    pub const fn stopped(&mut self, standby: bool) -> News {
        self.anything = true;
        self.leads = self.leads || !standby;
        (Event::Stop, if standby { "replica" } else { "demoted" })
    }

    /// Its configuration was reloaded; the first time of one that was found running counts as its start.
    pub const fn reloaded(&mut self, primary: bool) -> News {
        let event = if self.anything {
            Event::Reload
        } else {
            Event::Start
        };
        self.is(primary);
        (event, role(primary))
    }

    /// It was promoted.
    pub const fn promoted(&mut self) -> News {
        self.is(true);
        (Event::RoleChange, role(true))
    }

    const fn is(&mut self, primary: bool) {
        *self = Self {
            anything: true,
            leads: primary,
        };
    }
}

const fn role(primary: bool) -> &'static str {
    if primary { "primary" } else { "replica" }
}

/// The scripts that run now: at most two.
#[derive(Clone, Debug)]
pub struct Callbacks {
    tasks: Tasks,
    scope: Scope,
    running: Arc<Mutex<[CancellationToken; 2]>>,
}

impl Callbacks {
    /// None runs.
    #[must_use]
    pub fn new(tasks: Tasks, scope: Scope) -> Self {
        Self {
            tasks,
            scope,
            running: Arc::default(),
        }
    }

    /// Begins the script for an event, if there is one, and ends the one that runs in its place. `role` is the word
    /// of the contract: `primary`, `replica`, `demoted` …
    pub fn call(&self, scripts: &BTreeMap<String, String>, event: Event, role: &str) {
        let Some(script) = scripts.get(event.name()) else {
            return;
        };
        let mut command = match program::split(&format!("callbacks.{}", event.name()), script) {
            Ok(command) => command,
            Err(error) => {
                tracing::error!("{error}");
                return;
            }
        };
        command.args([event.name(), role, self.scope.as_str()]);
        let (token, ending) = (self.take_place(event), self.tasks.ending().clone());
        self.tasks.spawn("callback", async move {
            if let Err(error) = run(command, event, &token, &ending).await {
                tracing::error!("running {}: {error}", event.name());
            }
        });
    }

    fn take_place(&self, event: Event) -> CancellationToken {
        let place = usize::from(event == Event::Reload);
        let token = CancellationToken::new();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut running[place], token.clone()).cancel();
        token
    }
}

/// Waits for a script. It writes where the agent writes, and outlives it: on_stop is called when both end.
async fn run(
    mut command: Command,
    event: Event,
    replaced: &CancellationToken,
    ending: &CancellationToken,
) -> io::Result<()> {
    let mut child = tokio::process::Command::from({
        command.process_group(0);
        command
    })
    .spawn()?;
    let group = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    tokio::select! {
        biased;
        status = child.wait() => {
            let status = status?;
            if !status.success() {
                tracing::warn!("{} failed ({})", event.name(), program::ending(status));
            }
        }
        () = replaced.cancelled() => {
            tracing::info!("{} is ended for a newer one", event.name());
            if let Some(group) = group {
                // It has not been waited for: the number is still its own.
                let _ = kill_process_group(group, Signal::KILL);
            }
            child.wait().await?;
        }
        () = ending.cancelled() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switchover_is_told_as_patroni_tells_it() {
        let (mut old, mut new) = (Told::default(), Told::default());
        assert_eq!(old.started(true), (Event::Start, "primary"));
        assert_eq!(new.started(false), (Event::Start, "replica"));
        assert_eq!(old.stopped(false), (Event::Stop, "demoted"));
        assert_eq!(new.promoted(), (Event::RoleChange, "primary"));
        assert_eq!(old.started(false), (Event::RoleChange, "replica"));
        assert_eq!(old.reloaded(false), (Event::Reload, "replica"));
        // And back.
        assert_eq!(new.stopped(false), (Event::Stop, "demoted"));
        assert_eq!(old.promoted(), (Event::RoleChange, "primary"));
        assert_eq!(new.started(false), (Event::RoleChange, "replica"));
    }

    #[test]
    fn a_postgresql_that_was_found_running_is_told_as_started_once() {
        let mut told = Told::default();
        assert_eq!(told.reloaded(true), (Event::Start, "primary"));
        assert_eq!(told.reloaded(true), (Event::Reload, "primary"));
        // It crashes: nobody stopped it.
        assert_eq!(told.started(true), (Event::Start, "primary"));
        assert_eq!(told.started(false), (Event::RoleChange, "replica"));
    }

    #[test]
    fn a_primary_that_was_stopped_before_anything_was_told_of_it_changes_its_role() {
        let mut told = Told::default();
        assert_eq!(told.stopped(false), (Event::Stop, "demoted"));
        assert_eq!(told.started(false), (Event::RoleChange, "replica"));
    }

    #[test]
    fn a_standby_that_is_restarted_stays_one() {
        let mut told = Told::default();
        assert_eq!(told.started(false), (Event::Start, "replica"));
        assert_eq!(told.stopped(true), (Event::Stop, "replica"));
        assert_eq!(told.started(false), (Event::Start, "replica"));
    }
}
