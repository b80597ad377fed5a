//! Starting a postmaster that outlives the agent: through a short-lived helper, this very binary told to
//! [`help`], so that PostgreSQL is a child of nobody here and in a session of its own.
//!
//! The helper keeps the postmaster as its child until the agent holds a pidfd: its number cannot be reused before.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::postmaster::{self, FindError, Running};
use super::program;

/// The first argument that makes the agent's binary a helper.
pub const HELP: &str = "--launch-postmaster";

/// The helper has this long: it forks once.
const PATIENCE: Duration = Duration::from_secs(10);
/// The helper says no more than this many bytes.
const LONGEST_WORD: u64 = 4096;

/// The program that helps, with its first arguments.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<OsString>,
}

impl Launcher {
    /// This binary, whatever has become of its file since it was started.
    #[must_use]
    pub fn this_binary() -> Self {
        Self {
            program: "/proc/self/exe".into(),
            arguments: vec![HELP.into()],
        }
    }
}

/// What to start.
#[derive(Clone, Copy, Debug)]
pub struct Postmaster<'a> {
    /// The program `postgres`.
    pub postgres: &'a Path,
    /// Its arguments: `-D`, the data directory and everything else.
    pub arguments: &'a [OsString],
    /// A process that an old `postmaster.pid` names and that is no postmaster: PostgreSQL is told not to mind.
    pub stranger: Option<u32>,
}

/// Why a postmaster could not be started.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The helper could not be started or did not do its work.
    #[error("starting {} through {}: {source}", postgres.display(), helper.display())]
    Helper {
        /// PostgreSQL's program.
        postgres: PathBuf,
        /// The helper's.
        helper: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The helper could not start PostgreSQL; its words.
    #[error("starting {}: {words}; bin_dir in patroni.yml must name the folder of PostgreSQL's programs", postgres.display())]
    Postgres {
        /// PostgreSQL's program.
        postgres: PathBuf,
        /// What the helper said.
        words: String,
    },
    /// It was started and cannot be watched.
    #[error(transparent)]
    Watch(#[from] FindError),
}

/// Starts a postmaster. `Ok(None)`: it was started and has ended already.
///
/// # Errors
/// When it could not be started.
pub async fn launch(
    launcher: &Launcher,
    postmaster: Postmaster<'_>,
) -> Result<Option<Running>, LaunchError> {
    let helper = |source| LaunchError::Helper {
        postgres: postmaster.postgres.to_owned(),
        helper: launcher.program.clone(),
        source,
    };
    let mut command = tokio::process::Command::from(command(launcher, postmaster));
    let mut child = command.kill_on_drop(true).spawn().map_err(helper)?;
    let mut said = String::new();
    if let Some(output) = child.stdout.take() {
        let mut output = BufReader::new(output.take(LONGEST_WORD));
        let read = output.read_line(&mut said);
        let too_long = |_| io::Error::from(io::ErrorKind::TimedOut);
        let read = tokio::time::timeout(PATIENCE, read).await;
        read.map_err(too_long)
            .and_then(|read| read)
            .map_err(helper)?;
    }
    let Ok(pid) = said.trim().parse::<u32>() else {
        return Err(LaunchError::Postgres {
            postgres: postmaster.postgres.to_owned(),
            words: said.trim().to_owned(),
        });
    };
    let running = Running::hold(pid)?;
    // Now it may go: its end of the pipe is what it waits for.
    drop(child.stdin.take());
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    ended
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))
        .and_then(|ended| ended)
        .map_err(helper)?;
    Ok(running.filter(|running| !running.is_gone()))
}

fn command(launcher: &Launcher, postmaster: Postmaster<'_>) -> Command {
    let mut command = Command::new(&launcher.program);
    command
        .args(&launcher.arguments)
        .arg(postmaster.postgres)
        .args(postmaster.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    program::clean_environment(&mut command);
    for (name, value) in std::env::vars_os() {
        if name == "NOTIFY_SOCKET" || name.to_string_lossy().starts_with("KUBERNETES_") {
            command.env_remove(&name);
        }
        if name == "PG_MALLOC_ARENA_MAX" {
            command.env_remove(&name).env("MALLOC_ARENA_MAX", value);
        }
    }
    postmaster::disown(&mut command, postmaster.stranger);
    command
}

/// What the helper does: starts the program in a session of its own, says its number on standard output, and ends
/// when standard input does. The program's standard output goes where standard error goes.
///
/// `arguments` are the program and its arguments. Nothing may have been started in this process before.
pub fn help(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let said = match arguments.next() {
        None => Err("no program was named".to_owned()),
        Some(program) => begin(&program, arguments).map_err(|error| error.to_string()),
    };
    let (words, code) = match said {
        Ok(pid) => (pid.to_string(), ExitCode::SUCCESS),
        Err(words) => (words, ExitCode::FAILURE),
    };
    let mut output = io::stdout();
    // Whoever started us is gone if this fails; PostgreSQL stays.
    let _ = writeln!(output, "{words}").and_then(|()| output.flush());
    let _ = io::stdin().read_to_end(&mut Vec::new());
    code
}

fn begin(program: &OsStr, arguments: impl Iterator<Item = OsString>) -> io::Result<u32> {
    // It fails where we lead a process group already, and then there is nothing to leave.
    let _ = rustix::process::setsid();
    let errors = io::stderr();
    let output = std::os::fd::AsFd::as_fd(&errors).try_clone_to_owned()?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .spawn()?;
    Ok(child.id())
}
