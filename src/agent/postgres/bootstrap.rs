//! Making the first data directory of a cluster: initdb or the operator's own method, and the script that comes after
//! the superuser. Starting it in between and the roles are other files'.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use thiserror::Error;
use trunkline_core::Scope;
use trunkline_core::config::agent::{Credentials, CustomBootstrap};

use super::clone::passing;
use super::program::{self, Output, Patience, ProgramError};
use super::secret::{SecretError, SecretFile};
use super::unfinished::{self, UnfinishedError};

/// Why there is no cluster.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// The password file for initdb cannot be written.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The program failed, or the directory is not one to make a cluster in.
    #[error(transparent)]
    Make(#[from] UnfinishedError),
    /// `post_init` failed.
    #[error("running post_bootstrap (post_init): {0}")]
    PostInit(ProgramError),
}

/// Runs initdb in an empty directory. The directory stays marked as unfinished until
/// [`unfinished::finish`](super::unfinished::finish) or the first start.
///
/// # Errors
/// When the directory is not empty, or initdb fails.
pub async fn initdb(
    initdb: &Path,
    data: &Path,
    options: &[String],
    superuser: &Credentials,
    patience: &Patience,
) -> Result<(), BootstrapError> {
    unfinished::clear(data).await?;
    let mut command = Command::new(initdb);
    command.args(options);
    program::clean_environment(&mut command);
    if let Some(username) = &superuser.username {
        command.arg(format!("--username={username}"));
    }
    // Removed when this value is dropped, whatever came of initdb.
    let password = match &superuser.password {
        Some(password) => Some(SecretFile::write(password.reveal())?),
        None => None,
    };
    if let Some(file) = &password {
        let mut argument = OsString::from("--pwfile=");
        argument.push(file.path());
        command.arg(argument);
    }
    command.arg(data);
    Ok(unfinished::make(command, data, patience).await?)
}

/// Runs the operator's own method in an empty directory, and leaves it marked like [`initdb`].
///
/// # Errors
/// When the directory is not empty, or the command fails.
pub async fn custom(
    method: &CustomBootstrap,
    scope: &Scope,
    data: &Path,
    patience: &Patience,
) -> Result<(), BootstrapError> {
    unfinished::clear(data).await?;
    let what = format!("bootstrap.{}.command", method.name);
    let mut command = program::split(&what, &method.command).map_err(UnfinishedError::from)?;
    if !method.no_params {
        let mut directory = OsString::from("--datadir=");
        directory.push(data);
        command.arg(format!("--scope={scope}")).arg(directory);
    }
    for (key, value) in &method.arguments {
        command.arg(format!("--{key}={value}"));
    }
    Ok(unfinished::make(command, data, patience).await?)
}

/// Runs the script that makes of an empty cluster what the operator wants; it gets a connection string without a
/// password.
///
/// # Errors
/// When it fails.
pub async fn post_init(
    script: &str,
    conninfo: &str,
    passfile: Option<&Path>,
    patience: &Patience,
) -> Result<(), BootstrapError> {
    let split = program::split("bootstrap.post_bootstrap", script);
    let mut command = split.map_err(BootstrapError::PostInit)?;
    command.arg(conninfo).env(
        "PGOPTIONS",
        "-c synchronous_commit=local -c statement_timeout=0",
    );
    passing(&mut command, passfile);
    let ran = program::run(command, Output::Logged, patience).await;
    ran.map(drop).map_err(BootstrapError::PostInit)
}
