//! The roles a member says it has (Patroni 4.1, state and role vocabulary).

use std::fmt;

/// A member's role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It leads a standby cluster: in recovery itself, and what the cluster's replicas follow.
    StandbyLeader,
    /// It follows another member.
    Replica,
    /// It was the primary and is being stopped, or cannot go on without etcd.
    Demoted,
    /// It was told to promote itself and has not reached production.
    Promoted,
    /// It has no database yet.
    Uninitialized,
    /// A word Patroni 4.1 does not know.
    Other(String),
}

impl Role {
    /// Reads a role; versions before 4.0 call the primary `master`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match text {
            "primary" | "master" => Self::Primary,
            "standby_leader" => Self::StandbyLeader,
            "replica" => Self::Replica,
            "demoted" => Self::Demoted,
            "promoted" => Self::Promoted,
            "uninitialized" => Self::Uninitialized,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The role as Patroni 4.1 writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Primary => "primary",
            Self::StandbyLeader => "standby_leader",
            Self::Replica => "replica",
            Self::Demoted => "demoted",
            Self::Promoted => "promoted",
            Self::Uninitialized => "uninitialized",
            Self::Other(text) => text,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_written_as_it_was_read_but_for_the_old_one() {
        for word in [
            "primary",
            "standby_leader",
            "replica",
            "demoted",
            "promoted",
            "uninitialized",
            "witness",
            "",
        ] {
            assert_eq!(Role::of(word).as_str(), word);
        }
        assert_eq!(Role::of("master"), Role::Primary);
        assert_eq!(Role::of("Primary"), Role::Other("Primary".to_owned()));
    }
}
