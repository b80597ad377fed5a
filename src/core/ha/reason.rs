//! Why something is done or not. Sentences that tools grep are Patroni's (contract, appendix D and chapter 5).

use jiff::Timestamp;

use super::action::{Job, Mode};
use super::standing::Unbuilt;
use crate::MemberName;
use crate::election::Obstacle;
use crate::wire::failover::Failover;

/// The reason of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing to do: the leader with the lock.
    Leading(MemberName),
    /// The same, in a mode that this release cannot do.
    LeadingWithout(MemberName, Unbuilt),
    /// Nothing to do: a follower.
    Following {
        /// Who follows.
        me: MemberName,
        /// Whom.
        leader: MemberName,
    },
    /// Nothing to do, in pause.
    Idle(MemberName),
    /// The lock is known from etcd, and has to be proven.
    ProvingTheLock,
    /// The lock is due for renewal.
    RenewingTheLock,
    /// The lease is.
    KeepingTheLease,
    /// A key is not what it should be.
    Writing(Key),
    /// PostgreSQL must not go on accepting writes.
    Demoting(Demotion),
    /// etcd does not answer.
    EtcdSilent,
    /// PostgreSQL is started read-only because nobody knows who leads.
    StartingReadOnly,
    /// The leader key names nobody.
    GarbledLock,
    /// The cluster asks for what this release cannot do, so this member only follows.
    Unbuilt(Unbuilt),
    /// A new cluster is being made.
    Bootstrapping,
    /// Making it failed.
    BootstrapFailed,
    /// It was made.
    Initialized,
    /// `initialize` is claimed, to make a cluster.
    ClaimingInitialize,
    /// Somebody else was first.
    FailedToClaim,
    /// Somebody else makes the cluster.
    WaitingForBootstrap,
    /// A replica is copied from the leader.
    CopyingLeader(MemberName),
    /// ... from another replica.
    CopyingReplica(MemberName),
    /// The last copy failed.
    CopyFailed,
    /// The leader does not say where it is reached.
    NoAddress(MemberName),
    /// The data directory cannot be used.
    Unusable(String),
    /// It has another cluster's.
    SystemIdMismatch(MemberName),
    /// A replica runs, of a cluster that etcd does not know.
    UninitializedReplica,
    /// The lock is let go: there is no data directory.
    ReleasedEmpty,
    /// ... it cannot be used.
    ReleasedUnusable,
    /// ... it is another cluster's.
    ReleasedMismatch,
    /// ... in pause, PostgreSQL does not run as primary.
    ReleasedStandby,
    /// ... in pause, PostgreSQL does not run.
    ReleasedDown,
    /// A primary runs without the lock, in pause.
    PrimaryWithoutLock,
    /// There is no data directory, in pause.
    EmptyInPause,
    /// PostgreSQL is not running.
    NotRunning,
    /// It is shutting down.
    ShuttingDown,
    /// It does not answer.
    Silent,
    /// It has not finished starting; a leader's has so many seconds left.
    StartingUp(Option<u64>),
    /// A leader's start took too long, and somebody else can take over.
    StartTimeout,
    /// ... and nobody can.
    StartTimeoutAlone,
    /// It crashed with the lock: started again as the primary it was.
    RestartingPrimary,
    /// It was down with the lock, and was no primary.
    StartingWithLock,
    /// It crashed, and somebody else takes over.
    FailingOver,
    /// It could not be started, with the lock.
    StartFailed,
    /// ... without it.
    FailedToStart,
    /// It is started as a standby.
    StartingSecondary,
    /// The lock was let go: the successor is waited for.
    WaitingForSuccessor,
    /// The successor's promotion is waited for.
    WaitingForPromotion(MemberName),
    /// The checkpoint after it is.
    WaitingForCheckpoint(MemberName),
    /// The timelines are compared with the leader's.
    Comparing(MemberName),
    /// pg_rewind is needed, so PostgreSQL stops.
    StoppingToRewind(MemberName),
    /// pg_rewind runs.
    Rewinding(MemberName),
    /// Recovery after a crash, so that pg_rewind can work.
    SingleUserRecovery,
    /// The timelines went apart: a new copy is made.
    Reinitializing,
    /// PostgreSQL is told to follow this leader.
    Redirecting(MemberName),
    /// The primary has more of something than this standby: it has to be started with as much.
    TooFewForReplay,
    /// A changed configuration is applied.
    Reloading,
    /// Slots of members have to change.
    KeepingSlots,
    /// The checkpoint after the promotion.
    Checkpoint,
    /// The lock was taken: PostgreSQL is promoted.
    Promoted,
    /// It could not be.
    PromotionFailed,
    /// The lock is free, and a primary runs here.
    LeadingAgain,
    /// The lock is free, and nobody has more right to it.
    TakingTheLock,
    /// Others are asked where they are.
    AskingPeers,
    /// Somebody else was faster.
    LostRace,
    /// Somebody or something has more right to it.
    NotHealthiest(Obstacle),
    /// This member must not lead.
    NotAllowed,
    /// The last leader did not list it for failsafe mode.
    NotInFailsafe,
    /// A scheduled switchover.
    Awaiting {
        /// When.
        at: Timestamp,
        /// In so many seconds.
        left: u64,
    },
    /// A switchover was asked for; somebody is waited for who streams.
    WaitingForCandidate,
    /// The leader stops for a switchover.
    SwitchoverDemote,
    /// ... for a manual failover.
    FailoverDemote,
    /// A switchover is under way.
    Switchover,
    /// The lock is let go: somebody has everything.
    HandingOver,
    /// A request is not carried out.
    Refused(Refusal),
    /// Nobody had everything: this member leads again.
    TakingBack,
    /// The lock is kept while a job is in flight.
    UpdatedLockDuring(Task),
    /// A job is given up for something that cannot wait.
    MakingWay(Task),
    /// A job is in flight.
    InProgress(Task),
    /// The agent was told to end.
    Ending,
    /// It ends.
    Ended,
}

