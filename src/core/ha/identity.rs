//! Whether the data here is this cluster's (contract 5.2, rows 12 to 14; A5).

use super::action::{Action, Decision, Write};
use super::bootstrap::{FAILED, release};
use super::reason::{Key as Of, Reason};
use super::snapshot::Snapshot;
use super::standing::{Holder, Server};
use super::upkeep::rest;
use crate::Observed;
use crate::keys::Key;

/// Decides for data that is another cluster's, or of none; `None` where all is well.
pub(super) fn decide(s: &Snapshot) -> Option<Decision> {
    let server = s.server();
    if matches!(server, Server::Empty | Server::Unusable(_)) {
        return None;
    }
    if s.is_own_data() == Some(false) {
        return Some(foreign(s));
    }
    // A running one is what it was when it was adopted; nothing is started, and nobody leads, with unknown data.
    if s.system_id.is_none() && matches!(server, Server::Down(_)) {
        return Some(unknown(s));
    }
    let first_look = !s.memory.joined && s.is_uninitialized() && s.holder() == Holder::Nobody;
    if !first_look || s.is_paused() {
        return None;
    }
    if matches!(server, Server::Standby(_)) {
        return Some(Decision::now(
            s,
            Action::Exit(FAILED),
            Reason::UninitializedReplica,
        ));
    }
    let system_id = s.system_id.clone()?;
    let seen = s
        .fresh()?
        .written
        .get(&Key::Initialize)
        .map(|written| written.modified);
    let write = Action::Write(Write::Initialize(system_id, seen));
    Some(if s.untried(&write) {
        Decision::now(s, write, Reason::Writing(Of::Initialize))
    } else {
        rest(s, Reason::FailedToClaim)
    })
}

/// Nobody can tell whose data it is: nothing is done to it, and the lead is for somebody who has a database.
fn unknown(s: &Snapshot) -> Decision {
    if s.holder() == Holder::Me {
        return release(s, Reason::ReleasedUnusable);
    }
    let words = match &s.control {
        Observed::Unknown { cause, .. } | Observed::Stale { cause, .. } => cause.clone(),
        Observed::Fresh { .. } => "its control file names no system identifier".to_owned(),
    };
    rest(s, Reason::Unusable(words))
}

/// The data is another cluster's: nothing is done to it.
fn foreign(s: &Snapshot) -> Decision {
    if !s.is_paused() {
        return Decision::now(
            s,
            Action::Exit(FAILED),
            Reason::SystemIdMismatch(s.me.name.clone()),
        );
    }
    if s.holder() == Holder::Me {
        return release(s, Reason::ReleasedMismatch);
    }
    rest(s, Reason::SystemIdMismatch(s.me.name.clone()))
}
