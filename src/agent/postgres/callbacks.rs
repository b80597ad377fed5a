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
