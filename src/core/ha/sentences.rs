//! The sentences of reasons: what the log says, and what `trunkline` and its tools show.

use std::fmt;

use super::reason::{Demotion, Key, Reason, Refusal, Task};
use super::standing::Unbuilt;

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(sentence) = self.fixed() {
            return f.write_str(sentence);
        }
        self.with_names(f)
    }
}

impl Reason {
    /// Sentences without anything to fill in.
    #[expect(clippy::too_many_lines, reason = "a table, one line a sentence")]
    const fn fixed(&self) -> Option<&'static str> {
        Some(match self {
            Self::ProvingTheLock => "the leader key is mine, proving it",
            Self::RenewingTheLock => "updating the leader lock",
            Self::KeepingTheLease => "keeping the lease alive",
            Self::EtcdSilent => "DCS is not accessible",
            Self::StartingReadOnly => "starting as readonly because DCS is not accessible",
            Self::GarbledLock => "the leader key names nobody: delete it by hand",
            Self::Bootstrapping => "trying to bootstrap a new cluster",
            Self::BootstrapFailed => "failed to bootstrap a new cluster",
            Self::Initialized => "initialized a new cluster",
            Self::ClaimingInitialize => "acquiring the initialize lock",
            Self::FailedToClaim => "failed to acquire initialize lock",
            Self::WaitingForBootstrap => "waiting for leader to bootstrap",
            Self::CopyFailed => "copying a member failed, trying again soon",
            Self::UninitializedReplica => {
                "No initialize key in DCS and PostgreSQL is running as replica, aborting start"
            }
            Self::ReleasedEmpty => {
                "released leader key voluntarily as data dir empty and currently leader"
            }
            Self::ReleasedUnusable => {
                "released leader key voluntarily as data dir not accessible and currently leader"
            }
            Self::ReleasedMismatch => {
                "released leader key voluntarily due to the system ID mismatch"
            }
            Self::ReleasedStandby => {
                "removed leader lock because postgres is not running as primary"
            }
            Self::ReleasedDown => "removed leader lock because postgres is not running",
            Self::PrimaryWithoutLock => "continue to run as primary without lock",
            Self::EmptyInPause => "running with empty data directory",
            Self::NotRunning => "postgres is not running",
            Self::ShuttingDown => "PostgreSQL is shutting down",
            Self::Silent => "Error communicating with PostgreSQL. Will try again later",
            Self::StartTimeout => "stopped PostgreSQL because of startup timeout",
            Self::StartTimeoutAlone => {
                "primary start has timed out, but continuing to wait because failover is not possible"
            }
            Self::RestartingPrimary => "starting primary after failure",
            Self::StartingWithLock => "starting as readonly because i had the session lock",
            Self::FailingOver => "stopped PostgreSQL to fail over after a crash",
            Self::StartFailed => "removed leader key after trying and failing to start postgres",
            Self::FailedToStart => "failed to start postgres",
            Self::StartingSecondary => "starting as a secondary",
            Self::WaitingForSuccessor => "released the leader lock, waiting for a successor",
            Self::SingleUserRecovery => "doing crash recovery in a single user mode",
            Self::Reinitializing => "reinitializing due to diverged timelines",
            Self::TooFewForReplay => {
                "replay is paused because the primary has more of a parameter: restarting with as much"
            }
            Self::Reloading => "applying the changed configuration",
            Self::KeepingSlots => "changing replication slots",
            Self::Checkpoint => "checkpoint after promotion",
            Self::Promoted => "promoted self to leader by acquiring session lock",
            Self::PromotionFailed => "released the leader lock because the promotion failed",
            Self::LeadingAgain => "acquired session lock as a leader",
            Self::TakingTheLock => "taking the free leader lock",
            Self::AskingPeers => "asking other members where they are",
            Self::LostRace => "following new leader after trying and failing to obtain lock",
            Self::NotAllowed => "following a different leader because I am not allowed to promote",
            Self::NotInFailsafe => {
                "following a different leader because I am not in the failsafe key"
            }
            Self::WaitingForCandidate => "switchover: waiting for a candidate that streams",
            Self::SwitchoverDemote => "switchover: demoting myself",
            Self::FailoverDemote => "manual failover: demoting myself",
            Self::Switchover => "switchover: in progress",
            Self::HandingOver => {
                "released the leader lock: a candidate has the shutdown checkpoint"
            }
            Self::TakingBack => "switchover: taking the lead back",
            Self::Ending => "shutting down",
            Self::Ended => "the agent ends",
            Self::Leading(_)
            | Self::LeadingWithout(..)
            | Self::Following { .. }
            | Self::Idle(_)
            | Self::Writing(_)
            | Self::Demoting(_)
            | Self::Unbuilt(_)
            | Self::CopyingLeader(_)
            | Self::CopyingReplica(_)
            | Self::NoAddress(_)
            | Self::Unusable(_)
            | Self::SystemIdMismatch(_)
            | Self::StartingUp(_)
            | Self::WaitingForPromotion(_)
            | Self::WaitingForCheckpoint(_)
            | Self::Comparing(_)
            | Self::StoppingToRewind(_)
            | Self::Rewinding(_)
            | Self::Redirecting(_)
            | Self::NotHealthiest(_)
            | Self::Awaiting { .. }
            | Self::Refused(_)
            | Self::UpdatedLockDuring(_)
            | Self::MakingWay(_)
            | Self::InProgress(_) => return None,
        })
    }

    /// Nothing to do: the sentences that tools look for first.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others are matched by the caller"
    )]
    fn settled(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leading(me) => write!(f, "no action. I am ({me}), the leader with the lock"),
            Self::LeadingWithout(me, mode) => {
                write!(
                    f,
                    "no action. I am ({me}), the leader with the lock, but {mode}"
                )
            }
            Self::Following { me, leader } => write!(
                f,
                "no action. I am ({me}), a secondary, and following a leader ({leader})"
            ),
            Self::Idle(me) => write!(f, "no action. I am ({me})"),
            _ => Ok(()),
        }
    }

    /// Sentences that name somebody or something.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others are the fixed ones, matched above"
    )]
    fn with_names(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writing(key) => write!(f, "writing {key}"),
            Self::Demoting(why) => write!(f, "{why}"),
            Self::Unbuilt(mode) => {
                write!(
                    f,
                    "following a different leader because I am not allowed to promote: {mode}"
                )
            }
            Self::CopyingLeader(name) => write!(f, "trying to bootstrap from leader '{name}'"),
            Self::CopyingReplica(name) => write!(f, "trying to bootstrap from replica '{name}'"),
            Self::NoAddress(name) => {
                write!(
                    f,
                    "waiting: the leader {name} does not say where its PostgreSQL is reached"
                )
            }
            Self::Unusable(words) => write!(f, "data directory is not accessible: {words}"),
            Self::SystemIdMismatch(me) => {
                write!(
                    f,
                    "system ID mismatch, node {me} belongs to a different cluster"
                )
            }
            Self::StartingUp(Some(left)) => {
                write!(
                    f,
                    "PostgreSQL is still starting up, {left} seconds until timeout"
                )
            }
            Self::StartingUp(None) => f.write_str("PostgreSQL is still starting up"),
            Self::WaitingForPromotion(name) => {
                write!(
                    f,
                    "waiting for {name} to be promoted before timelines can be compared"
                )
            }
            Self::WaitingForCheckpoint(name) => {
                write!(f, "Waiting for checkpoint on {name} before rewind")
            }
            Self::Comparing(name) => write!(f, "comparing timelines with {name}"),
            Self::StoppingToRewind(name) | Self::Rewinding(name) => {
                write!(f, "running pg_rewind from {name}")
            }
            Self::Redirecting(name) => write!(f, "changing primary_conninfo to follow {name}"),
            Self::NotHealthiest(obstacle) => write!(
                f,
                "following a different leader because i am not the healthiest node: {obstacle}"
            ),
            Self::Awaiting { at, left } => {
                write!(f, "Awaiting switchover at {at} (in {left} seconds)")
            }
            Self::Refused(refusal) => write!(f, "switchover is not possible: {refusal}"),
            Self::UpdatedLockDuring(task) => write!(f, "updated leader lock during {task}"),
            Self::MakingWay(task) => {
                write!(f, "giving up {task}: something else cannot wait")
            }
            Self::InProgress(task) => write!(f, "{task} in progress"),
            _ => self.settled(f),
        }
    }
}

