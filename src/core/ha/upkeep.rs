//! What every cycle sees to before anything else: the lease, the lock, and the keys this member writes.
//!
//! One thing a step, each only if it is due; what etcd refused or did not answer is not tried again in the cycle.

use std::time::Duration;

use super::action::{Action, Decision, Job, Write};
use super::reason::{Key as Of, Reason};
use super::snapshot::Snapshot;
use super::standing::{Holder, Server};
use super::{dcs_lost, history, member, switchover};
use crate::cluster::{ClusterView, Initialize};
use crate::keys::Key;
use crate::lease::{Renewal, stop_budget};
use crate::wire::failsafe::Failsafe;
use crate::wire::status::Status;
use crate::{Lsn, Moment, slots};

/// The shortest time between two cycles that nothing happened in.
const LEAST_WAIT: Duration = Duration::from_millis(10);
/// While etcd is silent a leader asks it so often.
const KNOCK: Duration = Duration::from_millis(500);
/// A renewal that begins after the moment to demote gets so long.
const LAST_TRY: Duration = Duration::from_millis(200);

/// What is due, if anything is.
pub(super) fn decide(s: &Snapshot) -> Option<Decision> {
    // Nothing but the lock itself takes time from a primary that is about to stop.
    let others = || {
        (!dcs_lost::is_overdue(s))
            .then(|| lease(s).or_else(|| keys(s)))
            .flatten()
    };
    lock(s).or_else(others)
}

/// The cycle is over; the next one is when a wait is, or earlier where the lock or a retry wants it.
pub(super) fn rest(s: &Snapshot, reason: Reason) -> Decision {
    let wait = s.config().loop_wait;
    let decision = Decision {
        action: Action::Rest,
        reason,
        look_again: s.now.after(wait),
    };
    let decision = decision.by(switchover::due_at(s).unwrap_or(Moment::NEVER));
    let Some(held) = s.certain() else {
        let knocks = !s.reaches_etcd() || s.holder() == Holder::Nobody;
        let soon = if knocks {
            s.now.after(Duration::from_secs(1))
        } else {
            Moment::NEVER
        };
        return decision.by(soon);
    };
    let unconfirmed = matches!(s.renewal, Some(Renewal::Unreachable(_)));
    let next = if unconfirmed {
        s.now.after(KNOCK)
    } else {
        held.confirmed.after(wait)
    };
    let demotes = Some(held.demote_at()).filter(|at| *at > s.now);
    let next = next
        .min(demotes.unwrap_or(Moment::NEVER))
        .max(s.now.after(LEAST_WAIT));
    decision.by(next)
}

/// The lock of a leader.
fn lock(s: &Snapshot) -> Option<Decision> {
    if s.holder() != Holder::Me || s.renewal.is_some() {
        return None;
    }
    let Some(held) = s.certain() else {
        // The view says so, this process has not proven it: an earlier run of the agent took it.
        let by = s.now.after(s.config().retry_timeout);
        return Some(Decision::now(
            s,
            Action::Renew { by },
            Reason::ProvingTheLock,
        ));
    };
    let due = s.now.since(held.confirmed) >= s.pace() || !s.view_agrees(&held) || lease_is_wrong(s);
    if !due {
        return None;
    }
    // After the moment to demote there is time for one quick question, and only while half the time to stop is left.
    let latest = held.ends().before(stop_budget(held.granted) / 2 + LAST_TRY);
    let patience = (s.config().retry_timeout / 3).max(Duration::from_secs(1));
    let by = s
        .now
        .after(patience)
        .min(held.demote_at())
        .max(s.now.after(LAST_TRY));
    (s.now < latest).then(|| Decision::now(s, Action::Renew { by }, Reason::RenewingTheLock))
}

