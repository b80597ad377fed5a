//! How PostgreSQL is asked over TCP: in clear or over TLS, in which order, and what is checked, as libpq means its options.
//! What is in files, and whether they are there, is not known here.

use std::collections::BTreeMap;
use std::fmt;

/// Stands for the system's authorities in `sslrootcert`.
pub const SYSTEM: &str = "system";

/// `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SslMode {
    /// In clear.
    Disable,
    /// In clear; where that is refused, over TLS.
    Allow,
    /// Over TLS; where that is refused, in clear.
    #[default]
    Prefer,
    /// Over TLS.
    Require,
    /// Over TLS, and an authority we trust must have signed for the server.
    VerifyCa,
    /// The same, and its certificate must be for the host that is connected to.
    VerifyFull,
}

/// What a login says of encryption.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Encryption {
    /// Whether, and how sure of the server.
    pub mode: SslMode,
    /// Whether a login is to be bound to the connection (`channel_binding`); as the server offers if `None`.
    pub bound: Option<bool>,
    /// Whether TLS is spoken without asking for it first (`sslnegotiation: direct`).
    pub direct: bool,
}

/// One way to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In clear.
    Clear,
    /// Over TLS.
    Encrypted,
}

/// What is checked of the server over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Anybody is taken.
    Anybody,
    /// Whom an authority has signed for.
    Signed,
    /// Whom an authority has signed for under the name that is connected to.
    SignedByName,
}

/// An option with a value that it does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {value:?} is none of {known}")]
pub struct Unknown {
    option: &'static str,
    value: String,
    known: &'static str,
}

impl SslMode {
    const KNOWN: &'static str = "disable, allow, prefer, require, verify-ca, verify-full";

    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        })
    }
}

impl Encryption {
    /// What these options of a login say.
    ///
    /// # Errors
    /// If one has a value that libpq does not know, which it would refuse too.
    pub fn read(options: &BTreeMap<String, String>) -> Result<Self, Unknown> {
        // To libpq nothing is as good as not written.
        let written = |option: &str| options.get(option).filter(|value| !value.is_empty());
        let unknown = |option: &'static str, value: &str, known: &'static str| Unknown {
            option,
            value: value.to_owned(),
            known,
        };
        // The system's authorities sign for anybody: only who is asked for by name is known by them.
        let by_name = written("sslrootcert").is_some_and(|file| file == SYSTEM);
        let mode = match written("sslmode") {
            None if by_name => SslMode::VerifyFull,
            None => SslMode::default(),
            Some(text) => {
                SslMode::read(text).ok_or_else(|| unknown("sslmode", text, SslMode::KNOWN))?
            }
        };
        if by_name && mode != SslMode::VerifyFull {
            let known = "verify-full, which sslrootcert: system needs";
            return Err(unknown("sslmode", &mode.to_string(), known));
        }
        let bound = match written("channel_binding").map(String::as_str) {
            None | Some("prefer") => None,
            Some("require") => Some(true),
            Some("disable") => Some(false),
            Some(other) => {
                return Err(unknown(
                    "channel_binding",
                    other,
                    "disable, prefer, require",
                ));
            }
        };
        let direct = match written("sslnegotiation").map(String::as_str) {
            None | Some("postgres") => false,
            Some("direct") => true,
            Some(other) => return Err(unknown("sslnegotiation", other, "postgres, direct")),
        };
        let read = Self {
            mode,
            bound,
            direct,
        };
        if direct && read.ways() != [Way::Encrypted] {
            let known =
                "require, verify-ca, verify-full, one of which sslnegotiation: direct needs";
            return Err(unknown("sslmode", &mode.to_string(), known));
        }
        Ok(read)
    }

