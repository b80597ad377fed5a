//! What the agent's cycle tells the REST API after each step.
//!
//! All plain values. What depends on the time of a question is a function of `now`, so that an answer is right
//! however long the cycle has not told anything new.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{ClusterView, Lock};
use crate::follow::Trouble;
use crate::lease::Held;
use crate::wire::config::DynamicConfig;
use crate::wire::member::{Role, State, Tags};
use crate::{MemberName, Moment, Observed, Scope, SystemId};

/// What is known of this member and its cluster, as of the cycle's last step.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// This member.
    pub me: MemberName,
    /// The cluster.
    pub scope: Scope,
    /// What etcd says, however old.
    pub view: Observed<ClusterView, Trouble>,
    /// When the last question that etcd answered was sent, whatever it was about; `None` before the first.
    pub etcd_answered: Option<Moment>,
    /// The same for people, in seconds since 1970; zero before the first.
    pub dcs_last_seen: u64,
    /// The dynamic configuration in force: the last one that could be read, or the one on disk.
    pub config: DynamicConfig,
    /// The lock as last proven; `None` once it is known to be lost or was let go.
    pub held: Option<Held>,
    /// The role that is meant (contract 1.3).
    pub role: Role,
    /// What PostgreSQL is doing (contract 1.3).
    pub state: State,
    /// Whether the postmaster runs.
    pub postmaster_up: bool,
    /// The identity of the database here.
    pub system_id: Option<SystemId>,
    /// The tags as configured: what filters of health checks compare.
    pub configured_tags: Tags,
    /// The tags in effect: what is shown.
    pub tags: Tags,
    /// Parameters that wait for a restart, with the old and the new value.
    pub pending_restart: BTreeMap<String, (String, String)>,
    /// The restart an operator has scheduled.
    pub scheduled_restart: Option<Value>,
    /// Until when failsafe mode is active: a leader pings, or the leader's own round succeeded.
    pub failsafe_until: Option<Moment>,
    /// Whether a watchdog is required and cannot be used.
    pub watchdog_failed: bool,
    /// When the cycle that runs began, or the next one is to begin.
    pub next_run: Moment,
    /// Why this member only follows, where a mode is in force that this release does not support.
    pub only_follows: Option<String>,
}

impl Told {
    /// Whether this member holds the lock, as far as its lease proves (contract 2.3, `is_leader`).
    #[must_use]
    pub fn is_leader(&self, now: Moment) -> bool {
        self.held.as_ref().is_some_and(|held| now < held.ends())
    }

    /// For how long more the lock is certain.
    #[must_use]
    pub fn leader_for(&self, now: Moment) -> Option<Duration> {
        let held = self.held.as_ref().filter(|held| now < held.ends())?;
        Some(held.ends().since(now))
    }

    /// The view, unless etcd has been silent for longer than `ttl`.
    #[must_use]
    pub fn known(&self, now: Moment) -> Option<&ClusterView> {
        let answered = self.etcd_answered?;
        let view = self.view.value()?;
        (now < answered.after(self.config.ttl)).then_some(view)
    }

    /// The view for who asks about the cluster as a whole: none once etcd has been silent for longer than questions to it are
    /// tried again, since others may know better. (Patroni's own answer is a failed one then.)
    #[must_use]
    pub fn shown(&self, now: Moment) -> Option<&ClusterView> {
        match &self.view {
            Observed::Fresh { value, .. } => Some(value),
            Observed::Stale { value, since, .. } => {
                (now.since(*since) < self.config.retry_timeout).then_some(value)
            }
            Observed::Unknown { .. } => None,
        }
    }

    /// Whether nobody holds the lock, or nobody is known to.
    #[must_use]
    pub fn is_unlocked(&self, now: Moment) -> bool {
        match self.known(now).map(|view| &view.lock) {
            Some(Lock::Held { .. }) => false,
            Some(Lock::Vacant | Lock::Garbage { .. }) | None => true,
        }
    }

    /// Whether failsafe mode is active.
    #[must_use]
    pub fn is_failsafe(&self, now: Moment) -> bool {
        self.failsafe_until.is_some_and(|until| now < until)
    }
}
