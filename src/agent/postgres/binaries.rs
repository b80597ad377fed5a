//! PostgreSQL's programs: where they are and which version they have.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use trunkline_core::config::agent::Agent;
use trunkline_core::postgres::MajorVersion;
use trunkline_core::postgres::version::BadVersion;
use trunkline_io::files;

use super::answer::{self, AnswerError};

/// How long a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(5);

/// PostgreSQL's programs on this machine.
#[derive(Clone, Debug)]
pub struct Binaries<'a>(&'a Agent);

/// `PG_VERSION` has three bytes.
const LONGEST: u64 = 1 << 10;

/// Why these programs cannot run this data directory.
#[derive(Debug, Error)]
pub enum BinariesError {
    /// A program gave no answer.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// Its version is none that the agent runs.
    #[error("{}: {source}; postgresql.bin_dir must be the directory of a supported version", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// What is wrong.
        source: BadVersion,
    },
    /// The data directory does not say its version.
    #[error("{}: {words}; this is not the data directory of a supported version", file.display())]
    Data {
        /// The file that says it.
        file: PathBuf,
        /// What is wrong.
        words: String,
    },
    /// The programs and the data directory do not fit.
    #[error(
        "{} is of PostgreSQL {data}, {} of {program}; postgresql.bin_dir must be that of {data}, or the data has to be moved by \
         pg_upgrade first",
        directory.display(), path.display()
    )]
    Different {
        /// The data directory.
        directory: PathBuf,
        /// Its version.
        data: MajorVersion,
        /// The program.
        path: PathBuf,
        /// Its version.
        program: MajorVersion,
    },
}

impl<'a> Binaries<'a> {
    /// The programs that this configuration names.
    #[must_use]
    pub const fn of(agent: &'a Agent) -> Self {
        Self(agent)
    }

    /// A program by its usual name, `pg_ctl`: where it is, or the name to look for in PATH.
    #[must_use]
    pub fn path(&self, program: &str) -> PathBuf {
        let name = self.0.bin_name.get(program).map_or(program, String::as_str);
        match &self.0.bin_dir {
            Some(directory) => directory.join(name),
            None => PathBuf::from(name),
        }
    }

    /// The version of `postgres`.
    ///
    /// # Errors
    ///
    /// If the program is missing, is none of PostgreSQL's, or of a version that is not supported.
    pub async fn version(&self) -> Result<MajorVersion, BinariesError> {
        let program = self.path("postgres");
        let answer = answer::ask(&program, &["--version".as_ref()], PATIENCE).await?;
        let answer = answer.success(&program)?;
        let printed = String::from_utf8_lossy(&answer.output);
        MajorVersion::of_program(printed.trim())
            .map_err(|source| BinariesError::Program { program, source })
    }

    /// The version of `postgres`, which is that of the data directory too.
    ///
    /// # Errors
    ///
    /// As [`Self::version`]; also if the data directory is of another one.
    pub async fn version_for(&self, data: &Path) -> Result<MajorVersion, BinariesError> {
        let program = self.version().await?;
        let version = version_of(data)?;
        if version != program {
            return Err(BinariesError::Different {
                directory: data.to_owned(),
                data: version,
                path: self.path("postgres"),
                program,
            });
        }
        Ok(version)
    }
}

/// The version of a data directory.
///
/// # Errors
///
/// If its `PG_VERSION` is missing or names no supported version.
pub fn version_of(data: &Path) -> Result<MajorVersion, BinariesError> {
    let file = data.join("PG_VERSION");
    let wrong = |words: String| BinariesError::Data {
        file: file.clone(),
        words,
    };
    let bytes = files::read(&file, LONGEST).map_err(|error| wrong(error.to_string()))?;
    MajorVersion::of_data(&String::from_utf8_lossy(&bytes))
        .map_err(|error| wrong(error.to_string()))
}
