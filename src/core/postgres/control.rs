//! `pg_controldata`: the words a stopped PostgreSQL leaves about itself.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::{Lsn, SystemId, Timeline};

/// In which state the control file says the cluster is (PostgreSQL, `pg_controldata`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlState {
    /// `starting up`.
    StartingUp,
    /// `shut down`.
    ShutDown,
    /// `shut down in recovery`.
    ShutDownInRecovery,
    /// `shutting down`.
    ShuttingDown,
    /// `in crash recovery`.
    InCrashRecovery,
    /// `in archive recovery`: a standby that runs, or did.
    InArchiveRecovery,
    /// `in production`: a primary that runs, or did.
    InProduction,
}

/// What the control file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlData {
    /// The identity of the database.
    pub system_id: SystemId,
    /// The state.
    pub state: ControlState,
    /// Where the last checkpoint's record begins.
    pub checkpoint: Lsn,
    /// Its timeline.
    pub timeline: Timeline,
    /// How far recovery must go before a standby is consistent; zero on a primary.
    pub minimum_recovery_end: Lsn,
    /// The timeline of that.
    pub minimum_recovery_timeline: Timeline,
    /// Whether data pages have checksums.
    pub checksums: bool,
    /// `wal_log_hints` as it was in force.
    pub wal_log_hints: bool,
    /// `max_connections` as it was in force.
    pub max_connections: u32,
    /// `max_worker_processes` as it was in force.
    pub max_worker_processes: u32,
    /// `max_wal_senders` as it was in force.
    pub max_wal_senders: u32,
    /// `max_prepared_xacts` as it was in force.
    pub max_prepared_transactions: u32,
    /// `max_locks_per_xact` as it was in force.
    pub max_locks_per_transaction: u32,
}

/// What a hot standby must have at least as much of as the primary whose log it replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    /// `max_connections`.
    pub max_connections: u32,
    /// `max_worker_processes`.
    pub max_worker_processes: u32,
    /// `max_wal_senders`.
    pub max_wal_senders: u32,
    /// `max_prepared_transactions`.
    pub max_prepared_transactions: u32,
    /// `max_locks_per_transaction`.
    pub max_locks_per_transaction: u32,
}

impl Limits {
    /// Whether any of them is less than what is needed.
    #[must_use]
    pub const fn fall_short_of(&self, needed: &ControlData) -> bool {
        self.max_connections < needed.max_connections
            || self.max_worker_processes < needed.max_worker_processes
            || self.max_wal_senders < needed.max_wal_senders
            || self.max_prepared_transactions < needed.max_prepared_transactions
            || self.max_locks_per_transaction < needed.max_locks_per_transaction
    }
}

/// Why what `pg_controldata` printed says nothing of this cluster of files.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadControl {
    /// It was written by another version, or is damaged.
    #[error(
        "the checksum of pg_control does not match: it is damaged, or of another version of PostgreSQL than pg_controldata"
    )]
    Checksum,
    /// A line that every version from 13 on prints is missing.
    #[error("pg_controldata did not say `{0}`")]
    Missing(&'static str),
    /// A line says what cannot be.
    #[error("pg_controldata said `{label}: {value}`, which makes no sense")]
    Senseless {
        /// Which line.
        label: &'static str,
        /// What it said, cut to a readable length.
        value: String,
    },
}

impl ControlData {
    /// Reads what `LC_ALL=C pg_controldata` of PostgreSQL 13 to 18 printed on its standard output, whatever bytes
    /// that are.
    ///
    /// # Errors
    ///
    /// If a line that is needed is missing or senseless, or if the program said that the checksum is wrong: then none
    /// of its words can be trusted.
    pub fn parse(printed: &[u8]) -> Result<Self, BadControl> {
        let text = String::from_utf8_lossy(printed);
        if disowns_checksum(&text) {
            return Err(BadControl::Checksum);
        }
        let lines = Lines::of(&text);
        Ok(Self {
            system_id: lines.read("Database system identifier", SystemId::parse)?,
            state: lines.read("Database cluster state", ControlState::of)?,
            checkpoint: lines.read("Latest checkpoint location", Lsn::parse)?,
            timeline: lines.read("Latest checkpoint's TimeLineID", timeline)?,
            minimum_recovery_end: lines.read("Minimum recovery ending location", Lsn::parse)?,
            minimum_recovery_timeline: lines
                .read("Min recovery ending loc's timeline", timeline)?,
            checksums: lines.read("Data page checksum version", number)? != 0,
            wal_log_hints: lines.read("wal_log_hints setting", on_or_off)?,
            max_connections: lines.read("max_connections setting", number)?,
            max_worker_processes: lines.read("max_worker_processes setting", number)?,
            max_wal_senders: lines.read("max_wal_senders setting", number)?,
            max_prepared_transactions: lines.read("max_prepared_xacts setting", number)?,
            max_locks_per_transaction: lines.read("max_locks_per_xact setting", number)?,
        })
    }
}

impl ControlState {
    /// Reads PostgreSQL's words for it.
    #[must_use]
    pub fn of(words: &str) -> Option<Self> {
        match words {
            "starting up" => Some(Self::StartingUp),
            "shut down" => Some(Self::ShutDown),
            "shut down in recovery" => Some(Self::ShutDownInRecovery),
            "shutting down" => Some(Self::ShuttingDown),
            "in crash recovery" => Some(Self::InCrashRecovery),
            "in archive recovery" => Some(Self::InArchiveRecovery),
            "in production" => Some(Self::InProduction),
            _ => None,
        }
    }

    /// PostgreSQL's words for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StartingUp => "starting up",
            Self::ShutDown => "shut down",
            Self::ShutDownInRecovery => "shut down in recovery",
            Self::ShuttingDown => "shutting down",
            Self::InCrashRecovery => "in crash recovery",
            Self::InArchiveRecovery => "in archive recovery",
            Self::InProduction => "in production",
        }
    }
}

/// Whether pg_controldata says, on either output, that the checksum is wrong: 15 as a WARNING on the standard one, newer
/// versions as a `warning:` on the other. It exits with 0 all the same.
#[must_use]
pub fn disowns_checksum(text: &str) -> bool {
    text.to_ascii_lowercase()
        .contains("calculated crc checksum does not match value stored in ")
}

/// The lines by their labels.
struct Lines<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let labelled = text.lines().filter_map(|line| line.split_once(':'));
        Self(
            labelled
                .map(|(label, value)| (label, value.trim()))
                .collect(),
        )
    }

    fn read<T>(
        &self,
        label: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, BadControl> {
        let value = self.0.get(label).ok_or(BadControl::Missing(label))?;
        read(value).ok_or_else(|| BadControl::Senseless {
            label,
            value: value.chars().take(80).collect(),
        })
    }
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok()
}

fn timeline(text: &str) -> Option<Timeline> {
    number(text).map(Timeline)
}

fn on_or_off(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}
