//! The mark in a data directory that this agent is still making: so that an agent which was killed meanwhile knows, when
//! it is back, that what lies there is a half of its own and may be wiped (A5). Nothing else may be.
//!
//! The programs that make a data directory insist on an empty one, so the mark is set once they have begun. It also
//! names the program, which may have outlived the agent, and itself by its inode: in a copy or a backup of the directory
//! it means nothing. It counts only while PostgreSQL was never started there.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use trunkline_io::files;

use super::postmaster::{FindError, Running};
use super::processes;
use super::program::{self, Output, Patience, ProgramError};
use super::wipe::{self, WipeError};

/// The mark's name in the data directory. Neither PostgreSQL nor Patroni minds it.
const MARK: &str = ".trunkline-unfinished";
/// PostgreSQL writes this when it starts for the first time; no backup has it.
const WAS_STARTED: &str = "postmaster.opts";
/// How often it is looked whether a program has begun to write.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A killed program is gone after this.
const GO: Duration = Duration::from_secs(5);

/// Why a data directory cannot be made.
#[derive(Debug, Error)]
pub enum UnfinishedError {
    /// There is something in it that is not known to be this agent's.
    #[error("{} is not empty, and nothing shows that this agent made what is in it: move it away, or remove it", .0.display())]
    NotOurs(PathBuf),
    /// It cannot be wiped.
    #[error(transparent)]
    Wipe(#[from] WipeError),
    /// The mark cannot be set or removed.
    #[error("marking {} as unfinished: {source}", path.display())]
    Mark {
        /// The mark.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A program of the agent before this one cannot be ended.
    #[error(
        "process {0}, which an earlier run of this agent started to make the data directory, does not end"
    )]
    StillMaking(u32),
    /// The same, as the system says.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The program failed.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// Whether what lies in a data directory is an unfinished work of this agent.
#[must_use]
pub fn is_unfinished(data: &Path) -> bool {
    read(data).is_some() && !data.join(WAS_STARTED).exists()
}

/// Makes sure that a data directory is empty: wipes an unfinished work of this agent, ending the program that is still
/// at it, and refuses to touch anything else.
///
/// # Errors
/// When it cannot be emptied, or must not be.
pub async fn clear(data: &Path) -> Result<(), UnfinishedError> {
    if is_unfinished(data) {
        end_program(data).await?;
        tracing::info!(
            "removing a data directory that was never finished: {}",
            data.display()
        );
        wipe::wipe(data)?;
    }
    if wipe::is_empty(data)? {
        Ok(())
    } else {
        Err(UnfinishedError::NotOurs(data.to_owned()))
    }
}

/// Runs a program that makes a data directory, which is empty, and marks it meanwhile. The mark stays: see [`finish`].
///
/// # Errors
/// When the program fails.
pub async fn make(
    command: Command,
    data: &Path,
    patience: &Patience,
) -> Result<(), UnfinishedError> {
    let pid = AtomicU32::new(0);
    let began = |number| pid.store(number, Ordering::Relaxed);
    let program = program::run_telling(command, Output::Logged, patience, began);
    let marked = async {
        while wipe::is_empty(data).unwrap_or(true) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        mark(data, pid.load(Ordering::Relaxed))
    };
    let mut program = std::pin::pin!(program);
    let ended = tokio::select! {
        biased;
        ended = &mut program => ended,
        marked = marked => {
            marked?;
            program.await
        }
    };
    // Also one that failed before anybody looked has left its work here.
    if !wipe::is_empty(data)? {
        mark(data, 0)?;
    }
    Ok(ended.map(drop)?)
}

/// Takes the mark away: the data directory is as it is to be.
///
/// # Errors
/// When it cannot be removed.
pub fn finish(data: &Path) -> Result<(), UnfinishedError> {
    let path = data.join(MARK);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| UnfinishedError::Mark { path, source }),
    }
}

/// What a mark says.
struct Mark {
    pid: u64,
    /// When that process was started, in clock ticks since boot.
    started: u64,
}

fn mark(data: &Path, pid: u32) -> Result<(), UnfinishedError> {
    let started = processes::process(pid).map_or(0, |process| process.started);
    let path = data.join(MARK);
    let write = || {
        let mut file = fs::File::create(&path)?;
        let inode = file.metadata()?.ino();
        file.write_all(format!("{pid} {started} {inode}\n").as_bytes())
    };
    write().map_err(|source| UnfinishedError::Mark {
        path: path.clone(),
        source,
    })
}

/// The mark, if it was made here.
fn read(data: &Path) -> Option<Mark> {
    let path = data.join(MARK);
    let text = files::read_small(&path).ok()?;
    let numbers: Vec<u64> = text
        .split_ascii_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    let [pid, started, inode] = numbers[..] else {
        return None;
    };
    (fs::metadata(&path).ok()?.ino() == inode).then_some(Mark { pid, started })
}

/// Ends the program that the mark names, if it still runs.
async fn end_program(data: &Path) -> Result<(), UnfinishedError> {
    let Some(Mark { pid, started }) = read(data) else {
        return Ok(());
    };
    let Some(pid) = u32::try_from(pid).ok().filter(|pid| *pid > 0) else {
        return Ok(());
    };
    let Some(running) = Running::hold(pid)? else {
        return Ok(());
    };
    let is_it = processes::process(pid).is_some_and(|process| process.started == started);
    if !is_it || running.is_gone() {
        return Ok(());
    }
    tracing::warn!("ending process {pid}, which an earlier run of this agent left at work");
    // It leads a group of its own, and it is held: the number is still its own.
    if let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let gone = tokio::time::timeout(GO, running.gone()).await;
    gone.map_err(|_elapsed| UnfinishedError::StillMaking(pid))
}
