//! Asking a program that answers at once: `postgres --version`, `pg_controldata`. Work that takes long is not for this.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// How much of either output is read.
const LONGEST: u64 = 1 << 18;

/// What a program said.
#[derive(Debug)]
pub struct Answer {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub output: Vec<u8>,
    /// Its standard error.
    pub complaints: String,
}

/// Why a program gave no answer.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// It could not be started.
    #[error("running {}: {source}; postgresql.bin_dir must be the directory of PostgreSQL's programs", program.display())]
    NotStarted {
        /// The program.
        program: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Its output could not be read.
    #[error("reading what {} says: {source}", program.display())]
    Unreadable {
        /// The program.
        program: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It took too long; it was killed.
    #[error("{} gave no answer within {} s; its disk or this machine is too slow", program.display(), within.as_secs())]
    Silent {
        /// The program.
        program: PathBuf,
        /// How long it had.
        within: Duration,
    },
    /// It said that it failed.
    #[error("{} failed ({status}): {words}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it complained of.
        words: String,
    },
}

/// Runs a program in the C locale and reads what it says, within a time; it is killed when that is over, or when nobody
/// waits for it any more.
///
/// # Errors
///
/// If it cannot be started or takes too long. How it ends is part of the answer.
pub async fn ask(
    program: &Path,
    arguments: &[&OsStr],
    within: Duration,
) -> Result<Answer, AnswerError> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|source| AnswerError::NotStarted {
        program: program.to_owned(),
        source,
    })?;
    let (output, complaints) = (child.stdout.take(), child.stderr.take());
    let answer = async {
        // Both at once: a program that fills one pipe while the other is read would wait for ever.
        let (output, complaints) = tokio::try_join!(beginning(output), beginning(complaints))?;
        let status = child.wait().await?;
        Ok(Answer {
            status,
            output,
            complaints: String::from_utf8_lossy(&complaints).into_owned(),
        })
    };
    match tokio::time::timeout(within, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(AnswerError::Unreadable {
            program: program.to_owned(),
            source,
        }),
        Err(_) => Err(AnswerError::Silent {
            program: program.to_owned(),
            within,
        }),
    }
}

impl Answer {
    /// Its output, if it ended well.
    ///
    /// # Errors
    ///
    /// If it did not, with what it complained of.
    pub fn success(self, program: &Path) -> Result<Self, AnswerError> {
        if self.status.success() {
            return Ok(self);
        }
        Err(AnswerError::Failed {
            program: program.to_owned(),
            status: self.status,
            words: self.complaints.trim().replace('\n', "; "),
        })
    }
}

/// The beginning of an output. What is longer is let go with its pipe, and the program with it.
async fn beginning(output: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(output) = output {
        output.take(LONGEST).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, within: Duration) -> Result<Answer, AnswerError> {
        ask(Path::new("sh"), &["-c".as_ref(), script.as_ref()], within).await
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_program_answers_on_both_outputs_in_the_c_locale() {
        let answer = sh("echo $LC_ALL; echo no >&2; exit 3", LONG).await.unwrap();
        assert_eq!(answer.output, b"C\n");
        let error = answer.success(Path::new("sh")).unwrap_err();
        assert_eq!(error.to_string(), "sh failed (exit status: 3): no");
    }

    #[tokio::test]
    async fn a_program_that_says_nothing_is_not_waited_for() {
        let error = sh("exec sleep 600", Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(matches!(error, AnswerError::Silent { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_says_too_much_is_cut_short() {
        let answer = sh("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyy; done", LONG)
            .await
            .unwrap();
        assert_eq!(answer.output.len() as u64, LONGEST);
        assert!(!answer.status.success());
    }

    #[tokio::test]
    async fn a_program_that_is_missing_is_named_with_what_to_do() {
        let error = ask(Path::new("/nowhere/postgres"), &[], LONG)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "running /nowhere/postgres: No such file or directory (os error 2); postgresql.bin_dir must be the \
             directory of PostgreSQL's programs"
        );
    }
}
