//! The value of this member's key: what it says of itself in etcd (contract 1.2, members).
//!
//! It is written when it says something else than the key does, or the key hangs on another lease. Positions change
//! all the time: they alone are worth a write once a pace.

use serde_json::{Map, Value};

use super::action::{Job, Write};
use super::reason::Key as Of;
use super::snapshot::Snapshot;
use super::standing::{Holder, Server};
use super::upkeep::{Due, unless_tried};
use crate::cluster::ClusterView;
use crate::keys::Key;
use crate::postgres::Database;
use crate::wire::member::{Member, State};

/// The version of Patroni this agent speaks.
pub const VERSION: &str = "4.1.5";

/// The write that is due, if one is.
pub(super) fn due(s: &Snapshot, view: &ClusterView) -> Due {
    let lease = s.lease.filter(|lease| s.now < lease.ends())?;
    let wanted = wanted(s);
    let key = Key::Member(s.me.name.clone());
    let hangs = view
        .written
        .get(&key)
        .is_some_and(|written| written.lease == Some(lease.id));
    let known = view.members.get(&s.me.name);
    let same = hangs && known == Some(&wanted);
    let recent = s
        .memory
        .published
        .is_some_and(|at| s.now.since(at) < s.pace());
    let moved_only =
        hangs && known.is_some_and(|known| standing_still(known) == standing_still(&wanted));
    if same || (moved_only && recent) {
        return None;
    }
    unless_tried(s, Write::Member(wanted.to_json()), Of::Member)
}

/// The value, as it should be now.
#[must_use]
pub fn wanted(s: &Snapshot) -> Member {
    let mut member = Member {
        conn: Some(s.me.conn.clone()),
        api: Some(s.me.api.clone()),
        proxy: s.me.proxy.clone(),
        state: Some(s.state()),
        role: Some(s.role()),
        version: Some(VERSION.to_owned()),
        tags: s.tags(),
        pause: s.is_paused(),
        pending_restart: !s.me.pending_restart.is_empty(),
        pending_restart_reason: pending(s),
        checkpoint_after_promote: unconfirmed(s).then_some(false),
        ..Member::default()
    };
    let asked = matches!(
        member.state,
        Some(State::Running | State::Starting | State::Restarting)
    );
    let quiet = !matches!(s.job_in_flight(), Some(Job::Stop(_)));
    match s.server() {
        Server::Primary(database) if asked && quiet => {
            member.xlog_location = database.flushed;
            member.timeline = database.timeline;
        }
        Server::Standby(database) if asked && quiet => standby(&mut member, database),
        Server::Primary(_)
        | Server::Standby(_)
        | Server::Empty
        | Server::Unusable(_)
        | Server::Down(_)
        | Server::Starting
        | Server::ShuttingDown
        | Server::Silent(_) => {}
    }
    member.timeline = member.timeline.filter(|timeline| timeline.0 > 0);
    member
}

fn standby(member: &mut Member, database: &Database) {
    let nonzero = |lsn: Option<crate::Lsn>| lsn.filter(|lsn| lsn.0 > 0);
    member.xlog_location = database.position();
    member.replay_lsn = nonzero(database.replayed);
    member.receive_lsn = nonzero(database.received);
    member.replication_state = replication_state(database);
    member.timeline = database.timeline;
}

/// How a standby is fed: `streaming`, `in archive recovery`, or neither.
#[must_use]
pub fn replication_state(database: &Database) -> Option<String> {
    let streams = database
        .receiver
        .as_ref()
        .is_some_and(|receiver| receiver.status == "streaming");
    if streams {
        Some("streaming".to_owned())
    } else {
        database
            .restores_from_archive
            .then(|| "in archive recovery".to_owned())
    }
}

/// Whether this member leads and the checkpoint after its promotion is not confirmed: until then it is no source
/// for pg_rewind.
#[must_use]
pub fn unconfirmed(s: &Snapshot) -> bool {
    if s.holder() != Holder::Me {
        return false;
    }
    match s.server() {
        Server::Primary(database) => match (database.checkpoint_timeline, database.timeline) {
            (Some(checkpoint), Some(timeline)) => checkpoint < timeline,
            (None, _) | (_, None) => s.memory.promoted,
        },
        Server::Standby(_) => true,
        Server::Empty
        | Server::Unusable(_)
        | Server::Down(_)
        | Server::Starting
        | Server::ShuttingDown
        | Server::Silent(_) => s.memory.promoted,
    }
}

fn pending(s: &Snapshot) -> Option<Value> {
    if s.me.pending_restart.is_empty() {
        return None;
    }
    let value = |(old, new): &(String, String)| {
        let mut change = Map::new();
        change.insert("old_value".to_owned(), old.as_str().into());
        change.insert("new_value".to_owned(), new.as_str().into());
        Value::Object(change)
    };
    let reasons =
        s.me.pending_restart
            .iter()
            .map(|(name, change)| (name.clone(), value(change)));
    Some(Value::Object(reasons.collect()))
}

/// The same without where it is in the log.
fn standing_still(member: &Member) -> Member {
    Member {
        xlog_location: None,
        replay_lsn: None,
        receive_lsn: None,
        ..member.clone()
    }
}