/// A key that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `members/<me>`.
    Member,
    /// `initialize`.
    Initialize,
    /// `config`.
    Config,
    /// `status`.
    Status,
    /// `optime/leader`.
    OptimeLeader,
    /// `history`.
    History,
    /// `failsafe`.
    Failsafe,
    /// `failover`.
    Failover,
}

/// Why PostgreSQL must not go on accepting writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demotion {
    /// The lease ended: this agent, or its machine, stood still.
    LeaseEnded,
    /// etcd said that the lock is not this agent's.
    UpdateRefused,
    /// Somebody else holds it, or nobody does and this member may not.
    NoLock,
    /// It was lost while PostgreSQL was starting.
    LostWhileStarting,
    /// ... while a job was in flight.
    LostDuring(Task),
    /// etcd did not answer for so long that the lease may end.
    EtcdSilent,
}

/// Why a request is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It names another leader.
    OtherLeader,
    /// It names the leader as the candidate.
    Already,
    /// The cluster is paused, which this release cannot switch over in.
    Paused,
    /// Its time is long gone.
    Stale,
    /// There is nobody to hand over to.
    NoCandidate,
    /// Nobody streams.
    NotStreaming,
    /// Nobody who streams could be promoted.
    NotPromotable,
    /// Nobody had the end of the log.
    NobodyCaughtUp,
}

/// What a job is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task(&'static str);

impl From<&Job> for Task {
    fn from(job: &Job) -> Self {
        Self(match job {
            Job::Bootstrap => "bootstrap",
            Job::PutAside => "putting the data directory aside",
            Job::Clone(_) => "creating replica",
            Job::Start(Mode::Primary, _) => "starting primary after failure",
            Job::Start(Mode::Standby(_), _) => "starting",
            Job::Stop(_) => "stopping",
            Job::Promote => "promote",
            Job::Follow(_) => "changing primary_conninfo",
            Job::CheckRewind(_) => "comparing timelines",
            Job::Rewind(_) => "running pg_rewind",
            Job::CrashRecovery => "doing crash recovery in a single user mode",
            Job::Wipe => "removing the data directory",
            Job::Checkpoint => "checkpoint",
            Job::Reload => "reload",
            Job::Slots(_) => "changing replication slots",
        })
    }
}

impl Task {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }
}

impl Reason {
    /// Whether this member led or followed with nothing to do.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        matches!(
            self,
            Self::Leading(_) | Self::LeadingWithout(..) | Self::Following { .. } | Self::Idle(_)
        )
    }

    /// Why a leader stops for a request.
    #[must_use]
    pub const fn demoting_for(request: &Failover) -> Self {
        match request.leader {
            Some(_) => Self::SwitchoverDemote,
            None => Self::FailoverDemote,
        }
    }
}