/// The lease of everybody: what the member key hangs on.
fn lease(s: &Snapshot) -> Option<Decision> {
    let renewed = matches!(s.renewal, Some(Renewal::Confirmed(..)));
    let due = lease_is_wrong(s)
        || s.lease
            .is_some_and(|lease| s.now.since(lease.confirmed) >= s.pace() && !renewed);
    let asks = due && s.holder() != Holder::Me && s.untried(&Action::KeepLease);
    asks.then(|| Decision::now(s, Action::KeepLease, Reason::KeepingTheLease))
}

/// There is no lease, it may have ended, or it is not of the time to live that is wanted.
fn lease_is_wrong(s: &Snapshot) -> bool {
    let ttl = s.view.value().map(|view| view.config.ttl);
    s.lease
        .is_none_or(|lease| s.now >= lease.ends() || ttl.is_some_and(|ttl| lease.wanted != ttl))
}

/// The keys this member writes.
fn keys(s: &Snapshot) -> Option<Decision> {
    let view = s.fresh()?;
    let leads = s.certain().is_some() && s.holder() == Holder::Me;
    let of_a_leader = || {
        initialize(s, view)
            .or_else(|| config(s, view))
            .or_else(|| failsafe(s, view))
            .or_else(|| status(s, view))
            .or_else(|| history::due(s, view))
    };
    let due = member::due(s, view).or_else(|| leads.then(of_a_leader).flatten());
    due.map(|(write, of)| Decision::now(s, Action::Write(write), Reason::Writing(of)))
}

/// A write that is due, and of what; `None` where it was tried.
pub(super) type Due = Option<(Write, Of)>;

/// The write, unless it was refused or left unanswered in this cycle.
pub(super) fn unless_tried(s: &Snapshot, write: Write, of: Of) -> Due {
    let kind = std::mem::discriminant(&write);
    let tried = |action: &Action| match action {
        Action::Write(other) => std::mem::discriminant(other) == kind,
        Action::Rest
        | Action::KeepLease
        | Action::Renew { .. }
        | Action::Acquire
        | Action::Release { .. }
        | Action::Revoke
        | Action::Ask(_)
        | Action::Begin(_)
        | Action::Cancel
        | Action::Exit(_) => false,
    };
    let again = s.memory.did_just_now(&Action::Write(write.clone()), s.now);
    (!again && !s.refused.iter().any(tried)).then_some((write, of))
}

/// A cluster without its system identifier gets the leader's.
fn initialize(s: &Snapshot, view: &ClusterView) -> Due {
    let system_id = s.system_id.clone()?;
    let missing = !matches!(view.initialize, Initialize::Done(_));
    let seen = view
        .written
        .get(&Key::Initialize)
        .map(|written| written.modified);
    missing
        .then(|| unless_tried(s, Write::Initialize(system_id, seen), Of::Initialize))
        .flatten()
}

/// A configuration that is missing or makes no sense is put back.
fn config(s: &Snapshot, view: &ClusterView) -> Due {
    let seen = view
        .written
        .get(&Key::Config)
        .map(|written| written.modified);
    let repair = seen.is_none() || view.config_unreadable;
    let text = s.me.initial_config.clone();
    repair
        .then(|| unless_tried(s, Write::Config(text, seen), Of::Config))
        .flatten()
}

/// Whom a leader of Patroni's would have to reach without etcd.
fn failsafe(s: &Snapshot, view: &ClusterView) -> Due {
    if !view.config.failsafe_mode {
        return None;
    }
    let api = |member: &crate::wire::member::Member| member.api.as_ref().map(ToString::to_string);
    let all = view
        .members
        .iter()
        .filter_map(|(name, member)| Some((name.clone(), api(member)?)));
    let wanted = Failsafe(all.collect());
    let differs = view.failsafe.as_ref() != Some(&wanted);
    differs
        .then(|| unless_tried(s, Write::Failsafe(wanted.to_json()), Of::Failsafe))
        .flatten()
}