    /// In which ways to ask, one after the other: see [`Encryption::goes_on`].
    #[must_use]
    pub const fn ways(&self) -> &'static [Way] {
        match self.mode {
            SslMode::Disable => &[Way::Clear],
            SslMode::Allow => &[Way::Clear, Way::Encrypted],
            SslMode::Prefer => &[Way::Encrypted, Way::Clear],
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Way::Encrypted],
        }
    }

    /// What is checked, where it is known whether there is a file of authorities to check with.
    #[must_use]
    pub const fn trust(&self, has_authorities: bool) -> Trust {
        match self.mode {
            SslMode::Disable | SslMode::Allow | SslMode::Prefer => Trust::Anybody,
            SslMode::Require if has_authorities => Trust::Signed,
            SslMode::Require => Trust::Anybody,
            SslMode::VerifyCa => Trust::Signed,
            SslMode::VerifyFull => Trust::SignedByName,
        }
    }

    /// Whether an answer with this SQLSTATE means that the next way may be let in: the login was refused, which may be for
    /// want of encryption or for it. Whatever else PostgreSQL says, it would say the other way too.
    #[must_use]
    pub fn goes_on(sqlstate: &str) -> bool {
        sqlstate.starts_with("28")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(written: &[(&str, &str)]) -> BTreeMap<String, String> {
        let written = written.iter();
        written
            .map(|(option, value)| ((*option).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn each_mode_asks_and_checks_as_libpq_does() {
        use Trust::{Anybody, Signed, SignedByName};
        use Way::{Clear, Encrypted};
        for (mode, ways, without, with) in [
            ("", &[Encrypted, Clear][..], Anybody, Anybody),
            ("disable", &[Clear][..], Anybody, Anybody),
            ("allow", &[Clear, Encrypted][..], Anybody, Anybody),
            ("prefer", &[Encrypted, Clear][..], Anybody, Anybody),
            ("require", &[Encrypted][..], Anybody, Signed),
            ("verify-ca", &[Encrypted][..], Signed, Signed),
            ("verify-full", &[Encrypted][..], SignedByName, SignedByName),
        ] {
            let read = Encryption::read(&options(&[("sslmode", mode)])).unwrap();
            assert_eq!(read.ways(), ways, "{mode}");
            assert_eq!(read.trust(false), without, "{mode}");
            assert_eq!(read.trust(true), with, "{mode}");
            if !mode.is_empty() {
                assert_eq!(read.mode.to_string(), mode);
            }
        }
    }

    #[test]
    fn what_libpq_does_not_know_is_refused_with_what_it_knows() {
        for (option, value, known) in [
            ("sslmode", "on", "verify-full"),
            ("channel_binding", "yes", "disable, prefer, require"),
            ("sslnegotiation", "tls", "postgres, direct"),
        ] {
            let wrong = Encryption::read(&options(&[(option, value)])).unwrap_err();
            let words = wrong.to_string();
            assert!(words.starts_with(&format!("{option}: {value:?} is none of ")));
            assert!(words.ends_with(known), "{words}");
        }
        let bound = Encryption::read(&options(&[("channel_binding", "require")])).unwrap();
        assert_eq!(bound.bound, Some(true));
    }

    #[test]
    fn what_needs_a_strong_mode_is_refused_with_a_weak_one() {
        let with = |option: &str, value: &str, mode: &str| {
            Encryption::read(&options(&[(option, value), ("sslmode", mode)])).map(|read| read.mode)
        };
        let full = Ok(SslMode::VerifyFull);
        assert_eq!(with("sslrootcert", "system", ""), full);
        assert_eq!(with("sslrootcert", "system", "verify-full"), full);
        for weak in ["disable", "allow", "prefer", "require", "verify-ca"] {
            let words = with("sslrootcert", "system", weak).unwrap_err().to_string();
            assert!(words.contains("sslrootcert: system needs"), "{words}");
        }
        assert_eq!(
            with("sslnegotiation", "direct", "require"),
            Ok(SslMode::Require)
        );
        for weak in ["", "disable", "allow", "prefer"] {
            let words = with("sslnegotiation", "direct", weak)
                .unwrap_err()
                .to_string();
            assert!(words.contains("sslnegotiation: direct needs"), "{words}");
        }
    }

    #[test]
    fn a_refused_login_is_tried_the_other_way_and_nothing_else_is() {
        assert!(Encryption::goes_on("28000") && Encryption::goes_on("28P01"));
        for other in ["57P03", "3D000", "53300"] {
            assert!(!Encryption::goes_on(other), "{other}");
        }
    }
}
