//! The leader with the lock (contract 5.6).

use super::action::{Action, Decision, Job, Write};
use super::bootstrap::release;
use super::reason::{Key as Of, Reason};
use super::snapshot::Snapshot;
use super::standing::Server;
use super::upkeep::{rest, slots};
use super::{crash, member, starting};
use crate::postgres::Database;

/// Decides for whoever holds the lock for certain, with no job in flight.
pub(super) fn decide(s: &Snapshot) -> Decision {
    match s.server() {
        Server::Empty => release(s, Reason::ReleasedEmpty),
        Server::Unusable(_) => release(s, Reason::ReleasedUnusable),
        Server::Down(control) => crash::leader(s, control),
        Server::Starting => starting::leader(s),
        Server::Standby(_) => promote(s),
        Server::Primary(database) => at_work(s, database),
        Server::ShuttingDown => rest(s, Reason::ShuttingDown),
        Server::Silent(_) => rest(s, Reason::Silent),
    }
}

/// The lock is new, or the last promotion was interrupted.
fn promote(s: &Snapshot) -> Decision {
    if let Some(unbuilt) = s.unbuilt() {
        return release(s, Reason::Unbuilt(unbuilt));
    }
    // Without word from etcd this long, a primary would have to stop again at once.
    if s.certain().is_some_and(|held| s.now >= held.demote_at()) {
        return rest(s, Reason::EtcdSilent);
    }
    // The winner's clean-up: whatever was asked for has come true, or cannot any more.
    let clear = Action::Write(Write::ClearFailover(None));
    if s.request().is_some() && s.untried(&clear) {
        return Decision::now(s, clear, Reason::Writing(Of::Failover));
    }
    if s.memory.promotion_failed.is_some() {
        return release(s, Reason::PromotionFailed);
    }
    Decision::now(s, Action::Begin(Job::Promote), Reason::Promoted)
}

/// It takes writes: what is left is what others need of it.
fn at_work(s: &Snapshot, database: &Database) -> Decision {
    if s.reload_due && s.may_begin(&Job::Reload) {
        return Decision::now(s, Action::Begin(Job::Reload), Reason::Reloading);
    }
    if let Some(job) = slots(s) {
        return Decision::now(s, Action::Begin(job), Reason::KeepingSlots);
    }
    let unconfirmed = member::unconfirmed(s) && database.timeline.is_some();
    if unconfirmed && s.may_begin(&Job::Checkpoint) {
        return Decision::now(s, Action::Begin(Job::Checkpoint), Reason::Checkpoint);
    }
    let me = s.me.name.clone();
    let awaits = s
        .request()
        .and_then(|request| request.scheduled_at)
        .filter(|at| *at > s.wall);
    rest(
        s,
        match (awaits, s.unbuilt()) {
            (Some(at), _) => {
                let left = at.duration_since(s.wall).as_secs().max(0).unsigned_abs();
                Reason::Awaiting { at, left }
            }
            (None, Some(unbuilt)) => Reason::LeadingWithout(me, unbuilt),
            (None, None) => Reason::Leading(me),
        },
    )
}
