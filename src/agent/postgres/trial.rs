//! Having PostgreSQL read a configuration before it is put in place, and asking it what a file says: `postgres -C`. It runs
//! beside a server that is up and disturbs nothing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use trunkline_core::postgres::parameters::Parameters;
use trunkline_core::postgres::verdict;

use super::answer::{self, Answer, AnswerError};
use super::binaries::Binaries;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What PostgreSQL says of a configuration.
#[derive(Debug)]
#[must_use]
pub enum Trial {
    /// It can start with it.
    Accepted,
    /// These parameters it would not start with, and its words about each.
    Refused(BTreeMap<String, String>),
    /// It would not start with it, for a reason that is in none of the parameters: a file that is included, say. Its
    /// words.
    Hopeless(String),
}

/// Has PostgreSQL read the file `configuration`, which sets `parameters`.
///
/// # Errors
///
/// If it cannot be run.
pub async fn of(
    binaries: &Binaries<'_>,
    data: &Path,
    configuration: &Path,
    parameters: &Parameters,
) -> Result<Trial, AnswerError> {
    let answer = show(binaries, data, configuration, "port").await?;
    if answer.status.success() {
        return Ok(Trial::Accepted);
    }
    let refused = verdict::refused(&answer.complaints, parameters);
    if refused.is_empty() {
        return Ok(Trial::Hopeless(
            answer.complaints.trim().replace('\n', "; "),
        ));
    }
    Ok(Trial::Refused(refused))
}

/// What a parameter would be after a restart with the file `configuration`; `None` if PostgreSQL does not say.
pub async fn configured(
    binaries: &Binaries<'_>,
    data: &Path,
    configuration: &Path,
    parameter: &str,
) -> Option<String> {
    let answer = show(binaries, data, configuration, parameter).await.ok()?;
    let shown = String::from_utf8(answer.output).ok()?;
    answer
        .status
        .success()
        .then(|| shown.trim_end_matches('\n').to_owned())
}

async fn show(
    binaries: &Binaries<'_>,
    data: &Path,
    configuration: &Path,
    parameter: &str,
) -> Result<Answer, AnswerError> {
    let mut file = OsString::from("--config-file=");
    file.push(configuration);
    let arguments: [&OsStr; 10] = [
        "-C".as_ref(),
        parameter.as_ref(),
        "-D".as_ref(),
        data.as_os_str(),
        &file,
        // Its words as this agent reads them, and where it reads them, whatever the file says.
        "--lc_messages=C".as_ref(),
        "--log_line_prefix=".as_ref(),
        "--log_destination=stderr".as_ref(),
        "--log_min_messages=warning".as_ref(),
        "--logging_collector=off".as_ref(),
    ];
    answer::ask(&binaries.path("postgres"), &arguments, PATIENCE).await
}
