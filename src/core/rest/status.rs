//! The status document of this member: what the cycle told and what PostgreSQL answered, as one (contract 2.2).

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::VERSION;
use super::told::Told;
use crate::Moment;
use crate::postgres::{Database, Silence, WalSender};
use crate::wire::config::SynchronousMode;
use crate::wire::member::{Role, State};
use crate::wire::rest::{Identity, Receiver, StatusDocument, Xlog};

/// The document to answer with at `now`.
#[must_use]
pub fn document(told: &Told, database: &Result<Database, Silence>, now: Moment) -> StatusDocument {
    let answered = database.as_ref().ok();
    let role = role(told, answered);
    let stands_by = role != Role::Primary;
    let (sync_standby, quorum_standby) = listed(told, answered.is_some() && stands_by, now);
    let standby = answered.filter(|_| stands_by);
    StatusDocument {
        state: state(told, answered),
        postmaster_start_time: answered.map(|database| stamp(&database.started)),
        server_version: answered.map(|database| database.version),
        xlog: answered
            .map(|database| xlog(database, &role))
            .unwrap_or_default(),
        sync_standby,
        quorum_standby,
        timeline: answered.and_then(|database| database.timeline),
        replication_state: standby.and_then(fed),
        replication: answered
            .map(|database| database.standbys.iter().map(receiver).collect())
            .unwrap_or_default(),
        pause: told.config.pause,
        cluster_unlocked: told.is_unlocked(now) && !told.is_failsafe(now),
        failsafe_mode_is_active: told.is_failsafe(now),
        dcs_last_seen: Some(told.dcs_last_seen),
        tags: told.tags.clone(),
        database_system_identifier: told.system_id.clone(),
        pending_restart: !told.pending_restart.is_empty(),
        pending_restart_reason: pending(told),
        patroni: Identity {
            version: Some(VERSION.to_owned()),
            scope: Some(told.scope.to_string()),
            name: Some(told.me.to_string()),
        },
        scheduled_restart: told.scheduled_restart.as_ref().map(shown_restart),
        watchdog_failed: told.watchdog_failed,
        leader_until_ms: told
            .leader_for(now)
            .map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        only_follows: told.only_follows.clone(),
        role,
    }
}

/// What the member is doing. A PostgreSQL that should run and does not answer is in a state nobody knows; one that
/// answers has started, whether or not the cycle has looked since.
fn state(told: &Told, answered: Option<&Database>) -> State {
    match (&told.state, answered) {
        (State::Running, None) => State::Unknown,
        (State::Starting, Some(_)) => State::Running,
        (state, _) => state.clone(),
    }
}

/// What PostgreSQL says it is; in a standby cluster, and where it says nothing, what is meant.
fn role(told: &Told, answered: Option<&Database>) -> Role {
    match answered {
        None => told.role.clone(),
        Some(database) if !database.in_recovery => Role::Primary,
        Some(_) if told.config.is_standby_cluster() => told.role.clone(),
        Some(_) => Role::Replica,
    }
}

fn xlog(database: &Database, role: &Role) -> Xlog {
    if !database.in_recovery || *role == Role::Primary {
        return Xlog {
            location: Some(database.flushed.unwrap_or_default()),
            ..Xlog::default()
        };
    }
    Xlog {
        location: None,
        // Without a WAL receiver it has what it replayed.
        received_location: Some(database.received.or(database.replayed).unwrap_or_default()),
        replayed_location: Some(database.replayed.unwrap_or_default()),
        replayed_timestamp: database.replayed_at.as_deref().map(stamp),
        paused: database.replay_paused,
    }
}

/// Whether this member is listed in `/sync`: as a synchronous standby, as one that counts for the quorum.
fn listed(told: &Told, stands_by: bool, now: Moment) -> (bool, bool) {
    let sync = told.known(now).and_then(|view| view.sync.as_ref());
    let is_listed = stands_by && sync.is_some_and(|sync| sync.names(&told.me));
    match told.config.synchronous_mode {
        SynchronousMode::Off => (false, false),
        SynchronousMode::On => (is_listed, false),
        SynchronousMode::Quorum => (false, is_listed),
    }
}

/// How a standby is fed.
fn fed(database: &Database) -> Option<String> {
    let receiver = database.receiver.as_ref();
    if receiver.is_some_and(|receiver| receiver.status == "streaming") {
        Some("streaming".to_owned())
    } else if database.restores_from_archive {
        Some("in archive recovery".to_owned())
    } else {
        None
    }
}

fn receiver(sender: &WalSender) -> Receiver {
    Receiver {
        usename: sender.user.clone(),
        application_name: Some(sender.application.clone()),
        client_addr: sender.address.clone(),
        state: Some(sender.state.clone()),
        sync_state: Some(sender.sync_state.clone()),
        sync_priority: Some(sender.sync_priority),
    }
}

/// A time as Python writes it, whatever PostgreSQL left out of it: `2026-11-21 08:31:33.289420+00:00`.
fn stamp(written: &str) -> String {
    let Ok(moment) = written.parse::<Timestamp>() else {
        return written.to_owned();
    };
    let format = if moment.subsec_microsecond() == 0 && moment.subsec_millisecond() == 0 {
        "%Y-%m-%d %H:%M:%S+00:00"
    } else {
        "%Y-%m-%d %H:%M:%S.%6f+00:00"
    };
    moment.strftime(format).to_string()
}

fn pending(told: &Told) -> Option<Value> {
    let reasons: Map<String, Value> = told
        .pending_restart
        .iter()
        .map(|(name, (old, new))| (name.clone(), json!({"old_value": old, "new_value": new})))
        .collect();
    Some(Value::Object(reasons)).filter(|_| !told.pending_restart.is_empty())
}

/// The scheduled restart without what only the agent needs of it.
fn shown_restart(restart: &Value) -> Value {
    let mut shown = restart.clone();
    if let Some(fields) = shown.as_object_mut() {
        fields.shift_remove("postmaster_start_time");
    }
    shown
}
