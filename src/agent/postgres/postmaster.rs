//! The postmaster as a process: found by `postmaster.pid`, held by a pidfd, so that its exit wakes whoever waits at
//! once and a signal can reach no other process. It does not know why it is to run or to end.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
use thiserror::Error;
use tokio::io::unix::AsyncFd;
use trunkline_core::postgres::LockFile;
use trunkline_io::files;

use super::processes::{self, Process};

/// PostgreSQL's lock file has some hundred bytes.
const LONGEST: u64 = 1 << 16;
/// How far a process's start may be from what the lock file says (contract 4.3), in seconds.
const START_TOLERANCE: u64 = 3;
/// A process that PostgreSQL knows is no postmaster (PostgreSQL, `CreateLockFile`).
const GRANDPARENT: &str = "PG_GRANDPARENT_PID";

/// A postmaster that was found running or was started.
#[derive(Clone, Debug)]
pub struct Running {
    pid: u32,
    exit: Arc<AsyncFd<OwnedFd>>,
}

/// Who runs on a data directory.
#[derive(Debug)]
#[must_use]
pub enum Found {
    /// Nobody: there is no lock file, or its process is gone.
    Nobody,
    /// The lock file is an old one. Its number is that of a process which is certainly no postmaster of this
    /// directory, or of one which has ended and whose parent has not taken notice yet: PostgreSQL takes both for
    /// another postmaster unless it is told otherwise.
    Stranger(u32),
    /// A `postgres --single`.
    SingleUser(u32),
    /// Its postmaster.
    Postmaster(Running),
}

/// Why it cannot be told who runs there.
#[derive(Debug, Error)]
pub enum FindError {
    /// The lock file cannot be read.
    #[error("reading {}: {source}; the agent's user must be able to read the data directory", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The process cannot be held.
    #[error("watching process {pid}, named by postmaster.pid: {source}")]
    Watch {
        /// The process.
        pid: u32,
        /// The cause.
        source: io::Error,
    },
}

/// Finds the postmaster of a data directory.
///
/// # Errors
/// When the lock file or the process it names cannot be looked at. Damaged content is no error: PostgreSQL itself
/// refuses to start beside it, and says so.
pub fn find(data: &Path) -> Result<Found, FindError> {
    let Some(file) = lock_file(data)? else {
        return Ok(Found::Nobody);
    };
    let Some(running) = Running::hold(file.pid)? else {
        return Ok(Found::Nobody);
    };
    // Looked at only now: the descriptor keeps the number from becoming somebody else's in between.
    let Some(process) = processes::process(file.pid) else {
        return Ok(Found::Nobody);
    };
    if process.zombie || running.is_gone() || !is_of(data, &file, &process) {
        return Ok(Found::Stranger(file.pid));
    }
    if file.single_user {
        return Ok(Found::SingleUser(file.pid));
    }
    Ok(Found::Postmaster(running))
}

/// Finds the postmaster of a data directory whose lock file names it no more, since somebody has overwritten or removed
/// the file. It looks at every process there is: once, and only where [`find`] finds nobody.
///
/// # Errors
/// When the processes, or this one, cannot be looked at.
pub fn find_unnamed(program: &OsStr, data: &Path) -> Result<Option<Running>, FindError> {
    let unreadable = |source| FindError::Unreadable {
        path: "/proc".into(),
        source,
    };
    let all = processes::of_program_in(program, data).map_err(unreadable)?;
    for process in unforked(&all) {
        let Some(running) = Running::hold(process.pid)? else {
            continue;
        };
        if serves(&processes::arguments(process.pid)) && !running.is_gone() {
            return Ok(Some(running));
        }
    }
    Ok(None)
}

/// Those that no other of them forked: a child that was forked a moment ago still has the postmaster's arguments.
fn unforked(all: &[Process]) -> impl Iterator<Item = &Process> {
    let is_child = |process: &Process| all.iter().any(|other| other.pid == process.parent);
    all.iter().filter(move |process| !is_child(process))
}

/// Whether a program of PostgreSQL with these arguments is a postmaster: its children have a title instead, and what does
/// not serve anybody is told so first. A process that is ending shows none: the kernel takes its memory first, and that
/// lasts where much of it was shared.
fn serves(arguments: &[Vec<u8>]) -> bool {
    let is_title = |first: &Vec<u8>| first.is_empty() || first.starts_with(b"postgres: ");
    let other = |argument: &Vec<u8>| {
        ["-C", "--single", "--boot", "--check", "--describe-config"]
            .iter()
            .any(|other| argument == other.as_bytes())
    };
    arguments.first().is_some_and(|first| !is_title(first)) && !arguments.iter().any(other)
}

