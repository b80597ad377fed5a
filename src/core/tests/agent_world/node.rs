//! The agent's own PostgreSQL: what the agent would see of it.

use trunkline_core::ha::{Job, Mode};
use trunkline_core::postgres::{
    ControlData, ControlState, DataDirectory, Database, HistoryFile, Limits, Postmaster, Silence,
};
use trunkline_core::wire::history::HistoryLine;
use trunkline_core::{Lsn, Moment, Observed, SystemId, Timeline};

use super::{START, SYSTEM_ID};

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) data: DataDirectory,
    pub(crate) system_id: Option<SystemId>,
    pub(crate) state: ControlState,
    pub(crate) checkpoint: Lsn,
    pub(crate) timeline: Timeline,
    /// How far its log reaches.
    pub(crate) at: Lsn,
    pub(crate) postmaster: Postmaster,
    pub(crate) database: Observed<Database, Silence>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            data: DataDirectory::Empty,
            system_id: None,
            state: ControlState::ShutDown,
            checkpoint: Lsn(0),
            timeline: Timeline(1),
            at: Lsn(1000),
            postmaster: Postmaster::Down { since: START },
            database: Observed::Unknown {
                since: START,
                cause: Silence::NotAsked,
            },
        }
    }
}

impl Node {
    pub(crate) fn control(&self, now: Moment) -> Observed<ControlData, String> {
        let Some(system_id) = self.system_id.clone() else {
            return Observed::Unknown {
                since: START,
                cause: "no such file".to_owned(),
            };
        };
        let value = ControlData {
            system_id,
            state: self.state,
            checkpoint: self.checkpoint,
            timeline: self.timeline,
            minimum_recovery_end: Lsn(0),
            minimum_recovery_timeline: Timeline(0),
            checksums: true,
            wal_log_hints: false,
            max_connections: 100,
            max_worker_processes: 8,
            max_wal_senders: 10,
            max_prepared_transactions: 0,
            max_locks_per_transaction: 64,
        };
        Observed::Fresh { value, asked: now }
    }

    pub(crate) fn history_file(&self) -> Option<HistoryFile> {
        let parent = Timeline(
            self.timeline
                .0
                .checked_sub(1)
                .filter(|parent| *parent > 0)?,
        );
        let line = HistoryLine {
            parent,
            switch: Lsn(1000),
            reason: "no recovery target specified".to_owned(),
            at: Some("2026-11-21T08:00:00+00:00".to_owned()),
            leader: None,
        };
        Some(HistoryFile {
            timeline: self.timeline,
            lines: vec![line],
        })
    }

    /// Data of the cluster, whatever was there.
    pub(crate) fn has_data(&mut self, signal: bool) {
        self.data = DataDirectory::Present {
            signal,
            backup_label: false,
            follows: None,
        };
        self.system_id = SystemId::parse(SYSTEM_ID);
    }

    pub(crate) fn runs(&mut self, primary: bool, now: Moment) {
        if !self.postmaster.is_up() {
            self.postmaster = Postmaster::Up {
                pid: 4711,
                since: now,
            };
        }
        self.state = if primary {
            ControlState::InProduction
        } else {
            ControlState::InArchiveRecovery
        };
        if let DataDirectory::Present {
            signal,
            backup_label,
            ..
        } = &mut self.data
        {
            (*signal, *backup_label) = (!primary, false);
        }
        let database = match self.database.value() {
            Some(known) => known.clone(),
            None => Database::default(),
        };
        let value = Database {
            version: 150_020,
            in_recovery: !primary,
            timeline: Some(self.timeline),
            checkpoint_timeline: database.checkpoint_timeline.or(Some(self.timeline)),
            flushed: primary.then_some(self.at),
            received: (!primary).then_some(self.at),
            replayed: (!primary).then_some(self.at),
            ..database
        };
        self.database = Observed::Fresh { value, asked: now };
    }

    /// Replay stops, of a standby that was started with so many connections.
    pub(crate) fn replay_pauses(&mut self, connections: u32) {
        if let Observed::Fresh { value, .. } = &mut self.database {
            value.replay_paused = true;
            value.limits = Some(Limits {
                max_connections: connections,
                max_worker_processes: 8,
                max_wal_senders: 10,
                max_prepared_transactions: 0,
                max_locks_per_transaction: 64,
            });
        }
    }

    /// Somebody lets it go on.
    pub(crate) fn replay_goes_on(&mut self) {
        if let Observed::Fresh { value, .. } = &mut self.database {
            value.replay_paused = false;
        }
    }

    pub(crate) fn is_silent(&mut self, cause: Silence, now: Moment) {
        self.database = self.database.clone().unanswered(cause.clone(), now);
        if let Observed::Stale { cause: known, .. } | Observed::Unknown { cause: known, .. } =
            &mut self.database
        {
            *known = cause;
        }
    }

    pub(crate) fn is_down(&mut self, state: ControlState, now: Moment) {
        self.postmaster = Postmaster::Down { since: now };
        self.state = state;
        if state == ControlState::ShutDown {
            self.checkpoint = self.at;
            self.at = Lsn(self.at.0 + 100);
        }
        self.is_silent(Silence::NotAsked, now);
    }

    /// What is seen as soon as a job begins.
    pub(crate) fn begins(&mut self, job: &Job, now: Moment) {
        match job {
            Job::Stop(_) => self.is_silent(Silence::ShuttingDown, now),
            Job::Start(mode, _) => {
                self.postmaster = Postmaster::Up {
                    pid: 4711,
                    since: now,
                };
                self.is_silent(Silence::Starting, now);
                if let DataDirectory::Present {
                    signal, follows, ..
                } = &mut self.data
                {
                    *signal = matches!(mode, Mode::Standby(_));
                    *follows = match mode {
                        Mode::Standby(upstream) => upstream.clone(),
                        Mode::Primary => None,
                    };
                }
            }
            _ => {}
        }
    }
}
