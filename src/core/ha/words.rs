//! The words for what a node is doing that go into its member key and its REST API.

use super::action::{Job, JobOutcome};
use super::memory::Bootstrap;
use super::snapshot::Snapshot;
use super::standing::{Holder, Server};
use crate::postgres::{ControlState, DataDirectory};
use crate::wire::member::{Role, State};

impl Snapshot {
    /// The state PostgreSQL here is in, in Patroni's words (contract 1.3).
    #[must_use]
    pub fn state(&self) -> State {
        if let Some(state) = self.job_in_flight().and_then(|job| self.state_during(job)) {
            return state;
        }
        let ended = self
            .memory
            .ended
            .as_ref()
            .map(|end| (&end.job, &end.outcome));
        match (self.server(), ended) {
            (Server::Primary(_) | Server::Standby(_) | Server::Silent(_), _) => State::Running,
            (Server::Starting, _) => State::Starting,
            (Server::ShuttingDown, Some((Job::Stop(_), JobOutcome::Failed(_)))) => {
                State::StopFailed
            }
            (Server::ShuttingDown, _) => State::Stopping,
            (_, Some((Job::Start(_, _), JobOutcome::Failed(_)))) => State::StartFailed,
            (_, Some((Job::Bootstrap, JobOutcome::Failed(_)))) => {
                if self.me.restores {
                    State::CustomBootstrapFailed
                } else {
                    State::InitdbFailed
                }
            }
            (Server::Down(_), _) if self.has_crashed() => State::Crashed,
            (Server::Down(_) | Server::Empty | Server::Unusable(_), _) => State::Stopped,
        }
    }

    /// The state while a new cluster is made: by initdb, or by a method of the operator's own.
    const fn making(&self) -> State {
        match (self.me.restores, self.postmaster.is_up()) {
            (false, _) => State::InitializingNewCluster,
            (true, false) => State::RunningCustomBootstrap,
            (true, true) => State::StartingAfterCustomBootstrap,
        }
    }

    /// Whether PostgreSQL ended by itself.
    #[must_use]
    pub const fn has_crashed(&self) -> bool {
        self.memory.crashed.is_some() || (self.memory.ran && self.job.is_none())
    }

    /// The role of this member, in Patroni's words (contract 1.2, members).
    #[must_use]
    pub fn role(&self) -> Role {
        let leads = self.holder() == Holder::Me || self.memory.bootstrap != Bootstrap::No;
        match self.server() {
            Server::Empty | Server::Unusable(_) => Role::Uninitialized,
            Server::Standby(_) => Role::Replica,
            Server::Primary(_) if leads => Role::Primary,
            // It is on its way down, or about to be.
            Server::Primary(_) if matches!(self.job_in_flight(), Some(Job::Stop(_))) => {
                Role::Demoted
            }
            Server::Primary(_) => Role::Primary,
            Server::Down(_) | Server::Starting | Server::ShuttingDown | Server::Silent(_) => {
                self.role_unasked(leads)
            }
        }
    }

    /// The role while PostgreSQL does not say it itself.
    fn role_unasked(&self, leads: bool) -> Role {
        let DataDirectory::Present {
            signal,
            backup_label,
            ..
        } = self.data
        else {
            return Role::Uninitialized;
        };
        let led = self
            .control
            .value()
            .is_some_and(|control| match control.state {
                ControlState::InProduction
                | ControlState::ShutDown
                | ControlState::ShuttingDown
                | ControlState::InCrashRecovery
                | ControlState::StartingUp => true,
                ControlState::ShutDownInRecovery | ControlState::InArchiveRecovery => false,
            });
        match (signal || backup_label || !led, leads) {
            (true, _) => Role::Replica,
            (false, true) => Role::Primary,
            (false, false) => Role::Demoted,
        }
    }

    /// The state while a job is in flight, where the job says it better than PostgreSQL.
    fn state_during(&self, job: &Job) -> Option<State> {
        match job {
            Job::Bootstrap => Some(self.making()),
            Job::Clone(_) => Some(State::CreatingReplica),
            Job::Start(_, _) => Some(State::Starting),
            Job::Stop(_) => Some(State::Stopping),
            Job::PutAside | Job::Rewind(_) | Job::CrashRecovery | Job::Wipe => Some(State::Stopped),
            Job::Promote
            | Job::Follow(_)
            | Job::CheckRewind(_)
            | Job::Checkpoint
            | Job::Reload
            | Job::Slots(_) => None,
        }
    }
}
