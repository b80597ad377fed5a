//! Jobs in an operator's words, for the log.

use std::fmt;

use super::action::{Job, Mode, Stop};
use crate::postgres::Upstream;
use crate::slots::SlotChange;

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bootstrap => f.write_str("making a new cluster"),
            Self::PutAside => f.write_str("putting the data directory aside"),
            Self::Clone(source) => write!(f, "copying {source}"),
            Self::Start(Mode::Primary, _) => f.write_str("starting PostgreSQL as primary"),
            Self::Start(Mode::Standby(None), _) => {
                f.write_str("starting PostgreSQL as a standby of nobody")
            }
            Self::Start(Mode::Standby(Some(source)), _) => {
                write!(f, "starting PostgreSQL as a standby of {source}")
            }
            Self::Stop(Stop {
                immediate: true, ..
            }) => f.write_str("stopping PostgreSQL at once (immediate)"),
            Self::Stop(_) => f.write_str("stopping PostgreSQL (fast)"),
            Self::Promote => f.write_str("promoting PostgreSQL"),
            Self::Follow(None) => f.write_str("following nobody"),
            Self::Follow(Some(source)) => write!(f, "following {source}"),
            Self::CheckRewind(leader) => {
                write!(f, "comparing the timelines with those of {leader}")
            }
            Self::Rewind(leader) => write!(f, "running pg_rewind from {leader}"),
            Self::CrashRecovery => f.write_str("crash recovery in single-user mode"),
            Self::Wipe => f.write_str("removing the data directory"),
            Self::Checkpoint => f.write_str("checkpoint after promotion"),
            Self::Reload => f.write_str("applying the configuration"),
            Self::Slots(changes) => {
                f.write_str("slots:")?;
                changes.iter().try_for_each(|change| write!(f, " {change}"))
            }
        }
    }
}

impl Job {
    /// Whether it is a part of every day, and worth a line only to who looks closely.
    #[must_use]
    pub fn is_routine(&self) -> bool {
        let advances = |change: &SlotChange| matches!(change, SlotChange::Advance(..));
        matches!(self, Self::Slots(changes) if changes.iter().all(advances))
    }
}

impl fmt::Display for SlotChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(name) => write!(f, "create {name}"),
            Self::Drop(name) => write!(f, "drop {name}"),
            Self::Advance(name, to) => write!(f, "advance {name} to {to}"),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({}:{})", self.host, self.port),
            None => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
