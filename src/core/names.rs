//! Names and numbers that share a representation and must not be mixed up.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The cluster's name, Patroni's `scope`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<str>);

/// The name of a member of the cluster, as it stands in its etcd key. Any character but `/` may be in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberName(Arc<str>);

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(Scope);
text!(MemberName);

impl MemberName {
    /// How long a name may be, in bytes. Patroni knows no limit, but nobody means a longer one, and it stands in every line
    /// of the log.
    pub const LONGEST: usize = 1024;

    /// Whether both name the same member where Patroni ignores case: in `/sync` (contract 1.2, sync).
    #[must_use]
    pub fn is_case_insensitively(&self, other: &str) -> bool {
        self.0.to_lowercase() == other.to_lowercase()
    }
}

/// A position in PostgreSQL's write-ahead log, in bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Lsn(pub u64);

impl Lsn {
    /// How many bytes `self` is ahead of `other`; zero where it is not.
    #[must_use]
    pub const fn ahead_of(self, other: Self) -> u64 {
        self.0.saturating_sub(other.0)
    }

    /// Reads PostgreSQL's own spelling: two halves in hexadecimal, eight digits at most each, `0/404EC30`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let half = |digits: &str| {
            let plain = (1..=8).contains(&digits.len())
                && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            plain
                .then(|| u64::from_str_radix(digits, 16).ok())
                .flatten()
        };
        Some(Self((half(high)? << 32) | half(low)?))
    }
}

impl fmt::Display for Lsn {
    /// PostgreSQL's own spelling: both halves in upper-case hexadecimal, `0/404EC30`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A PostgreSQL timeline.
    Timeline(u32)
);
number!(
    /// A revision of etcd's store; meaningful only beside the [`ClusterId`] it was read from.
    Revision(i64)
);
number!(
    /// Which store of etcd: how many times it has turned out to be another one than before, rebuilt or put back
    /// from a snapshot. Revisions compare only within one.
    StoreNumber(u32)
);
number!(
    /// An etcd lease.
    LeaseId(i64)
);
number!(
    /// The identity of an etcd cluster: a store that was rebuilt has another one.
    ClusterId(u64)
);
number!(
    /// etcd's raft term: an answer with a lower one comes from a member that has fallen behind.
    RaftTerm(u64)
);

impl StoreNumber {
    /// No store there is: what a router remembers from its last run.
    pub const REMEMBERED: Self = Self(0);
    /// The store that is read first.
    pub const FIRST: Self = Self(1);

    /// The store after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Revision {
    /// The revision after this one: where a watch goes on.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// PostgreSQL's database system identifier, decimal text as it stands in `/initialize`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemId(Arc<str>);

impl SystemId {
    /// Reads an identifier; `None` unless it is at least ten characters, all digits (contract 1.2, initialize).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() >= 10 && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| Self(text.into()))
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lsn_is_spelled_as_postgresql_spells_it() {
        assert_eq!(Lsn(67_431_472).to_string(), "0/404EC30");
        assert_eq!(Lsn(0x12_3400_00ab).to_string(), "12/340000AB");
    }

    #[test]
    fn an_lsn_is_read_as_postgresql_spells_it_and_in_no_other_way() {
        assert_eq!(Lsn::parse("0/404EC30"), Some(Lsn(67_431_472)));
        assert_eq!(Lsn::parse("FFFFFFFF/ffffffff"), Some(Lsn(u64::MAX)));
        for bad in [
            "",
            "/",
            "0",
            "0/",
            "/0",
            "0/+1",
            "0/1/2",
            "100000000/0",
            "0/ 1",
            "x/1",
        ] {
            assert_eq!(Lsn::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_system_identifier_is_ten_digits_or_more() {
        assert!(SystemId::parse("7710532611349547367").is_some());
        for bad in [
            "",
            "123456789",
            "77105326113495473x7",
            "７７１０５３２６１１",
        ] {
            assert_eq!(SystemId::parse(bad), None, "{bad:?}");
        }
    }
}