/// The leader's position and slots: at once where slots come or go, else at the pace.
fn status(s: &Snapshot, view: &ClusterView) -> Due {
    let Server::Primary(database) = s.server() else {
        return None;
    };
    let position = database.position()?;
    let names = SlotNames::of(s);
    let wanted = slots::status(&names.node(s, view, &database.slots, position, true));
    let shape = |status: &Status| {
        (
            status.slots.keys().cloned().collect::<Vec<_>>(),
            status.retain_slots.clone(),
        )
    };
    let due = s
        .memory
        .told
        .is_none_or(|told| s.now.since(told) >= s.pace());
    let changed = shape(&wanted) != shape(&view.status) || (due && wanted != view.status);
    if changed {
        return unless_tried(s, Write::Status(wanted.to_json()), Of::Status);
    }
    optime(s, view, position)
}

/// Members older than 2.1 read the position from a key of its own.
fn optime(s: &Snapshot, view: &ClusterView, position: Lsn) -> Due {
    let old = view.members.values().any(|member| {
        member
            .version
            .as_deref()
            .and_then(version)
            .is_some_and(|version| version < [2, 1, 0])
    });
    let due = s
        .memory
        .told_old
        .is_none_or(|told| s.now.since(told) >= s.pace());
    (old && due)
        .then(|| {
            unless_tried(
                s,
                Write::OptimeLeader(position.0.to_string()),
                Of::OptimeLeader,
            )
        })
        .flatten()
}

/// `4.1.5` as numbers; `None` for anything else.
fn version(text: &str) -> Option<[u32; 3]> {
    let mut numbers = text.split('.').map(|part| part.parse().ok());
    let version = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(version)
}

/// The slots of members as they are remembered.
pub(super) struct SlotNames {
    remembered: std::collections::BTreeSet<String>,
    known: std::collections::BTreeSet<String>,
}

impl SlotNames {
    pub(super) fn of(s: &Snapshot) -> Self {
        let ttl = s.me.member_slots_ttl;
        let recent = s
            .memory
            .slots
            .iter()
            .filter(|(_, seen)| s.now.since(**seen) <= ttl);
        Self {
            remembered: recent.map(|(name, _)| name.clone()).collect(),
            known: s.memory.slots.keys().cloned().collect(),
        }
    }

    /// What the slots here are decided from.
    pub(super) fn node<'a>(
        &'a self,
        s: &'a Snapshot,
        view: &'a ClusterView,
        slots: &'a [crate::postgres::Slot],
        position: Lsn,
        leads: bool,
    ) -> slots::Node<'a> {
        slots::Node {
            me: &s.me.name,
            view,
            slots,
            position,
            leads,
            everywhere: !s.me.member_slots_ttl.is_zero(),
            nofailover: s.me.tags.nofailover(),
            remembered: &self.remembered,
            known: &self.known,
        }
    }
}

/// The slots that have to change here, as a job.
pub(super) fn slots(s: &Snapshot) -> Option<Job> {
    if !s.me.use_slots {
        return None;
    }
    let view = s.fresh()?;
    let (database, leads) = match s.server() {
        Server::Primary(database) => (database, true),
        Server::Standby(database) => (database, false),
        Server::Empty
        | Server::Unusable(_)
        | Server::Down(_)
        | Server::Starting
        | Server::ShuttingDown
        | Server::Silent(_) => return None,
    };
    let position = if leads {
        database.flushed
    } else {
        database.replayed
    };
    let names = SlotNames::of(s);
    let mut changes = slots::changes(&names.node(
        s,
        view,
        &database.slots,
        position.unwrap_or_default(),
        leads,
    ));
    if s.is_paused() {
        changes.retain(|change| !matches!(change, slots::SlotChange::Drop(_)));
    }
    let job = Job::Slots(changes);
    let any = !matches!(&job, Job::Slots(changes) if changes.is_empty());
    (any && s.may_begin(&job)).then_some(job)
}
