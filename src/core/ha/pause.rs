//! The cluster is paused: PostgreSQL is left alone (contract 5.18).
//!
//! A primary that has the lock keeps it, one without it may take a free one; nobody is promoted, demoted, started
//! or stopped. A changed configuration is applied all the same.

use super::action::{Action, Decision, Job};
use super::bootstrap::release;
use super::reason::Reason;
use super::snapshot::Snapshot;
use super::standing::{Holder, Server};
use super::upkeep::{rest, slots};

/// Decides in pause; `None` where there is none.
pub(super) fn decide(s: &Snapshot) -> Option<Decision> {
    if !s.is_paused() {
        return None;
    }
    let me = s.me.name.clone();
    let answers = matches!(s.server(), Server::Primary(_) | Server::Standby(_));
    if answers && s.reload_due && s.may_begin(&Job::Reload) {
        return Some(Decision::now(
            s,
            Action::Begin(Job::Reload),
            Reason::Reloading,
        ));
    }
    Some(match (s.server(), s.holder()) {
        (Server::Empty, Holder::Me) => release(s, Reason::ReleasedEmpty),
        (Server::Empty, _) => rest(s, Reason::EmptyInPause),
        (Server::Unusable(words), _) => rest(s, Reason::Unusable(words.to_owned())),
        (Server::Primary(_), Holder::Me) => match slots(s) {
            Some(job) => Decision::now(s, Action::Begin(job), Reason::KeepingSlots),
            None => rest(s, Reason::Leading(me)),
        },
        (Server::Standby(_), Holder::Me) => release(s, Reason::ReleasedStandby),
        (Server::Down(_), Holder::Me) => release(s, Reason::ReleasedDown),
        (Server::Primary(_), Holder::Nobody) => take(s),
        (Server::Primary(_), Holder::Other(_) | Holder::Garbled | Holder::Unknown) => {
            rest(s, Reason::PrimaryWithoutLock)
        }
        (Server::Down(_), _) => rest(s, Reason::NotRunning),
        (Server::Standby(_) | Server::Starting | Server::ShuttingDown | Server::Silent(_), _) => {
            rest(s, Reason::Idle(me))
        }
    })
}

/// A free lock belongs to a running primary of this cluster.
fn take(s: &Snapshot) -> Decision {
    let ours = s.is_uninitialized() || s.is_own_data() == Some(true);
    if ours && s.unbuilt().is_none() && s.untried(&Action::Acquire) {
        Decision::now(s, Action::Acquire, Reason::LeadingAgain)
    } else {
        rest(s, Reason::PrimaryWithoutLock)
    }
}
