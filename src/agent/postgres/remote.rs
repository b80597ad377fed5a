//! Asking another member's PostgreSQL, as libpq would with all its options: by psql. Also over the replication protocol,
//! which knows of timelines what SQL does not.

use std::path::Path;
use std::process::Command;

use thiserror::Error;
use trunkline_core::postgres::HistoryFile;
use trunkline_core::{Lsn, SystemId, Timeline};

use super::clone::passing;
use super::program::{self, Output, Patience, ProgramError};

/// Another member's PostgreSQL.
#[derive(Clone, Copy, Debug)]
pub struct Remote<'a> {
    /// The program `psql`.
    pub psql: &'a Path,
    /// How to reach it, without a password.
    pub conninfo: &'a str,
    /// The password file, where there is a password.
    pub passfile: Option<&'a Path>,
}

/// What `IDENTIFY_SYSTEM` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// Whose data it is.
    pub system_id: SystemId,
    /// The timeline it is on.
    pub timeline: Timeline,
    /// How far it is.
    pub position: Lsn,
}

/// Why it did not say.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// It could not be asked.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Its answer is none.
    #[error("{question} was answered with {answer:?}")]
    Strange {
        /// What was asked.
        question: String,
        /// The answer, cut.
        answer: String,
    },
}

impl Remote<'_> {
    /// Whether it is in recovery: no primary.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn is_in_recovery(&self, patience: &Patience) -> Result<bool, RemoteError> {
        let question = "SELECT pg_catalog.pg_is_in_recovery()";
        match self.ask("", question, patience).await?.as_slice() {
            [answer] if answer == "f" => Ok(false),
            [answer] if answer == "t" => Ok(true),
            answer => Err(strange(question, answer)),
        }
    }

    /// Which system and timeline it is.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn identify(&self, patience: &Patience) -> Result<Identified, RemoteError> {
        let question = "IDENTIFY_SYSTEM";
        let answer = self.ask("replication=true", question, patience).await?;
        identified(&answer).ok_or_else(|| strange(question, &answer))
    }

    /// The history of a timeline; the first one has none.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn history(
        &self,
        timeline: Timeline,
        patience: &Patience,
    ) -> Result<Option<HistoryFile>, RemoteError> {
        if timeline <= Timeline(1) {
            return Ok(None);
        }
        let question = format!("TIMELINE_HISTORY {timeline}");
        let answer = self.ask("replication=true", &question, patience).await?;
        match answer.as_slice() {
            [_file, text, ..] => Ok(Some(HistoryFile::parse(timeline, text.as_bytes(), ""))),
            answer => Err(strange(&question, answer)),
        }
    }

    /// The columns of the one row that a statement answers.
    async fn ask(
        &self,
        more: &str,
        statement: &str,
        patience: &Patience,
    ) -> Result<Vec<String>, RemoteError> {
        let mut command = Command::new(self.psql);
        command
            .args([
                "--no-psqlrc",
                "--no-password",
                "--quiet",
                "--tuples-only",
                "--no-align",
            ])
            .args(["--field-separator-zero", "--record-separator-zero"])
            .arg(format!("--command={statement}"))
            .arg(format!("--dbname={} {more}", self.conninfo))
            .env("PGCONNECT_TIMEOUT", "3")
            .env("PGOPTIONS", "-c statement_timeout=5000");
        program::clean_environment(&mut command);
        passing(&mut command, self.passfile);
        let answer = program::run(command, Output::Kept, patience).await?;
        let text = String::from_utf8_lossy(&answer);
        // A history is text with line breaks of its own: only what psql itself adds is taken off.
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\0').unwrap_or(text);
        Ok(text.split('\0').map(str::to_owned).collect())
    }
}

/// Reads the row of `IDENTIFY_SYSTEM`.
fn identified(row: &[String]) -> Option<Identified> {
    let [system_id, timeline, position, ..] = row else {
        return None;
    };
    Some(Identified {
        system_id: SystemId::parse(system_id)?,
        timeline: Timeline(timeline.parse().ok()?),
        position: Lsn::parse(position)?,
    })
}

fn strange(question: &str, answer: &[String]) -> RemoteError {
    RemoteError::Strange {
        question: question.to_owned(),
        answer: answer.join("|").chars().take(200).collect(),
    }
}
