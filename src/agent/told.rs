//! What the REST API is told after each step.

use trunkline_core::config::agent::Agent;
use trunkline_core::follow::Trouble;
use trunkline_core::ha::{Holder, Snapshot};
use trunkline_core::rest::Told;
use trunkline_core::wire::config::DynamicConfig;
use trunkline_core::wire::member::{Role, State};
use trunkline_core::{Moment, Observed};

/// What is told before the first step.
pub(crate) fn nothing(agent: &Agent, dynamic: &DynamicConfig, now: Moment) -> Told {
    Told {
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
        pending_restart: std::collections::BTreeMap::new(),
        scheduled_restart: None,
        failsafe_until: None,
        watchdog_failed: false,
        next_run: now,
        only_follows: None,
    }
}

/// What a step has seen.
pub(crate) fn from(snapshot: &Snapshot, look_again: Moment, dynamic: &DynamicConfig) -> Told {
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
    Told {
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
