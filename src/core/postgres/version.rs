//! Versions of PostgreSQL: which there are, and which of them the agent runs.

use std::fmt;

use thiserror::Error;

/// A major version of PostgreSQL that the agent can run: 13 to 18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MajorVersion(u32);

/// Why something is not a version the agent can run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadVersion {
    /// There is no version in it.
    #[error("`{0}` names no version of PostgreSQL")]
    Unreadable(String),
    /// It is too old or too new.
    #[error("PostgreSQL {0} is not supported; {oldest} to {newest} are", oldest = MajorVersion::OLDEST, newest = MajorVersion::NEWEST)]
    Unsupported(u32),
}

impl BadVersion {
    fn unreadable(text: &str) -> Self {
        Self::Unreadable(text.chars().take(80).collect())
    }
}

impl MajorVersion {
    /// The oldest one.
    pub const OLDEST: Self = Self(13);
    /// The newest one.
    pub const NEWEST: Self = Self(18);

    /// The version of a program, from what `postgres --version` prints: `postgres (PostgreSQL) 15.18 (Debian …)`.
    ///
    /// # Errors
    ///
    /// If there is no version in it, or one the agent cannot run.
    pub fn of_program(printed: &str) -> Result<Self, BadVersion> {
        let named = printed
            .strip_prefix("postgres (")
            .and_then(|named| named.split_once(')'));
        match named {
            Some((_, version)) => Self::leading(version.trim_start()),
            None => Err(BadVersion::unreadable(printed)),
        }
    }

    /// The version of a data directory, from its file `PG_VERSION`: `15`.
    ///
    /// # Errors
    ///
    /// If there is no version in it, or one the agent cannot run.
    pub fn of_data(file: &str) -> Result<Self, BadVersion> {
        Self::leading(file.trim())
    }

    /// The version of a running server, from `server_version_num`: `150018`.
    ///
    /// # Errors
    ///
    /// If it is one the agent cannot run.
    pub const fn of_server(number: u32) -> Result<Self, BadVersion> {
        Self::supported(number / 10_000)
    }

    /// The number: 15.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    fn leading(text: &str) -> Result<Self, BadVersion> {
        let end = text
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(text.len());
        match text[..end].parse() {
            Ok(number) => Self::supported(number),
            Err(_) => Err(BadVersion::unreadable(text)),
        }
    }

    const fn supported(number: u32) -> Result<Self, BadVersion> {
        if number < Self::OLDEST.0 || number > Self::NEWEST.0 {
            return Err(BadVersion::Unsupported(number));
        }
        Ok(Self(number))
    }
}

impl fmt::Display for MajorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_the_program_the_directory_and_the_server() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(MajorVersion::of_program(debian).unwrap().number(), 15);
        let beta = MajorVersion::of_program("postgres (PostgreSQL) 18beta1");
        assert_eq!(beta, Ok(MajorVersion::NEWEST));
        assert_eq!(MajorVersion::of_data("13\n"), Ok(MajorVersion::OLDEST));
        assert_eq!(MajorVersion::of_server(150_018).unwrap().number(), 15);
    }

    #[test]
    fn a_version_the_agent_cannot_run_is_named_with_those_it_can() {
        let sentence = "PostgreSQL 12 is not supported; 13 to 18 are";
        for old in [
            MajorVersion::of_program("postgres (PostgreSQL) 12.22"),
            MajorVersion::of_data("12"),
            MajorVersion::of_server(120_022),
        ] {
            assert_eq!(old.unwrap_err().to_string(), sentence);
        }
        assert_eq!(
            MajorVersion::of_data("9.6"),
            Err(BadVersion::Unsupported(9))
        );
        assert_eq!(
            MajorVersion::of_program("postgres (PostgreSQL) 19devel"),
            Err(BadVersion::Unsupported(19))
        );
    }

    #[test]
    fn what_is_no_version_is_shown_as_it_was() {
        for text in ["", "fifteen", "99999999999999999999", "-15"] {
            assert_eq!(
                MajorVersion::of_data(text),
                Err(BadVersion::Unreadable(text.to_owned()))
            );
        }
        for other in ["psql (PostgreSQL) 15.18", "true (GNU coreutils) 15.1"] {
            assert_eq!(
                MajorVersion::of_program(other),
                Err(BadVersion::Unreadable(other.to_owned()))
            );
        }
    }
}
