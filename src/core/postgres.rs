//! What is known of one PostgreSQL: its control file, what it says of itself, its process and its directory.
//!
//! These are the words the agent's half that acts and the half that decides share. Nothing here asks anything.

use std::fmt;

use crate::{Lsn, MemberName, Moment, SystemId, Timeline};

pub mod compare;
pub mod conninfo;
pub mod control;
pub mod encryption;
pub mod files;
mod history;
pub mod lock_file;
pub mod options_file;
pub mod parameters;
mod quoted;
pub mod recovery;
pub mod restored;
pub mod units;
pub mod verdict;
pub mod version;

pub use control::{ControlData, ControlState, Limits};
pub use history::HistoryFile;
pub use lock_file::{LockFile, PostmasterStatus};
pub use version::MajorVersion;

/// What stands in the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataDirectory {
    /// It is missing, or holds nothing but dot files and `lost+found`.
    Empty,
    /// A cluster of files.
    Present {
        /// Whether `standby.signal`, `recovery.signal` or (before 12) `recovery.conf` stands in it.
        signal: bool,
        /// Whether `backup_label` stands in it.
        backup_label: bool,
        /// Whom the configuration files there tell PostgreSQL to follow.
        follows: Option<Upstream>,
    },
    /// It cannot be read, or holds something that is no cluster; in the system's words, with the path.
    Unusable(String),
}

/// Whom a standby streams from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upstream {
    /// Its name, where it is a member of the cluster.
    pub name: Option<MemberName>,
    /// Its host: a name or an address, IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The slot to use there.
    pub slot: Option<String>,
}

impl Upstream {
    /// Whether both are one server and one slot there. A configuration file does not hold the member's name.
    #[must_use]
    pub fn is_same_source(&self, other: &Self) -> bool {
        (&self.host, self.port, &self.slot) == (&other.host, other.port, &other.slot)
    }
}

/// The postmaster process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Postmaster {
    /// There is none.
    Down {
        /// Since when this is known.
        since: Moment,
    },
    /// It runs.
    Up {
        /// Its process.
        pid: u32,
        /// When it was started by this agent, or was found running.
        since: Moment,
    },
}

impl Postmaster {
    /// Whether it runs.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up { .. })
    }
}

/// Why PostgreSQL did not answer a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It was not asked: nothing runs.
    NotAsked,
    /// It is starting up, or recovering and not yet consistent (SQLSTATE 57P03).
    Starting,
    /// It is shutting down (SQLSTATE 57P01, 57P02, 57P03 with those words).
    ShuttingDown,
    /// No connection could be made; the system's words.
    Unreachable(String),
    /// No answer in time.
    TimedOut,
    /// It answered with an error, in its own words and with its SQLSTATE; or there is no way to ask it, for want of TLS.
    Failed(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("it is not running"),
            Self::Starting => f.write_str("it is starting up"),
            Self::ShuttingDown => f.write_str("it is shutting down"),
            Self::Unreachable(words) | Self::Failed(words) => f.write_str(words),
            Self::TimedOut => f.write_str("no answer in time"),
        }
    }
}

/// What PostgreSQL says of itself: the answer to one query (contract, appendix B).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Database {
    /// `server_version_num`.
    pub version: u32,
    /// `pg_postmaster_start_time()`, as PostgreSQL writes it in UTC.
    pub started: String,
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
    /// The timeline: of the current WAL file on a primary, of the WAL receiver (or else of IDENTIFY_SYSTEM) on a
    /// standby.
    pub timeline: Option<Timeline>,
    /// The timeline of the last checkpoint (`pg_control_checkpoint()`): behind the timeline until the checkpoint
    /// after a promotion is done. `None` where it was not asked for.
    pub checkpoint_timeline: Option<Timeline>,
    /// `pg_current_wal_flush_lsn()` of a primary.
    pub flushed: Option<Lsn>,
    /// How far a standby has WAL on disk or written: the greater of receive LSN and the WAL receiver's written LSN.
    pub received: Option<Lsn>,
    /// How far a standby has replayed.
    pub replayed: Option<Lsn>,
    /// `pg_last_xact_replay_timestamp()`, as PostgreSQL writes it.
    pub replayed_at: Option<String>,
    /// Whether replay is paused.
    pub replay_paused: bool,
    /// What it was started with of what a standby needs enough of; `None` where it was not asked.
    pub limits: Option<Limits>,
    /// The WAL receiver, if one runs.
    pub receiver: Option<WalReceiver>,
    /// Whether `restore_command` is set.
    pub restores_from_archive: bool,
    /// Everybody who streams from here (`pg_stat_replication`).
    pub standbys: Vec<WalSender>,
    /// The replication slots here, without temporary ones and those PostgreSQL itself keeps in step (17).
    pub slots: Vec<Slot>,
}

impl Database {
    /// How far its WAL goes: what it flushed as a primary, else the greater of received and replayed (contract
    /// 5.5, step 10).
    #[must_use]
    pub fn position(&self) -> Option<Lsn> {
        if self.in_recovery {
            self.received.max(self.replayed)
        } else {
            self.flushed
        }
    }
}

/// The process that receives WAL on a standby.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct WalReceiver {
    /// `streaming`, `waiting`, `starting` …
    pub status: String,
    /// The slot it uses.
    pub slot: Option<String>,
    /// Where it is connected to (`sender_host`).
    pub host: Option<String>,
    /// The port there (`sender_port`).
    pub port: Option<u16>,
    /// The end of WAL its sender told of last.
    pub latest_end: Option<Lsn>,
    /// The timeline it receives.
    pub timeline: Option<Timeline>,
}

/// One row of `pg_stat_replication`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct WalSender {
    /// The user that is logged in.
    pub user: Option<String>,
    /// `application_name`: a member's name.
    pub application: String,
    /// Where it comes from; empty over a unix socket.
    pub address: Option<String>,
    /// `streaming`, `catchup`, `startup`, `backup` …
    pub state: String,
    /// `async`, `sync`, `quorum`, `potential`.
    pub sync_state: String,
    /// Its place in `synchronous_standby_names`.
    pub sync_priority: u32,
    /// How far it said to have flushed.
    pub flushed: Option<Lsn>,
}

/// A replication slot.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Whether it is a logical one.
    pub logical: bool,
    /// The output plugin of a logical one.
    pub plugin: Option<String>,
    /// Its database, by name, of a logical one.
    pub database: Option<String>,
    /// Whether somebody uses it now.
    pub active: bool,
    /// Whether it holds back vacuum (`xmin` is set).
    pub xmin: bool,
    /// From where WAL is kept for it.
    pub restart: Option<Lsn>,
    /// How far a logical one was confirmed.
    pub confirmed: Option<Lsn>,
    /// Whether the WAL it needs is gone (`wal_status` is `lost`).
    pub lost: bool,
}

/// Which database this is and how it may have to be started: what initdb and pg_basebackup leave behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The system identifier.
    pub system_id: SystemId,
    /// The timeline of its last checkpoint.
    pub timeline: Timeline,
}