impl fmt::Display for Demotion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeaseEnded => f.write_str("demoting self because my lease has ended unrenewed"),
            Self::UpdateRefused => {
                f.write_str("demoted self because failed to update leader lock in DCS")
            }
            Self::NoLock => {
                f.write_str("demoting self because I do not have the lock and I was a leader")
            }
            Self::LostWhileStarting => {
                f.write_str("stopped PostgreSQL while starting up because leader key was lost")
            }
            Self::LostDuring(task) => write!(f, "lost leader lock during {task}"),
            Self::EtcdSilent => {
                f.write_str("demoted self because DCS is not accessible and I was a leader")
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherLeader => "the request names another leader",
            Self::Already => "the candidate is the leader already",
            Self::Paused => "the cluster is paused",
            Self::Stale => "its time is long gone",
            Self::NoCandidate => "there is no such candidate, or it must not lead",
            Self::NotStreaming => "no candidate streams from this leader",
            Self::NotPromotable => "no candidate could be promoted",
            Self::NobodyCaughtUp => "no candidate has received the shutdown checkpoint",
        })
    }
}

impl fmt::Display for Unbuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Synchronous => "synchronous_mode is not supported by this version",
            Self::StandbyCluster => "standby_cluster is not supported by this version",
            Self::Watchdog => "watchdog mode 'required' is not supported by this version",
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Member => "the member key",
            Self::Initialize => "initialize",
            Self::Config => "config",
            Self::Status => "status",
            Self::OptimeLeader => "optime/leader",
            Self::History => "history",
            Self::Failsafe => "failsafe",
            Self::Failover => "failover",
        })
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
