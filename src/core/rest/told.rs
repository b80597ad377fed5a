//! What the agent's cycle tells the REST API after each step.
//!
//! All plain values. What depends on the time of a question is a function of `now`, so that an answer is right
//! however long the cycle has not told anything new.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{ClusterView, Lock};
use crate::config::agent::Agent;
use crate::follow::Trouble;
use crate::ha::{Holder, Snapshot};
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
    /// What is told before the first step.
    #[must_use]
    pub fn nothing(agent: &Agent, dynamic: &DynamicConfig, now: Moment) -> Self {
        Self {
            me: agent.name.clone(),
            scope: agent.scope.clone(),
            view: Observed::Unknown {
                since: now,
                cause: Trouble::NotAsked,
            },
            etcd_answered: None,
            dcs_last_seen: 0,
            config: dynamic.clone(),
            held: None,
            role: Role::Uninitialized,
            state: State::Stopped,
            postmaster_up: false,
            system_id: None,
            configured_tags: agent.tags.clone(),
            tags: agent.tags.clone(),
            pending_restart: BTreeMap::new(),
            scheduled_restart: None,
            failsafe_until: None,
            watchdog_failed: false,
            next_run: now,
            only_follows: None,
        }
    }

    /// What a step has seen.
    #[must_use]
    pub fn of(snapshot: &Snapshot, look_again: Moment, dynamic: &DynamicConfig) -> Self {
        let etcd_answered = [
            snapshot.view.asked().filter(|asked| *asked > Moment::BOOT),
            snapshot.lease.map(|lease| lease.confirmed),
            snapshot.held.map(|held| held.confirmed),
        ]
        .into_iter()
        .flatten()
        .max();
        let ago = etcd_answered.map(|answered| snapshot.now.since(answered).as_secs());
        let wall = u64::try_from(snapshot.wall.as_second()).unwrap_or(0);
        let unbuilt = snapshot.unbuilt();
        Self {
            me: snapshot.me.name.clone(),
            scope: snapshot.me.scope.clone(),
            view: snapshot.view.clone(),
            etcd_answered,
            dcs_last_seen: ago.map_or(0, |ago| wall.saturating_sub(ago)),
            config: dynamic.clone(),
            // Whoever knows that somebody else leads does not say that it does.
            held: snapshot.held.filter(|_| snapshot.holder() == Holder::Me),
            role: snapshot.role(),
            state: snapshot.state(),
            postmaster_up: snapshot.postmaster.is_up(),
            system_id: snapshot.system_id.clone(),
            configured_tags: snapshot.me.tags.clone(),
            tags: snapshot.tags(),
            pending_restart: snapshot.me.pending_restart.clone(),
            scheduled_restart: None,
            failsafe_until: snapshot
                .memory
                .pinged
                .as_ref()
                .map(|(_, at)| at.after(dynamic.ttl)),
            watchdog_failed: snapshot.me.watchdog_required,
            next_run: look_again.max(snapshot.now),
            only_follows: unbuilt.map(|unbuilt| unbuilt.to_string()),
        }
    }

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
