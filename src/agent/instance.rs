//! This node's PostgreSQL as jobs see it: each job is a few steps with what `postgres` offers, in a fixed order.
//!
//! Whether a job is right to do now is core's; here it is done, and its end told.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trunkline_core::config::agent::{Agent, Settings};
use trunkline_core::ha::{Job, JobOutcome};
use trunkline_core::postgres::MajorVersion;
use trunkline_core::wire::config::DynamicConfig;
use trunkline_io::clock;
use trunkline_io::shutdown::Tasks;

use crate::api::Ask;
use crate::jobs::Turn;
use crate::postgres::binaries::Binaries;
use crate::postgres::callbacks::{Callbacks, News, Told};
use crate::postgres::dynamic::{self, Keeper};
use crate::postgres::files::Files;
use crate::postgres::heartbeat::Heartbeat;
use crate::postgres::launch::Launcher;
use crate::postgres::postmaster::Running;
use crate::postgres::query::Target;

mod applying;
mod making;
mod mending;
mod restoring;
mod running;

/// How long a question of the REST API to PostgreSQL may take: what is answered must be answered within two seconds.
const REST_PATIENCE: Duration = Duration::from_millis(1500);

/// How long a stop that failed is not begun again.
const BREATH: Duration = Duration::from_millis(200);

/// Why a job failed, in a sentence; or that it was given up.
#[derive(Debug)]
enum Unfinished {
    Failed(String),
    Cancelled,
}

impl<E: std::error::Error> From<E> for Unfinished {
    fn from(error: E) -> Self {
        Self::Failed(with_causes(&error))
    }
}

type Finished = Result<JobOutcome, Unfinished>;

/// This node's PostgreSQL.
#[derive(Debug)]
pub(crate) struct Instance {
    agent: Arc<Agent>,
    files: Files,
    launcher: Launcher,
    callbacks: Callbacks,
    keeper: Keeper,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    settings: Arc<Settings>,
    /// What PostgreSQL and its files were last given; nothing is known of one that was found running.
    applied: Option<Arc<Settings>>,
    pending_restart: BTreeMap<String, (String, String)>,
    /// Whether what is in the data directory was made by this process: it may be put aside.
    made: bool,
    /// What the operator's scripts were told.
    told: Told,
}

impl Instance {
    /// PostgreSQL as `agent` names it, with these settings to be in force.
    pub(crate) fn new(agent: Arc<Agent>, settings: Arc<Settings>, tasks: &Tasks) -> Self {
        Self {
            files: Files::new(Arc::clone(&agent)),
            launcher: Launcher::this_binary(),
            callbacks: Callbacks::new(tasks.clone(), agent.scope.clone()),
            keeper: Keeper::default(),
            agent,
            state: Mutex::new(State {
                settings,
                applied: None,
                pending_restart: BTreeMap::new(),
                made: false,
                told: Told::default(),
            }),
        }
    }

    /// Other settings are to be in force; or the same ones are to be applied once more.
    pub(crate) fn set(&self, settings: Arc<Settings>) {
        let mut state = self.state();
        state.settings = settings;
        state.applied = None;
    }

    /// Whether PostgreSQL was not given the settings yet.
    pub(crate) fn is_reload_due(&self) -> bool {
        let state = self.state();
        state.applied.as_ref() != Some(&state.settings)
    }

    /// Parameters that wait for a restart, with the value in force and the configured one.
    pub(crate) fn pending_restart(&self) -> BTreeMap<String, (String, String)> {
        self.state().pending_restart.clone()
    }

    /// Has the data directory remember this dynamic configuration, unless it does.
    pub(crate) fn keep(&self, dynamic: &DynamicConfig) {
        self.keeper.keep(&self.agent, dynamic);
    }

