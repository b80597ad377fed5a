//! The control file of a data directory, through `pg_controldata` (tests and operators read the same words).

use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use trunkline_core::postgres::control::{self, BadControl, ControlData};

use super::answer::{self, AnswerError};
use super::binaries::Binaries;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the control file says nothing.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The program gave no answer.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// Its answer is none.
    #[error("{}: {source}", data.display())]
    Bad {
        /// The data directory.
        data: std::path::PathBuf,
        /// What is wrong.
        source: BadControl,
    },
}

/// What the control file says.
///
/// # Errors
///
/// If the program cannot be run or fails, takes more than five seconds, or what it prints cannot be trusted.
pub async fn read(binaries: &Binaries<'_>, data: &Path) -> Result<ControlData, ControlError> {
    let program = binaries.path("pg_controldata");
    let arguments = ["-D".as_ref(), data.as_os_str()];
    let answer = answer::ask(&program, &arguments, PATIENCE).await?;
    let answer = answer.success(&program)?;
    let bad = |source| ControlError::Bad {
        data: data.to_owned(),
        source,
    };
    if control::disowns_checksum(&answer.complaints) {
        return Err(bad(BadControl::Checksum));
    }
    ControlData::parse(&answer.output).map_err(bad)
}
