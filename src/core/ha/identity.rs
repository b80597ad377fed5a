//! Whether the data here is this cluster's (contract 5.2, rows 12 to 14; A5).

use super::action::{Action, Decision, Job, Stop, Write};
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
    let mismatch = Reason::SystemIdMismatch(s.me.name.clone());
    match (s.is_paused(), s.holder() == Holder::Me) {
        (true, true) => release(s, Reason::ReleasedMismatch),
        (true, false) => rest(s, mismatch),
        (false, true) => gives_up(s, mismatch),
        (false, false) => Decision::now(s, Action::Exit(FAILED), mismatch),
    }
}

/// It led with this data: nobody keeps its lock once the agent has ended, and whoever takes it must not meet a primary
/// that goes on writing (A1). Without the lock PostgreSQL is left as it is.
fn gives_up(s: &Snapshot, mismatch: Reason) -> Decision {
    if s.may_write() {
        let stop = Job::Stop(Stop {
            immediate: false,
            checkpoint: false,
            deadline: None,
        });
        return match s.backs_off(&stop).filter(|again| s.now < *again) {
            Some(again) => rest(s, mismatch).by(again),
            None => Decision::now(s, Action::Begin(stop), mismatch),
        };
    }
    let release = Action::Release { optime: None };
    if s.certain().is_some() && s.untried(&release) {
        return Decision::now(s, release, Reason::ReleasedMismatch);
    }
    Decision::now(s, Action::Exit(FAILED), mismatch)
}
