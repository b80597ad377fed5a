//! Starting PostgreSQL and waiting until it takes connections, without a fixed pause: the postmaster's own word in
//! `postmaster.pid` is looked at, its exit wakes at once. The files must stand as they are to be before.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use thiserror::Error;
use trunkline_core::postgres::PostmasterStatus;

use super::launch::{self, LaunchError, Launcher};
use super::postmaster::{self, FindError, Found, Running};
use super::processes;
use super::program::{Impatience, Patience};

/// The status word is looked at this often: one small file.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Children of a postmaster that died are gone this long after they were killed.
const ORPHANS_GO: Duration = Duration::from_secs(5);

/// How far a start came.
#[derive(Debug)]
#[must_use]
pub enum Started {
    /// It takes connections.
    Ready(Running),
    /// It recovers and, with hot_standby off, will take none until it is promoted.
    Closed(Running),
    /// It has not finished within its time, and goes on.
    Still(Running),
    /// It was given up meanwhile, and goes on.
    Cancelled(Running),
    /// It ended; its own log says why.
    Ended,
}

/// Why PostgreSQL could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// It cannot be told who runs on the data directory.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A `postgres --single` runs on it.
    #[error(
        "process {0} runs PostgreSQL in single-user mode on this data directory: wait for its end, or end it"
    )]
    SingleUser(u32),
    /// It could not be launched.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Processes of a postmaster that died are still there.
    #[error("ending the processes that a dead postmaster left behind: {0}")]
    Orphans(io::Error),
}

/// What to start, on which data directory.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The data directory.
    pub data: &'a Path,
    /// The program `postgres`.
    pub postgres: &'a Path,
    /// Its arguments: `-D`, the data directory and everything else.
    pub arguments: &'a [OsString],
    /// The locks of its sockets.
    pub sockets: &'a [PathBuf],
}

/// Starts PostgreSQL, unless it runs already, and waits for it as long as there is patience.
///
/// # Errors
/// When it could not even be launched.
pub async fn start(
    launcher: &Launcher,
    what: Start<'_>,
    patience: &Patience,
) -> Result<Started, StartError> {
    let stranger = match postmaster::find(what.data)? {
        Found::Postmaster(running) => return Ok(wait(running, what.data, patience).await),
        Found::SingleUser(pid) => return Err(StartError::SingleUser(pid)),
        Found::Stranger(pid) => Some(pid),
        Found::Nobody => None,
    };
    let program = what.postgres.file_name().unwrap_or(OsStr::new("postgres"));
    end_orphans(program, what.data)
        .await
        .map_err(StartError::Orphans)?;
    // PostgreSQL takes one number that is not to be minded.
    let stranger = stranger.or_else(|| postmaster::left_on_sockets(what.data, what.sockets));
    let postmaster = launch::Postmaster {
        postgres: what.postgres,
        arguments: what.arguments,
        stranger,
    };
    match launch::launch(launcher, postmaster).await? {
        None => Ok(Started::Ended),
        Some(running) => Ok(wait(running, what.data, patience).await),
    }
}

/// Waits until a postmaster takes connections, for as long as there is patience.
pub async fn wait(running: Running, data: &Path, patience: &Patience) -> Started {
    let ready = async {
        loop {
            match status(&running, data) {
                Some(PostmasterStatus::Ready) => return true,
                Some(PostmasterStatus::Standby) => return false,
                Some(PostmasterStatus::Starting | PostmasterStatus::Stopping) | None => {}
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let ended = tokio::select! {
        biased;
        () = running.gone() => return Started::Ended,
        open = ready => Ok(open),
        impatience = patience.ends() => Err(impatience),
    };
    match ended {
        Ok(true) => Started::Ready(running),
        Ok(false) => Started::Closed(running),
        Err(Impatience::TooLong) => Started::Still(running),
        Err(Impatience::Cancelled) => Started::Cancelled(running),
    }
}

/// What a postmaster says of itself; `None` until it says something.
#[must_use]
pub fn status(running: &Running, data: &Path) -> Option<PostmasterStatus> {
    let file = postmaster::lock_file(data).ok().flatten()?;
    // An older file may lie there until the postmaster has written its own.
    (file.pid == running.pid() && !file.single_user)
        .then_some(file.status)
        .flatten()
}

/// Kills what a postmaster that died without its children left in a data directory: such a backend may still be
/// acknowledging writes, and PostgreSQL does not start beside it. Returns how many there were, once all are gone.
///
/// # Errors
/// When they cannot be seen or killed.
pub async fn end_orphans(program: &OsStr, data: &Path) -> io::Result<usize> {
    let orphans = processes::of_program_in(program, data)?;
    let mut held = Vec::new();
    for orphan in &orphans {
        if let Some(running) = Running::hold(orphan.pid).map_err(io::Error::other)? {
            running.signal(Signal::KILL)?;
            held.push(running);
        }
    }
    if !held.is_empty() {
        tracing::warn!(
            "killed {} processes that a dead postmaster had left in {}",
            held.len(),
            data.display()
        );
    }
    for running in &held {
        let gone = tokio::time::timeout(ORPHANS_GO, running.gone()).await;
        gone.map_err(|_| {
            let words = format!("process {} was killed and does not end", running.pid());
            io::Error::new(io::ErrorKind::TimedOut, words)
        })?;
    }
    Ok(held.len())
}