/// What stands in the lock file of a data directory; `None` where there is none, or nothing that can be used.
///
/// # Errors
/// When it is there and cannot be read.
pub fn lock_file(data: &Path) -> Result<Option<LockFile>, FindError> {
    let path = data.join("postmaster.pid");
    match files::read(&path, LONGEST) {
        Ok(bytes) => Ok(LockFile::parse(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FindError::Unreadable { path, source }),
    }
}

/// The process that the lock of a socket names though nobody runs on its data directory, which is this one: one that has
/// ended and whose parent has not taken notice yet, or that has the number of one. PostgreSQL takes either for another
/// postmaster unless it is told otherwise.
///
/// Only for a data directory where [`find`] finds nobody.
#[must_use]
pub fn left_on_sockets(data: &Path, locks: &[PathBuf]) -> Option<u32> {
    let same = |named: &str| match (fs::metadata(named), fs::metadata(data)) {
        (Ok(named), Ok(data)) => (named.dev(), named.ino()) == (data.dev(), data.ino()),
        (_, _) => false,
    };
    locks.iter().find_map(|lock| {
        let file = LockFile::parse(&files::read(lock, LONGEST).ok()?)?;
        let ours = file.data_directory.as_deref().is_some_and(same);
        (ours && processes::process(file.pid).is_some()).then_some(file.pid)
    })
}

/// Has a program of PostgreSQL not take the process that an old lock file names for another postmaster.
pub(super) fn disown(command: &mut Command, stranger: Option<u32>) {
    command.env_remove(GRANDPARENT);
    if let Some(stranger) = stranger {
        command.env(GRANDPARENT, stranger.to_string());
    }
}

/// Whether the process that the file names is the one that wrote it.
fn is_of(data: &Path, file: &LockFile, process: &Process) -> bool {
    let me = std::process::id();
    if process.pid == me || process.pid == std::os::unix::process::parent_id() {
        return false;
    }
    let on_time = file.started.is_some_and(|recorded| {
        processes::wall_seconds(process.started)
            .is_some_and(|begun| begun.abs_diff(recorded) <= START_TOLERANCE)
    });
    match processes::works_in(process.pid, data) {
        Some(false) => false,
        // PostgreSQL runs there. If only the machine's clock was set meanwhile, it is the postmaster: its children
        // have a parent that works there too.
        Some(true) => on_time || processes::works_in(process.parent, data) != Some(true),
        None => on_time,
    }
}

impl Running {
    /// Holds the process of that number; `None` if there is none.
    ///
    /// # Errors
    /// When the system does not let it be held.
    pub(super) fn hold(pid: u32) -> Result<Option<Self>, FindError> {
        let watch = |source| FindError::Watch { pid, source };
        let held = match processes::hold(pid) {
            Ok(held) => held,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                return Ok(None);
            }
            Err(source) => return Err(watch(source)),
        };
        #[expect(
            unsafe_code,
            reason = "tokio has no safe way to register a descriptor of one's own"
        )]
        // SAFETY: the descriptor is open and owned; the `AsyncFd` takes it whole, never gives it out mutably, and
        // an `OwnedFd` names the same descriptor for as long as it lives.
        let exit = unsafe { AsyncFd::register(held) }.map_err(|error| watch(error.into()))?;
        Ok(Some(Self {
            pid,
            exit: Arc::new(exit),
        }))
    }

    /// Its process number.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns once it has ended, at once if it has. Cancel safe, and may be awaited by several.
    pub async fn gone(&self) {
        // Readiness is never cleared: a process ends once. An error means that this runtime is ending.
        if self.exit.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.reap();
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let held = self.exit.get_ref();
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(held, PollFlags::IN)];
        let gone = poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0);
        if gone {
            self.reap();
        }
        gone
    }

    /// Sends it a signal; that it has ended already is no error.
    ///
    /// # Errors
    /// As the system says.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        processes::signal(self.exit.get_ref(), signal)
    }

    /// Takes notice of its end where it became our child: an agent that is process 1 of a container inherits it.
    fn reap(&self) {
        use std::os::fd::AsFd;
        let id = WaitId::PidFd(self.exit.get_ref().as_fd());
        // Usually it is somebody else's child (ECHILD).
        let _ = waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_postmaster(arguments: &[&str]) -> bool {
        let arguments: Vec<Vec<u8>> = arguments.iter().map(|it| it.as_bytes().to_vec()).collect();
        serves(&arguments)
    }

    #[test]
    fn a_postmaster_is_told_by_its_arguments() {
        assert!(is_postmaster(&[
            "/usr/lib/postgresql/15/bin/postgres",
            "-D",
            "/data"
        ]));
        assert!(is_postmaster(&["postgres", "-c", "port=5433"]));
        // A child has a title.
        assert!(!is_postmaster(&["postgres: demo: checkpointer "]));
        // One that is ending has neither, or an empty one.
        assert!(!is_postmaster(&[]));
        assert!(!is_postmaster(&[""]));
        // These serve nobody.
        for option in ["-C", "--single", "--boot", "--check", "--describe-config"] {
            assert!(
                !is_postmaster(&["postgres", option, "-D", "/data"]),
                "{option}"
            );
        }
    }

    #[test]
    fn whoever_was_forked_by_one_of_them_is_no_postmaster() {
        let process = |pid, parent| Process {
            pid,
            parent,
            name: b"postgres".to_vec(),
            zombie: false,
            started: 0,
        };
        let all = [
            process(12, 10),
            process(10, 1),
            process(13, 10),
            process(20, 5),
        ];
        let left: Vec<u32> = unforked(&all).map(|process| process.pid).collect();
        assert_eq!(left, [10, 20]);
    }
}
