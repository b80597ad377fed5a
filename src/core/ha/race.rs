//! Nobody holds the lock: who takes it (contract 5.5).

use super::action::{Action, Decision, Job, Stop};
use super::reason::{Demotion, Reason};
use super::snapshot::Snapshot;
use super::standing::Server;
use super::upkeep::rest;
use super::{crash, manual};
use crate::election::{self, Contest, Verdict};
use crate::postgres::Database;
use crate::{Lsn, MemberName};

/// Decides while the lock is free.
pub(super) fn decide(s: &Snapshot) -> Decision {
    match s.server() {
        Server::Down(_) => crash::follower(s, None),
        Server::Primary(database) => primary(s, database),
        Server::Standby(database) => standby(s, database),
        Server::Starting => rest(s, Reason::StartingUp(None)),
        Server::Empty | Server::Unusable(_) | Server::ShuttingDown => rest(s, Reason::ShuttingDown),
        Server::Silent(_) => rest(s, Reason::Silent),
    }
}

/// A primary without a lock: it takes it at once, or stops. An old one that wakes up is told by its timeline.
fn primary(s: &Snapshot, database: &Database) -> Decision {
    let reached = s
        .view
        .value()
        .and_then(|view| view.history.as_ref())
        .map(crate::wire::history::History::timeline);
    let old = database
        .timeline
        .is_none_or(|mine| reached.is_some_and(|reached| mine < reached));
    if !old && s.unbuilt().is_none() && s.untried(&Action::Acquire) {
        return Decision::now(s, Action::Acquire, Reason::LeadingAgain);
    }
    Decision::now(
        s,
        Action::Begin(Job::Stop(Stop::at_once(s.now))),
        Reason::Demoting(Demotion::NoLock),
    )
}

/// A standby: it takes the lock if nobody has more right to it.
fn standby(s: &Snapshot, database: &Database) -> Decision {
    if let Some(unbuilt) = s.unbuilt() {
        return rest(s, Reason::Unbuilt(unbuilt));
    }
    if s.me.tags.nofailover() {
        return rest(s, Reason::NotAllowed);
    }
    if !s.untried(&Action::Acquire) {
        return rest(s, Reason::LostRace);
    }
    let ttl = s.config().ttl;
    if s.memory
        .promotion_failed
        .is_some_and(|at| s.now.since(at) < ttl)
    {
        return rest(s, Reason::PromotionFailed);
    }
    let Some(view) = s.fresh() else {
        return rest(s, Reason::EtcdSilent);
    };
    let listed = view
        .failsafe
        .as_ref()
        .is_none_or(|it| it.0.is_empty() || it.0.contains_key(&s.me.name));
    if view.config.failsafe_mode && !listed {
        return rest(s, Reason::NotInFailsafe);
    }
    match manual::candidate(s).unwrap_or_else(|| election::judge(&contest(s, database, true))) {
        Verdict::Stands => Decision::now(s, Action::Acquire, Reason::TakingTheLock),
        Verdict::Ask(whom) => Decision::now(s, Action::Ask(whom), Reason::AskingPeers),
        Verdict::Defers(obstacle) => rest(s, Reason::NotHealthiest(obstacle)),
    }
}

/// What this member brings into an election; with the limit on how far behind it may be, or without.
pub(super) fn contest<'a>(s: &'a Snapshot, database: &Database, limited: bool) -> Contest<'a> {
    let view = s.view.value();
    let last = view.and_then(|view| view.status.optime);
    let most = s.config().maximum_lag_on_failover;
    let reached = view
        .and_then(|view| view.history.as_ref())
        .map(crate::wire::history::History::timeline);
    Contest {
        me: &s.me.name,
        position: database.position().unwrap_or(Lsn(0)),
        timeline: database.timeline,
        priority: s.me.tags.failover_priority(),
        others: electorate(s),
        peers: &s.peers,
        limit: last.filter(|_| limited).map(|last| (most, last)),
        least_timeline: reached.filter(|_| s.me.check_timeline),
        former: former(s),
    }
}

/// Everybody who may want the lock.
pub(super) fn electorate(
    s: &Snapshot,
) -> std::collections::BTreeMap<MemberName, crate::wire::member::Member> {
    match s.view.value() {
        Some(view) => election::electorate(&s.memory.electorate, view),
        None => s.memory.electorate.clone(),
    }
}

/// Who led last, as the last history line or the request has it.
fn former(s: &Snapshot) -> Option<MemberName> {
    s.request().and_then(|request| request.leader.clone())
}