    /// Does a job to its end. `running` is the postmaster that was seen last.
    pub(crate) async fn carry_out(
        &self,
        job: Job,
        running: Option<Running>,
        turn: Turn,
    ) -> JobOutcome {
        let cancel = &turn.cancel;
        let finished = match &job {
            Job::Bootstrap => self.bootstrap(cancel).await,
            Job::PutAside => self.put_aside(running, cancel).await,
            Job::Clone(upstream) => self.clone_from(upstream, cancel).await,
            Job::Start(mode, within) => self.start(mode, *within, cancel).await,
            Job::Stop(stop) => paced(self.stop_alone(running, *stop, &turn), cancel).await,
            Job::Promote => self.promote(cancel).await,
            Job::Follow(upstream) => self.follow(upstream.as_ref()).await,
            Job::CheckRewind(upstream) => self.check_rewind(upstream, running, cancel).await,
            Job::Rewind(upstream) => self.rewind(upstream, running, cancel).await,
            Job::CrashRecovery => self.recover(cancel).await,
            Job::Wipe => self.wipe(running).await,
            Job::Checkpoint => until(cancel, self.checkpoint()).await,
            Job::Reload => self.reload().await,
            Job::Slots(changes) => until(cancel, self.change_slots(changes)).await,
        };
        match finished {
            Ok(outcome) => outcome,
            Err(Unfinished::Failed(words)) => JobOutcome::Failed(words),
            Err(Unfinished::Cancelled) => JobOutcome::Cancelled,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.state().settings)
    }

    fn binaries(&self) -> Binaries<'_> {
        Binaries::of(&self.agent)
    }

    /// The version of PostgreSQL, which must be the data directory's.
    async fn version(&self) -> Result<MajorVersion, Unfinished> {
        Ok(self.binaries().version_for(&self.agent.data_dir).await?)
    }

    fn target(&self, settings: &Settings) -> Target {
        Target::local(&self.agent, settings)
    }

    /// Tells the operator's scripts.
    fn tell(&self, what: impl FnOnce(&mut Told) -> News) {
        let (event, role) = what(&mut self.state().told);
        self.callbacks.call(&self.settings().callbacks, event, role);
    }
}

/// Work that only waits for PostgreSQL can be left at any time.
async fn until(cancel: &CancellationToken, work: impl Future<Output = Finished>) -> Finished {
    let done = cancel.run_until_cancelled(work).await;
    done.unwrap_or(Err(Unfinished::Cancelled))
}

/// A stop that fails, and may fail at once, is over only after a breath: it is begun again until it is done.
async fn paced(work: impl Future<Output = Finished>, cancel: &CancellationToken) -> Finished {
    let ended = work.await;
    if let Err(Unfinished::Failed(_)) = ended {
        let _given_up = cancel.run_until_cancelled(tokio::time::sleep(BREATH)).await;
    }
    ended
}

/// The dynamic configuration that the data directory remembers.
pub(crate) fn kept(agent: &Agent) -> Option<DynamicConfig> {
    dynamic::read(&agent.data_dir).unwrap_or_else(|error| {
        tracing::warn!("{error}");
        None
    })
}

/// Whoever asks PostgreSQL for the REST API, over a connection of its own.
pub(crate) fn asker(agent: &Agent, settings: &Settings) -> Ask {
    let heartbeat = Heartbeat::new(Target::local(agent, settings), "Patroni restapi")
        .replicating(Target::local_replication(agent, settings));
    let heartbeat = Arc::new(tokio::sync::Mutex::new(heartbeat));
    Arc::new(move || {
        let heartbeat = Arc::clone(&heartbeat);
        Box::pin(async move {
            let deadline = clock::now().after(REST_PATIENCE);
            heartbeat.lock().await.ask(deadline).await
        })
    })
}

/// An error with what caused it, where it does not say so itself.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = error.source();
    }
    words
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(words) => f.write_str(words),
            Self::Cancelled => f.write_str("it was given up"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn takes(work: impl Future<Output = Finished>, cancel: &CancellationToken) -> Duration {
        let began = clock::now();
        let _ended = paced(work, cancel).await;
        clock::now().since(began)
    }

    #[tokio::test]
    async fn a_stop_that_fails_at_once_is_paced_and_one_that_is_given_up_is_not() {
        let (endless, given_up) = (CancellationToken::new(), CancellationToken::new());
        let fails = async || Err(Unfinished::Failed("EPERM".to_owned()));
        assert!(takes(fails(), &endless).await >= BREATH);
        given_up.cancel();
        assert!(takes(fails(), &given_up).await < BREATH);
        let done = async || Ok(JobOutcome::Done);
        assert!(takes(done(), &endless).await < BREATH);
    }
}
