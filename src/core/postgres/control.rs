//! `pg_controldata`: the words a stopped PostgreSQL leaves about itself.

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
