//! From a configuration to a running router, from one to the next, and to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use trunkline_core::config::Problems;
use trunkline_core::config::router::Written;
use trunkline_io::clock;
use trunkline_io::logging::Log;
use trunkline_io::metrics::Recorder;
use trunkline_io::shutdown::{Asked, Signals, Tasks};
use trunkline_io::systemd::{Manager, Word};

use crate::admin::Admin;
use crate::house::House;
use crate::ports::PassedSockets;
use crate::worker::Workers;
use crate::{informed, metrics};

/// How long tasks may take to end once they are told to.
const GRACE: Duration = Duration::from_secs(2);
/// How often histogram samples are folded.
const UPKEEP: Duration = Duration::from_secs(5);
/// How often it is looked whether what was taken out of the configuration can go.
const SWEEP: Duration = Duration::from_secs(1);
/// How long reading the configuration again may take.
const READ: Duration = Duration::from_secs(10);

/// Why the router did not start.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration asks for something that cannot be had: a port, most likely.
    #[error("{0}")]
    Refused(Problems),
    /// The system refused something every process needs.
    #[error("{what}: {cause}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system says.
        cause: std::io::Error,
    },
    /// Metrics could not be set up.
    #[error("cannot set up metrics: {0}")]
    Metrics(String),
}

/// Reads the configuration again, from wherever it came.
pub type Read = Arc<dyn Fn() -> Result<Written, Problems> + Send + Sync>;

/// What a router starts with.
pub struct Start {
    /// Its configuration.
    pub written: Written,
    /// Where the next one comes from.
    pub read: Read,
    /// Its log.
    pub log: Log,
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start")
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

/// Runs the router until a signal stops it: SIGTERM or SIGINT drains, a second one ends at once. SIGHUP reads the
/// configuration again.
///
/// # Errors
/// [`Failure`], before any client is accepted.
pub async fn run(start: Start) -> Result<(), Failure> {
    let system = |what| move |cause| Failure::System { what, cause };
    let mut signals = Signals::take().map_err(system("taking over signals"))?;
    let recorder = Recorder::install().map_err(|error| Failure::Metrics(error.to_string()))?;
    metrics::describe();
    let tasks = Tasks::new();
    let passed = PassedSockets::take().map_err(system("taking over the sockets of systemd"))?;
    let admin = |shown| Admin::new(shown, recorder.clone(), tasks.clone());
    let workers = Workers::start(start.written.router.threads);
    let workers = Arc::new(workers.map_err(system("starting threads for sessions"))?);
    let mut house = House::new(passed, admin, &workers, &tasks);
    // Every port is taken before any client is let in: a router that cannot serve does not start.
    let prepared = house.furnish(&start.written).await;
    let prepared = prepared.map_err(Failure::Refused)?;
    house.commit(&start.written, prepared).await;
    spawn_upkeep(recorder, &tasks);
    let manager = Manager::default();
    tell(&manager, Word::Ready, &house, false).await;
    let informing = informed::keep(manager.clone(), Arc::clone(house.shown()), tasks.clone());
    tasks.spawn("service manager", informing);
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop(signal) => {
                    stop(signal, signals, &tasks, &mut house, &manager).await;
                    if !workers.end(GRACE).await {
                        tracing::error!("some threads did not end in time");
                    }
                    return Ok(());
                }
                Asked::Reload => reload(&start, &mut house, &manager).await,
            },
            () = sleep(SWEEP) => house.sweep().await,
        }
    }
}

/// Reads the configuration again and applies it whole, or refuses it whole.
async fn reload(start: &Start, house: &mut House, manager: &Manager) {
    tell(manager, Word::Reloading, house, false).await;
    let read = Arc::clone(&start.read);
    let written = match timeout(READ, spawn_blocking(move || read())).await {
        Ok(Ok(written)) => written,
        Ok(Err(_)) | Err(_) => {
            let file = &house.shown().load().configuration.file;
            Err(Problems::unreadable(
                file,
                &format!("not read within {READ:?}"),
            ))
        }
    };
    let prepared = match written {
        Ok(written) => house.prepare(&written).await.map(|ready| (written, ready)),
        Err(problems) => Err(problems),
    };
    match prepared {
        Ok((written, prepared)) => {
            for line in written.warnings.lines() {
                tracing::warn!("{line}");
            }
            house.commit(&written, prepared).await;
            start.log.set_level(written.router.log.level.as_str());
        }
        Err(problems) => house.refused(&problems),
    }
    tell(manager, Word::Ready, house, false).await;
}

async fn tell(manager: &Manager, word: Word, house: &House, is_draining: bool) {
    let status = informed::status(&house.shown().load(), is_draining);
    manager.tell(word, &status).await;
}

fn spawn_upkeep(recorder: Recorder, tasks: &Tasks) {
    let end = tasks.ending().clone();
    tasks.spawn("metrics upkeep", async move {
        let upkeep = async {
            loop {
                sleep(UPKEEP).await;
                recorder.upkeep();
            }
        };
        let _: Option<()> = end.run_until_cancelled(upkeep).await;
    });
}

/// Drains, ends.
async fn stop(
    signal: &'static str,
    mut signals: Signals,
    tasks: &Tasks,
    house: &mut House,
    manager: &Manager,
) {
    tasks.drain();
    house.close_listeners().await;
    tell(manager, Word::Stopping, house, true).await;
    let began = clock::now();
    let (sessions, within) = (house.clients(), house.config().drain);
    tracing::info!(signal, sessions, ?within, "draining: no new clients");
    let drained = async {
        while house.clients() > 0 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = drained => {}
        () = sleep(within) => tracing::warn!(sessions = house.clients(), "the drain took too long: ending sessions"),
        signal = second(&mut signals) => tracing::warn!(signal, sessions = house.clients(), "a second signal: ending sessions"),
    }
    if !tasks.end(GRACE).await {
        tracing::error!("some tasks did not end in time");
    }
    tracing::info!(after = ?clock::now().since(began), "stopped");
}

/// The next signal that asks to stop.
async fn second(signals: &mut Signals) -> &'static str {
    loop {
        match signals.next().await {
            Asked::Stop(signal) => return signal,
            Asked::Reload => {
                tracing::warn!("SIGHUP: the router is stopping, nothing is read again")
            }
        }
    }
}
