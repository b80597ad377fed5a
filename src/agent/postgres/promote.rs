//! Taking PostgreSQL out of recovery: the script before it, `pg_ctl promote`, and watching closely until it takes
//! writes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use thiserror::Error;
use trunkline_core::postgres::Silence;
use trunkline_io::clock;

use super::heartbeat::Heartbeat;
use super::postmaster::{self, Found};
use super::program::{self, Impatience, Output, Patience, ProgramError};

/// How often PostgreSQL is asked whether it is a primary yet.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// A promotion begins at once, but for a wake-up that PostgreSQL missed: the first other one comes after this long, each
/// later one after twice as long as the last.
const WAKE_AFTER: Duration = Duration::from_millis(200);
/// And how long each answer may take.
const ANSWER: Duration = Duration::from_secs(2);

/// Why there was no promotion.
#[derive(Debug, Error)]
pub enum PromoteError {
    /// `pre_promote` said no, or could not be run.
    #[error("pre_promote: {0}")]
    PrePromote(ProgramError),
    /// `pg_ctl promote` failed.
    #[error("promoting PostgreSQL: {0}")]
    PgCtl(ProgramError),
    /// It was promoted and did not become a primary in time.
    #[error("PostgreSQL was told to promote and is no primary yet: {0}")]
    NotYet(String),
    /// It was told to give up waiting; PostgreSQL goes on.
    #[error("waiting for the promotion was given up")]
    Cancelled,
}

/// Runs `pre_promote`.
///
/// # Errors
/// When it fails: there must be no promotion.
pub async fn pre_promote(script: &str, patience: &Patience) -> Result<(), PromoteError> {
    let command = program::split("postgresql.pre_promote", script);
    let command = command.map_err(PromoteError::PrePromote)?;
    let ran = program::run(command, Output::Logged, patience).await;
    ran.map(drop).map_err(PromoteError::PrePromote)
}

/// Promotes PostgreSQL and returns when it takes writes.
///
/// # Errors
/// When it does not, while there is patience.
pub async fn promote(
    pg_ctl: &Path,
    data: &Path,
    heartbeat: &mut Heartbeat,
    patience: &Patience,
) -> Result<(), PromoteError> {
    let mut command = Command::new(pg_ctl);
    command.args(["promote", "-W", "-D"]).arg(data);
    program::clean_environment(&mut command);
    let told = program::run(command, Output::Logged, patience).await;
    told.map_err(PromoteError::PgCtl)?;
    let mut last = None;
    let promoted = async {
        let (mut patient, mut since) = (WAKE_AFTER, clock::now());
        loop {
            match is_primary(heartbeat).await {
                Ok(true) => return,
                Ok(false) => last = None,
                Err(silence) => last = Some(silence),
            }
            if clock::now().since(since) >= patient {
                wake(data);
                (patient, since) = (patient * 2, clock::now());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    };
    let impatience = tokio::select! {
        biased;
        () = promoted => return Ok(()),
        impatience = patience.ends() => impatience,
    };
    Err(match impatience {
        Impatience::Cancelled => PromoteError::Cancelled,
        Impatience::TooLong => PromoteError::NotYet(match last {
            None => "it is still in recovery".to_owned(),
            Some(silence) => silence.to_string(),
        }),
    })
}

/// Wakes the startup process. Told to promote just as its WAL receiver ends, which is what a switchover comes to, it may
/// take both for one wake-up and sleep on for `wal_retrieve_retry_interval`, five seconds; SIGHUP wakes it and changes
/// nothing else (PostgreSQL, `WaitForWALToBecomeAvailable`).
fn wake(data: &Path) {
    match postmaster::find(data) {
        Ok(Found::Postmaster(running)) => {
            if let Err(error) = running.signal(Signal::HUP) {
                tracing::warn!("waking PostgreSQL to promote it: {error}");
            }
        }
        Ok(Found::Nobody | Found::Stranger(_) | Found::SingleUser(_)) => {}
        Err(error) => tracing::warn!("waking PostgreSQL to promote it: {error}"),
    }
}

async fn is_primary(heartbeat: &mut Heartbeat) -> Result<bool, Silence> {
    let deadline = clock::now().after(ANSWER);
    let rows = heartbeat
        .rows("SELECT pg_is_in_recovery()", deadline)
        .await?;
    let answer = rows
        .into_iter()
        .next()
        .and_then(|row| row.into_iter().next().flatten());
    Ok(answer.as_deref() == Some("f"))
}
