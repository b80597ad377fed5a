//! Ending in order: one object for "stop", one for every task that has to hear it.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// The tasks of a program: spawned with a name, told to stop together, waited for with a bound.
///
/// Stopping has two degrees. *Draining*: take nothing new and let what runs come to its end. *Ending*: now.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    drain: CancellationToken,
    end: CancellationToken,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a task. It must come to its end soon after [`Tasks::ending`] fires.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tracker
            .spawn(task.instrument(tracing::debug_span!("task", name)));
    }

    /// Spawns a task on another runtime than the one that runs this: a worker's. It must come to its end soon after
    /// [`Tasks::ending`] fires.
    pub fn spawn_on<F>(&self, runtime: &Handle, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let span = tracing::debug_span!("task", name);
        // Of these there are thousands: a span that nobody sees would only make each of them larger.
        if span.is_disabled() {
            self.tracker.spawn_on(task, runtime);
        } else {
            self.tracker.spawn_on(task.instrument(span), runtime);
        }
    }

    /// Fires when nothing new is to be taken.
    #[must_use]
    pub const fn draining(&self) -> &CancellationToken {
        &self.drain
    }

    /// Fires when everything is to end now.
    #[must_use]
    pub const fn ending(&self) -> &CancellationToken {
        &self.end
    }

    /// Some of these tasks, which can be ended apart from the others and end with them.
    #[must_use]
    pub fn part(&self) -> Self {
        Self {
            tracker: self.tracker.clone(),
            drain: self.drain.clone(),
            end: self.end.child_token(),
        }
    }

    /// Tells everything to end now, without waiting for it.
    pub fn stop(&self) {
        self.end.cancel();
    }

    /// Begins to drain.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Ends everything and waits for it, no longer than `grace`. Says whether all tasks ended.
    pub async fn end(&self, grace: Duration) -> bool {
        self.drain.cancel();
        self.end.cancel();
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait())
            .await
            .is_ok()
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To stop: the signal's name.
    Stop(&'static str),
    /// To read the configuration again.
    Reload,
}

/// The signals a program is told by: SIGTERM and SIGINT to stop, SIGHUP to read its configuration again.
#[derive(Debug)]
pub struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the signals from here on; before this call they end the process at once.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn take() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// What the next signal asks for. Several of one kind that came meanwhile count as one. Cancel safe.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.term.recv() => Asked::Stop("SIGTERM"),
            _ = self.int.recv() => Asked::Stop("SIGINT"),
            _ = self.hup.recv() => Asked::Reload,
        }
    }
}
