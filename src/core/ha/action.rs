//! What can be done: a closed list.

use std::time::Duration;

use super::reason::Reason;
use super::snapshot::{Asked, Snapshot};
use crate::lease::Written;
use crate::postgres::{Identity, Upstream};
use crate::slots::SlotChange;
use crate::{Lsn, Moment, Revision, SystemId};

/// One action and why.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// Why; the log line, the REST answer and the history read this.
    pub reason: Reason,
    /// When to look again at the latest, whatever happens or not.
    pub look_again: Moment,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Nothing: the cycle is over.
    Rest,
    /// Keep the lease alive, or get one: what the member key hangs on.
    KeepLease,
    /// Keep the lease alive and prove that the leader key is this agent's (contract 1.4, refresh lock).
    ///
    /// Only while the lock is held for certain (`Snapshot::held`, not ended) may a key that vanished be created
    /// again by this: otherwise somebody may have led in between, and the lock is to be raced for.
    Renew {
        /// By when there must be an answer: none by then counts as none.
        by: Moment,
    },
    /// Create the leader key.
    Acquire,
    /// Delete the leader key if its value is this agent's name; before that, with a position, write it as the
    /// last word of this leader into `status`.
    Release {
        /// The position; everything else in `status` stays as it is.
        optime: Option<Lsn>,
    },
    /// Revoke the lease: PostgreSQL is proven stopped and the lock let go (agent.md, section 4).
    Revoke,
    /// Change a key.
    Write(Write),
    /// `GET` these members' REST APIs, all at once, two seconds at most.
    Ask(Asked),
    /// Begin a job. [`Job::Stop`] may be begun while another job is in flight: it takes its place at once, the
    /// other one is cancelled without waiting for it and its end is dropped.
    Begin(Job),
    /// Give the job in flight up.
    Cancel,
    /// End the agent with this exit code. PostgreSQL stays as it is.
    Exit(u8),
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// `members/<me>`, on this agent's lease: the value.
    Member(String),
    /// `initialize`, created empty: the race to bootstrap.
    ClaimInitialize,
    /// `initialize`, the system identifier: created if missing, replaced only if it is as it was seen.
    Initialize(SystemId, Option<Revision>),
    /// `initialize`, deleted if it is as it was seen: the bootstrap failed.
    UnclaimInitialize,
    /// `config`: the value, where there was none or an invalid one (at this revision).
    Config(String, Option<Revision>),
    /// `status`: the value.
    Status(String),
    /// `optime/leader`, for members older than 2.1: the value.
    OptimeLeader(String),
    /// `history`: the value.
    History(String),
    /// `failsafe`: the value.
    Failsafe(String),
    /// `failover`, `{}` if it is as it was seen at this revision; `None`: whatever it is (the winner's clean-up).
    ClearFailover(Option<Revision>),
}

/// Work that takes long. At most one is in flight.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// Make a new cluster: initdb (or the custom method), start, roles, post_init.
    Bootstrap,
    /// Put a data directory whose bootstrap failed aside as `<data>.failed`, PostgreSQL stopped first.
    PutAside,
    /// Copy a running member: its upstream, and whether that is the leader.
    Clone(Upstream),
    /// Write the configuration and start PostgreSQL.
    Start(Mode, Duration),
    /// Stop it.
    Stop(Stop),
    /// Take it out of recovery.
    Promote,
    /// Make a running standby follow another one, or nobody; by reload where PostgreSQL can, else by restart.
    Follow(Option<Upstream>),
    /// Compare the timelines here with this leader's and find out whether pg_rewind is needed; PostgreSQL may
    /// run or not.
    CheckRewind(Upstream),
    /// pg_rewind from this leader; PostgreSQL is down.
    Rewind(Upstream),
    /// Recover after a crash in single-user mode, so that pg_rewind can work; PostgreSQL is down.
    CrashRecovery,
    /// Remove the data directory so that it is copied anew: only where the configuration says so (A5).
    Wipe,
    /// CHECKPOINT after a promotion: until it is done this primary is no source for pg_rewind.
    Checkpoint,
    /// Apply a changed configuration: files, reload, and what waits for a restart.
    Reload,
    /// Create, drop and advance replication slots: names to have with the position to advance to, names to drop.
    Slots(Vec<SlotChange>),
}

/// How to start PostgreSQL.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// As a primary: no signal file; on the timeline it has.
    Primary,
    /// As a standby of somebody, or of nobody.
    Standby(Option<Upstream>),
}

/// How to stop PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Whether to begin with a fast shutdown (SIGINT) or an immediate one (SIGQUIT).
    pub immediate: bool,
    /// Whether to run CHECKPOINT first, so that the shutdown's own is short.
    pub checkpoint: bool,
    /// By when it must be gone, whatever it takes (A1): SIGQUIT halfway, SIGKILL at three quarters.
    pub deadline: Option<Moment>,
}

impl Stop {
    /// How long a postmaster that was told to end at once gets, in all, before it is killed with its children: one that
    /// is frozen passes the order on to nobody, and its children go on serving.
    const AT_ONCE: Duration = Duration::from_secs(1);

    /// At once, and by force if that is not obeyed.
    #[must_use]
    pub const fn at_once(now: Moment) -> Self {
        Self {
            immediate: true,
            checkpoint: false,
            deadline: Some(now.after(Self::AT_ONCE)),
        }
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub struct JobEnd {
    /// Which.
    pub job: Job,
    /// When it began.
    pub began: Moment,
    /// When it ended.
    pub ended: Moment,
    /// What came of it.
    pub outcome: JobOutcome,
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobOutcome {
    /// It was done.
    Done,
    /// A new cluster was made.
    Made(Identity),
    /// `CheckRewind`: whether pg_rewind is needed, as far as can be told.
    RewindNeeded(bool),
    /// `Start`: PostgreSQL runs but has not finished starting within its time.
    StillStarting,
    /// It failed; what was being done and the cause.
    Failed(String),
    /// It was given up because it was told to.
    Cancelled,
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out; of a job: it was begun.
    Done,
    /// etcd refused it: what it was conditional on is not so any more.
    Refused,
    /// There was no answer; the cause. It may have been carried out all the same.
    Unanswered(String),
}

impl From<Written> for Outcome {
    fn from(written: Written) -> Self {
        match written {
            Written::Done => Self::Done,
            Written::Refused => Self::Refused,
            Written::Unreachable(words) => Self::Unanswered(words),
        }
    }
}

impl Decision {
    /// To do this now; what comes after is decided at once.
    pub const fn now(snapshot: &Snapshot, action: Action, reason: Reason) -> Self {
        Self {
            action,
            reason,
            look_again: snapshot.now,
        }
    }

    /// The same, but to look again at this moment if that is earlier.
    pub fn by(mut self, moment: Moment) -> Self {
        self.look_again = self.look_again.min(moment);
        self
    }
}
