//! Stopping PostgreSQL: by signal, in order, and where a deadline is set by ever harder means, so that it is gone in
//! time whatever it does (A1). It does not know why it is stopped.

use std::io;
use std::time::Duration;

use rustix::process::Signal;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use trunkline_core::Moment;
use trunkline_core::ha::Stop;
use trunkline_io::clock;

use super::postmaster::{FindError, Running};
use super::processes::{self, Process};

/// What was killed is gone this long after.
const KILLED_GO: Duration = Duration::from_secs(5);

/// How stopping came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Stopped {
    /// It ended by itself, as it was asked.
    InOrder,
    /// It had to be told to end without a shutdown checkpoint (SIGQUIT).
    Immediately,
    /// It had to be killed with its children.
    Killed,
    /// It was told to give up waiting. PostgreSQL may still be ending.
    Cancelled,
}

/// Why PostgreSQL could not be stopped.
#[derive(Debug, Error)]
pub enum StopError {
    /// A signal could not be sent.
    #[error("sending {signal:?} to the postmaster ({pid}): {source}")]
    Signal {
        /// The signal.
        signal: Signal,
        /// The postmaster.
        pid: u32,
        /// The cause.
        source: io::Error,
    },
    /// Its children could not be seen.
    #[error("looking for the children of the postmaster ({pid}): {source}")]
    Children {
        /// The postmaster.
        pid: u32,
        /// The cause.
        source: io::Error,
    },
    /// A child cannot be held.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It was killed and is still there: it waits for a disk.
    #[error(
        "process {0} was killed and does not end: it hangs in the kernel, most likely waiting for its disk"
    )]
    Undead(u32),
}

/// Ends a postmaster: fast (SIGINT) or immediately (SIGQUIT). With a deadline SIGQUIT halfway to it, SIGKILL of the
/// postmaster and all its children at three quarters. Returns when it is gone, or when told to give up: never while
/// a deadline is set, since then it is not this call's to give up.
///
/// The CHECKPOINT and the script before it are not done here.
///
/// # Errors
/// When it cannot be stopped at all.
pub async fn stop(
    running: &Running,
    how: Stop,
    cancel: &CancellationToken,
) -> Result<Stopped, StopError> {
    let began = clock::now();
    let first = if how.immediate {
        Signal::QUIT
    } else {
        Signal::INT
    };
    signal(running, first)?;
    let Some(deadline) = how.deadline else {
        return Ok(tokio::select! {
            biased;
            () = running.gone() => in_order(how),
            () = cancel.cancelled() => Stopped::Cancelled,
        });
    };
    let time = deadline.since(began);
    if gone_by(running, began.after(time / 2)).await {
        return Ok(in_order(how));
    }
    if !how.immediate {
        tracing::warn!("PostgreSQL does not end in time: it is told to end at once (SIGQUIT)");
        signal(running, Signal::QUIT)?;
    }
    if gone_by(running, began.after(time / 4 * 3)).await {
        return Ok(Stopped::Immediately);
    }
    tracing::error!("PostgreSQL does not end in time: it is killed with its children");
    kill(running).await?;
    Ok(Stopped::Killed)
}

/// Kills a postmaster and its children. The postmaster is frozen first, so that it makes no more of them. Returns when
/// all are gone: none of them acknowledges anything any more.
///
/// # Errors
/// When they cannot be seen, killed, or do not end.
pub async fn kill(running: &Running) -> Result<(), StopError> {
    let pid = running.pid();
    signal(running, Signal::STOP)?;
    let listed = processes::children(pid);
    // Whatever comes of the children: the postmaster must not stay frozen.
    let (held, unheld) = match &listed {
        Ok(children) => kill_children(children),
        Err(_) => (Vec::new(), None),
    };
    signal(running, Signal::KILL)?;
    listed.map_err(|source| StopError::Children { pid, source })?;
    if let Some(error) = unheld {
        return Err(error.into());
    }
    for process in held.iter().chain([running]) {
        if !gone_by(process, clock::now().after(KILLED_GO)).await {
            return Err(StopError::Undead(process.pid()));
        }
    }
    Ok(())
}

/// Kills them, and holds them so that their end can be waited for; the last error of holding one.
fn kill_children(children: &[Process]) -> (Vec<Running>, Option<FindError>) {
    let mut held = Vec::new();
    let mut unheld = None;
    for child in children {
        match Running::hold(child.pid) {
            Ok(child) => held.extend(child),
            Err(error) => unheld = Some(error),
        }
    }
    for child in &held {
        // One that cannot be killed is found by the wait for its end.
        let _ = child.signal(Signal::KILL);
    }
    (held, unheld)
}

const fn in_order(how: Stop) -> Stopped {
    if how.immediate {
        Stopped::Immediately
    } else {
        Stopped::InOrder
    }
}

async fn gone_by(running: &Running, moment: Moment) -> bool {
    let left = moment.since(clock::now());
    tokio::time::timeout(left, running.gone()).await.is_ok()
}

fn signal(to: &Running, signal: Signal) -> Result<(), StopError> {
    to.signal(signal).map_err(|source| StopError::Signal {
        signal,
        pid: to.pid(),
        source,
    })
}
