//! Copying a running member: pg_basebackup, or the operator's own methods. The directory is empty before, whole or
//! marked as unfinished after (A5).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use thiserror::Error;
use trunkline_core::Scope;
use trunkline_core::config::agent::ReplicaMethod;

use super::program::{self, Impatience, Patience, ProgramError};
use super::unfinished::{self, UnfinishedError};

/// pg_basebackup is tried this often (contract, appendix I).
const ATTEMPTS: u32 = 2;
/// And this long after it failed.
const PAUSE: Duration = Duration::from_secs(5);

/// What to copy, and to where.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The cluster.
    pub scope: &'a Scope,
    /// The data directory here.
    pub data: &'a Path,
    /// The program `pg_basebackup`.
    pub pg_basebackup: &'a Path,
    /// `postgresql.basebackup`, as arguments.
    pub options: &'a [String],
    /// How to reach the source, without a password.
    pub conninfo: &'a str,
    /// The password file, where there is a password.
    pub passfile: Option<&'a Path>,
}

/// Why there is no copy.
#[derive(Debug, Error)]
pub enum CloneError {
    /// The last method that was tried failed.
    #[error("copying {source_} by {method}: {cause}")]
    Method {
        /// The connection string.
        source_: String,
        /// The method.
        method: String,
        /// The cause.
        cause: UnfinishedError,
    },
    /// It was given up.
    #[error("copying was given up")]
    Cancelled,
    /// There is no method.
    #[error("create_replica_methods in patroni.yml names no method to copy a member with")]
    NoMethod,
}

/// Copies a member by the first method that can.
///
/// # Errors
/// When none can; the directory is empty then, or as it was.
pub async fn clone(
    source: Source<'_>,
    methods: &[ReplicaMethod],
    patience: &Patience,
) -> Result<(), CloneError> {
    let mut last = CloneError::NoMethod;
    for method in methods {
        let (name, made) = match method {
            ReplicaMethod::BaseBackup => ("basebackup", base_backup(source, patience).await),
            ReplicaMethod::Command { name, .. } => {
                (name.as_str(), by_command(source, method, patience).await)
            }
        };
        match made.and_then(|()| unfinished::finish(source.data)) {
            Ok(()) => return Ok(()),
            Err(UnfinishedError::Program(ProgramError::Cancelled { .. })) => {
                return Err(CloneError::Cancelled);
            }
            Err(cause) => {
                tracing::error!("creating a replica by {name} failed: {cause}");
                last = CloneError::Method {
                    source_: source.conninfo.to_owned(),
                    method: name.to_owned(),
                    cause,
                };
            }
        }
    }
    Err(last)
}

async fn base_backup(source: Source<'_>, patience: &Patience) -> Result<(), UnfinishedError> {
    let mut attempt = 1;
    loop {
        unfinished::clear(source.data).await?;
        let made = unfinished::make(base_backup_command(source), source.data, patience).await;
        let gives_up = matches!(
            &made,
            Ok(()) | Err(UnfinishedError::Program(ProgramError::Cancelled { .. }))
        );
        if gives_up || attempt == ATTEMPTS {
            return made;
        }
        if let Err(cause) = made {
            tracing::error!("{cause}; it is tried again in {PAUSE:?}");
        }
        attempt += 1;
        pause(patience).await?;
    }
}

async fn pause(patience: &Patience) -> Result<(), ProgramError> {
    let program = || "pg_basebackup".to_owned();
    tokio::select! {
        biased;
        impatience = patience.ends() => Err(match impatience {
            Impatience::Cancelled => ProgramError::Cancelled { program: program() },
            Impatience::TooLong => ProgramError::TooLong { program: program(), last: Vec::new() },
        }),
        () = tokio::time::sleep(PAUSE) => Ok(()),
    }
}

fn base_backup_command(source: Source<'_>) -> Command {
    let mut command = Command::new(source.pg_basebackup);
    let mut directory = OsString::from("--pgdata=");
    directory.push(source.data);
    command
        .arg(directory)
        .args(["-X", "stream"])
        .arg(format!("--dbname={}", source.conninfo))
        .args(source.options);
    program::clean_environment(&mut command);
    passing(&mut command, source.passfile);
    command
}

/// Names the password file to a program of libpq.
pub(super) fn passing(command: &mut Command, passfile: Option<&Path>) {
    // None of the agent's own: it would be for somebody else.
    command.env_remove("PGPASSWORD");
    if let Some(passfile) = passfile {
        command.env("PGPASSFILE", passfile);
    }
}

async fn by_command(
    source: Source<'_>,
    method: &ReplicaMethod,
    patience: &Patience,
) -> Result<(), UnfinishedError> {
    let ReplicaMethod::Command { keep_data, .. } = method else {
        return Ok(());
    };
    let command = method_command(source, method)?;
    if !keep_data {
        unfinished::clear(source.data).await?;
        return unfinished::make(command, source.data, patience).await;
    }
    // It works with what is there, and nobody may wipe that.
    program::run(command, program::Output::Logged, patience).await?;
    Ok(())
}

fn method_command(source: Source<'_>, method: &ReplicaMethod) -> Result<Command, ProgramError> {
    let ReplicaMethod::Command {
        name,
        command,
        no_params,
        keep_data,
        no_leader,
        arguments,
    } = method
    else {
        return program::split("create_replica_methods", "");
    };
    let mut split = program::split(name, command)?;
    for (key, value) in arguments {
        split.arg(format!("--{key}={value}"));
    }
    if !no_params {
        let mut data = OsString::from("--datadir=");
        data.push(PathBuf::from(source.data));
        split
            .arg(format!("--scope={}", source.scope))
            .arg("--role=replica")
            .arg(data)
            .arg(format!("--connstring={}", source.conninfo));
        // Patroni's way: what such a method is told of itself it is told again (contract 5.4).
        for (flag, is_set) in [("no_leader", no_leader), ("keep_data", keep_data)] {
            if *is_set {
                split.arg(format!("--{flag}=True"));
            }
        }
    }
    passing(&mut split, source.passfile);
    Ok(split)
}
