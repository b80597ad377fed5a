//! etcd cannot be asked: how long a primary goes on, and what everybody else does (contract 5.13).
//!
//! Not knowing is not losing: a lock that is certain is certain until its lease could end, and only then, so much
//! earlier as a stop takes, PostgreSQL gives way. What needs no etcd goes on as ever.

use super::action::{Action, Decision, Job, Stop};
use super::memory::Bootstrap;
use super::reason::{Demotion, Reason};
use super::snapshot::Snapshot;
use super::standing::{Holder, Server};
use super::{crash, upkeep};
use crate::{Moment, Observed};

/// Decides while etcd is silent; `None` where that makes no difference.
pub(super) fn decide(s: &Snapshot) -> Option<Decision> {
    if s.is_paused() || s.memory.bootstrap != Bootstrap::No {
        return (s.holder() == Holder::Unknown).then(|| upkeep::rest(s, Reason::EtcdSilent));
    }
    if let Some(decision) = give_way(s) {
        return Some(decision);
    }
    (s.holder() == Holder::Unknown).then(|| without_a_view(s))
}

/// Stops a PostgreSQL whose lock could not be confirmed for too long.
pub(super) fn give_way(s: &Snapshot) -> Option<Decision> {
    overdue(s).map(|deadline| stop(s, deadline))
}

/// Whether the stop of a PostgreSQL whose lock could not be confirmed has to begin now, or has begun.
pub(super) fn is_overdue(s: &Snapshot) -> bool {
    !s.is_paused() && s.memory.bootstrap == Bootstrap::No && overdue(s).is_some()
}

/// By when a PostgreSQL that may write has to be stopped, if its stop has to begin now.
fn overdue(s: &Snapshot) -> Option<Moment> {
    if !s.may_write() {
        return None;
    }
    match s.certain() {
        Some(held) => (s.now >= held.demote_at()).then(|| s.stopped_by()),
        // What this process never proved may end at any moment: etcd gets one round of retries to answer.
        None => {
            let since = match &s.view {
                Observed::Fresh { .. } if s.reaches_etcd() => return None,
                Observed::Fresh { .. } => return Some(s.stopped_by()),
                Observed::Stale { since, .. } | Observed::Unknown { since, .. } => *since,
            };
            let patience = s.config().retry_timeout;
            (s.now >= since.after(patience)).then(|| s.stopped_by())
        }
    }
}

/// A fast shutdown that ends in time whatever PostgreSQL does.
fn stop(s: &Snapshot, deadline: Moment) -> Decision {
    if let Some(Job::Stop(stop)) = s.job_in_flight()
        && (stop.immediate || stop.deadline.is_some_and(|known| known <= deadline))
    {
        return upkeep::rest(s, Reason::Demoting(Demotion::EtcdSilent));
    }
    let stop = Stop {
        immediate: false,
        checkpoint: false,
        deadline: Some(deadline),
    };
    Decision::now(
        s,
        Action::Begin(Job::Stop(stop)),
        Reason::Demoting(Demotion::EtcdSilent),
    )
}

/// Who leads is not known.
fn without_a_view(s: &Snapshot) -> Decision {
    let start = crash::as_standby(s, s.followed());
    match s.server() {
        // Read-only and on its own, so that it can be read from; of no data that may be another cluster's (A5).
        Server::Down(_)
            if s.job.is_none() && s.is_own_data() == Some(true) && s.may_begin(&start) =>
        {
            Decision::now(s, Action::Begin(start), Reason::StartingReadOnly)
        }
        Server::Empty
        | Server::Unusable(_)
        | Server::Down(_)
        | Server::Starting
        | Server::Primary(_)
        | Server::Standby(_)
        | Server::ShuttingDown
        | Server::Silent(_) => upkeep::rest(s, Reason::EtcdSilent),
    }
}
