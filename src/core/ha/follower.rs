//! A member that follows the leader (contract 5.8).

use super::action::{Action, Decision, Job};
use super::reason::Reason;
use super::snapshot::Snapshot;
use super::standing::Server;
use super::upkeep::{rest, slots};
use super::{crash, diverged};
use crate::MemberName;
use crate::postgres::DataDirectory;

/// Decides while somebody else leads, with no job in flight.
pub(super) fn decide(s: &Snapshot, leader: &MemberName) -> Decision {
    match s.server() {
        Server::Down(_) => crash::follower(s, Some(leader)),
        Server::Starting => {
            misdirected(s, leader).unwrap_or_else(|| rest(s, Reason::StartingUp(None)))
        }
        Server::Standby(_) => standby(s, leader),
        Server::Primary(_) => rest(s, Reason::PrimaryWithoutLock),
        Server::Empty | Server::Unusable(_) | Server::ShuttingDown => rest(s, Reason::ShuttingDown),
        Server::Silent(_) => rest(s, Reason::Silent),
    }
}

fn standby(s: &Snapshot, leader: &MemberName) -> Decision {
    if let Some(decision) = misdirected(s, leader).or_else(|| diverged::running(s, leader)) {
        return decision;
    }
    if s.reload_due && s.may_begin(&Job::Reload) {
        return Decision::now(s, Action::Begin(Job::Reload), Reason::Reloading);
    }
    if let Some(job) = slots(s) {
        return Decision::now(s, Action::Begin(job), Reason::KeepingSlots);
    }
    let me = s.me.name.clone();
    rest(
        s,
        Reason::Following {
            me,
            leader: leader.clone(),
        },
    )
}

/// It follows somebody else than it should, or nobody. A leader without an address changes nothing: what is
/// followed now may be it.
fn misdirected(s: &Snapshot, leader: &MemberName) -> Option<Decision> {
    let DataDirectory::Present { follows, .. } = &s.data else {
        return None;
    };
    let wanted = s.to_follow(leader);
    if wanted.is_none() && !s.me.tags.nostream() {
        return None;
    }
    let right = match (follows, &wanted) {
        (None, None) => true,
        (Some(follows), Some(wanted)) => follows.is_same_source(wanted),
        (Some(_), None) | (None, Some(_)) => false,
    };
    let job = Job::Follow(wanted);
    (!right && s.may_begin(&job))
        .then(|| Decision::now(s, Action::Begin(job), Reason::Redirecting(leader.clone())))
}
