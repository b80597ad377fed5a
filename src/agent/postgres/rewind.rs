//! Running pg_rewind, and what has to be known of the log here before (contract H.8). Whether it is needed is
//! `trunkline_core::rewind`'s.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use thiserror::Error;
use trunkline_core::rewind::shutdown_end;
use trunkline_core::{Lsn, Timeline};

use super::answer::{self, AnswerError};
use super::clone::passing;
use super::postmaster::{self, Found};
use super::program::{self, Output, Patience, ProgramError};
use super::recover;

/// pg_waldump reads one or two records.
const DUMP: Duration = Duration::from_secs(10);
/// So many missing files of the log are fetched, one an attempt.
const FETCHES: usize = 1000;

/// What to rewind, and from whom.
#[derive(Clone, Copy, Debug)]
pub struct Rewind<'a> {
    /// The program `pg_rewind`.
    pub pg_rewind: &'a Path,
    /// The data directory.
    pub data: &'a Path,
    /// How to reach the leader, without a password.
    pub conninfo: &'a str,
    /// The password file, where there is a password.
    pub passfile: Option<&'a Path>,
    /// How missing files of the log are fetched.
    pub restore: Restore<'a>,
}

/// How files of the log come back that are not here any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restore<'a> {
    /// There is no archive.
    Never,
    /// pg_rewind reads `restore_command` itself; with the configuration file, where that is elsewhere.
    Itself(Option<&'a Path>),
    /// This command is run for each.
    By(&'a str),
}

/// Why there was no rewind.
#[derive(Debug, Error)]
pub enum RewindError {
    /// It failed.
    #[error("rewinding to the leader's timeline: {0}")]
    Program(ProgramError),
    /// It was given up.
    #[error("pg_rewind was given up")]
    Cancelled,
}

/// Runs pg_rewind. PostgreSQL is down and was shut down in order.
///
/// # Errors
/// When it fails.
pub async fn rewind(what: Rewind<'_>, patience: &Patience) -> Result<(), RewindError> {
    let mut fetched: Vec<String> = Vec::new();
    loop {
        let ran = program::run(command(what), Output::Logged, patience).await;
        let error = match ran {
            Ok(_) => return Ok(()),
            Err(ProgramError::Cancelled { .. }) => return Err(RewindError::Cancelled),
            Err(error) => error,
        };
        let Some(name) = missing(&error).filter(|_| fetched.len() < FETCHES) else {
            return Err(RewindError::Program(error));
        };
        let Restore::By(restore_command) = what.restore else {
            return Err(RewindError::Program(error));
        };
        if fetched.contains(&name) {
            return Err(RewindError::Program(error));
        }
        tracing::info!("pg_rewind misses {name}: it is fetched by restore_command");
        let fetch = recover::fetch(what.data, restore_command, &name, patience).await;
        fetch.map_err(RewindError::Program)?;
        fetched.push(name);
    }
}

fn command(what: Rewind<'_>) -> Command {
    let mut command = Command::new(what.pg_rewind);
    match what.restore {
        Restore::Itself(elsewhere) => {
            command.arg("--restore-target-wal");
            if let Some(file) = elsewhere {
                command.arg("--config-file").arg(file);
            }
        }
        Restore::Never | Restore::By(_) => {}
    }
    command
        .arg("-D")
        .arg(what.data)
        .arg("--source-server")
        .arg(what.conninfo)
        .envs([
            ("LANG", "C"),
            ("LC_ALL", "C"),
            ("PGOPTIONS", "-c statement_timeout=0"),
        ]);
    program::clean_environment(&mut command);
    // It may run PostgreSQL itself, to have it shut down in order.
    if let Ok(Found::Stranger(pid)) = postmaster::find(what.data) {
        postmaster::disown(&mut command, Some(pid));
    }
    passing(&mut command, what.passfile);
    command
}

/// The file of the log that pg_rewind says it could not open.
fn missing(error: &ProgramError) -> Option<String> {
    let ProgramError::Failed { last, .. } = error else {
        return None;
    };
    last.iter().find_map(|line| {
        let (_, rest) = line.split_once("could not open file \"")?;
        let (path, _) = rest.split_once('"')?;
        let (folder, name) = path.rsplit_once('/')?;
        let is_log = name.len() == 24 && name.bytes().all(|digit| digit.is_ascii_hexdigit());
        (folder.ends_with("pg_wal") && is_log).then(|| name.to_owned())
    })
}

/// Where the record of the checkpoint of an orderly shutdown ends, if it is one and nothing comes after it.
///
/// # Errors
/// When pg_waldump cannot be run.
pub async fn end_of_shutdown(
    pg_waldump: &Path,
    data: &Path,
    timeline: Timeline,
    checkpoint: Lsn,
) -> Result<Option<Lsn>, AnswerError> {
    let (wal, timeline, from) = (
        data.join("pg_wal"),
        timeline.to_string(),
        checkpoint.to_string(),
    );
    let arguments: [&OsStr; 8] = [
        "-p".as_ref(),
        wal.as_os_str(),
        "-t".as_ref(),
        timeline.as_ref(),
        "-s".as_ref(),
        from.as_ref(),
        "-n".as_ref(),
        "2".as_ref(),
    ];
    // It ends with a failure: that nothing comes after the record is the failure.
    let answer = answer::ask(pg_waldump, &arguments, DUMP).await?;
    let printed = String::from_utf8_lossy(&answer.output);
    Ok(shutdown_end(checkpoint, &printed, &answer.complaints))
}
