//! A former primary, or a standby of one, whose log may have gone another way than the leader's: compare, rewind,
//! or copy anew (contract 5.9).

use std::time::Duration;

use super::action::{Action, Decision, Job, Stop};
use super::memory::Rewind;
use super::reason::Reason;
use super::snapshot::Snapshot;
use super::standing::Server;
use super::upkeep::rest;
use crate::MemberName;
use crate::postgres::{ControlData, ControlState, DataDirectory, Postmaster, Upstream};
use crate::wire::member::Role;

/// How long a crashed former primary waits for its successor's promotion, so that the timelines can be compared
/// before PostgreSQL is started.
const PATIENCE: Duration = Duration::from_secs(5);

/// What has to be done before a PostgreSQL that is down is started as a standby of this leader.
pub(super) fn down(
    s: &Snapshot,
    leader: &MemberName,
    control: Option<&ControlData>,
) -> Option<Decision> {
    let upstream = s.upstream(leader)?;
    match s.memory.rewind {
        Rewind::Unsuspected | Rewind::Done => None,
        Rewind::ToCheck => to_check(s, leader, upstream, control),
        Rewind::Needed => needed(s, leader, upstream, control),
        Rewind::Failed => wipe(s, s.me.wipe_on_rewind_failure || s.me.wipe_on_divergence),
    }
}

/// What a standby that runs needs before it is trusted to follow this leader.
pub(super) fn running(s: &Snapshot, leader: &MemberName) -> Option<Decision> {
    let Server::Standby(database) = s.server() else {
        return None;
    };
    let theirs = s.leaders_timeline();
    let behind = database.timeline < theirs && s.memory.compared != theirs && theirs.is_some();
    let check = Job::CheckRewind(s.upstream(leader)?);
    let stops = match s.memory.rewind {
        Rewind::ToCheck => false,
        Rewind::Unsuspected if behind => false,
        Rewind::Unsuspected | Rewind::Done => return None,
        Rewind::Needed => is_usable(s) || may_wipe(s, s.me.wipe_on_divergence),
        Rewind::Failed => may_wipe(s, s.me.wipe_on_rewind_failure || s.me.wipe_on_divergence),
    };
    let unknown = matches!(s.memory.rewind, Rewind::ToCheck | Rewind::Unsuspected);
    if unknown {
        return (leads(s, leader) && s.may_begin(&check))
            .then(|| Decision::now(s, Action::Begin(check), Reason::Comparing(leader.clone())));
    }
    let stop = Job::Stop(Stop {
        immediate: false,
        checkpoint: false,
        deadline: None,
    });
    (stops && s.may_begin(&stop)).then(|| {
        Decision::now(
            s,
            Action::Begin(stop),
            Reason::StoppingToRewind(leader.clone()),
        )
    })
}

fn to_check(
    s: &Snapshot,
    leader: &MemberName,
    upstream: Upstream,
    control: Option<&ControlData>,
) -> Option<Decision> {
    let crashed = control.is_some_and(|control| !is_clean(control.state));
    if !leads(s, leader) {
        let Postmaster::Down { since } = s.postmaster else {
            return None;
        };
        let until = since.after(PATIENCE);
        let waits = crashed && is_usable(s) && s.now < until;
        return waits.then(|| rest(s, Reason::WaitingForPromotion(leader.clone())).by(until));
    }
    if crashed && is_usable(s) && !s.memory.recovered && !has_backup_label(s) {
        return Some(recover(s));
    }
    let check = Job::CheckRewind(upstream);
    s.may_begin(&check)
        .then(|| Decision::now(s, Action::Begin(check), Reason::Comparing(leader.clone())))
}

fn needed(
    s: &Snapshot,
    leader: &MemberName,
    upstream: Upstream,
    control: Option<&ControlData>,
) -> Option<Decision> {
    if !is_usable(s) {
        return wipe(s, s.me.wipe_on_divergence);
    }
    let unclean = control.is_some_and(|control| {
        !is_clean(control.state) || control.state == ControlState::InArchiveRecovery
    });
    if unclean && !s.memory.recovered {
        return Some(recover(s));
    }
    let unconfirmed = s
        .member(leader)
        .is_some_and(|it| it.checkpoint_after_promote == Some(false));
    if unconfirmed || !leads(s, leader) {
        let again = s.now.after(Duration::from_secs(1));
        return Some(rest(s, Reason::WaitingForCheckpoint(leader.clone())).by(again));
    }
    let rewind = Job::Rewind(upstream);
    s.may_begin(&rewind)
        .then(|| Decision::now(s, Action::Begin(rewind), Reason::Rewinding(leader.clone())))
}

fn recover(s: &Snapshot) -> Decision {
    Decision::now(
        s,
        Action::Begin(Job::CrashRecovery),
        Reason::SingleUserRecovery,
    )
}

/// Copies anew where the configuration says so, and only what is this cluster's (A5).
fn wipe(s: &Snapshot, told: bool) -> Option<Decision> {
    (may_wipe(s, told) && s.may_begin(&Job::Wipe))
        .then(|| Decision::now(s, Action::Begin(Job::Wipe), Reason::Reinitializing))
}

fn may_wipe(s: &Snapshot, told: bool) -> bool {
    told && s.is_own_data() == Some(true)
}

/// Whether pg_rewind can work: it is wanted, it is there, and the pages say what was changed.
fn is_usable(s: &Snapshot) -> bool {
    let pages = s
        .control
        .value()
        .is_none_or(|control| control.wal_log_hints || control.checksums);
    s.me.may_rewind && pages && s.is_own_data() == Some(true)
}

/// Whether the leader has finished its promotion, as far as its key says.
fn leads(s: &Snapshot, leader: &MemberName) -> bool {
    s.member(leader)
        .is_some_and(|member| member.role == Some(Role::Primary))
}

fn has_backup_label(s: &Snapshot) -> bool {
    matches!(
        s.data,
        DataDirectory::Present {
            backup_label: true,
            ..
        }
    )
}

/// Whether nothing has to be replayed before pg_rewind can work on it; a standby has to be asked for its place.
const fn is_clean(state: ControlState) -> bool {
    match state {
        ControlState::ShutDown
        | ControlState::ShutDownInRecovery
        | ControlState::InArchiveRecovery => true,
        ControlState::StartingUp
        | ControlState::ShuttingDown
        | ControlState::InCrashRecovery
        | ControlState::InProduction => false,
    }
}
