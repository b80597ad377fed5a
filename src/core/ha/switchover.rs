//! A leader that is asked to hand over: it loses nothing, or it does not happen (contract 5.7, A4).
//!
//! Before PostgreSQL is touched somebody streams and could be promoted. After its shutdown the lock is let go once
//! somebody has the shutdown checkpoint, which is the last record there is; if nobody gets it, the lead is taken back.

use std::collections::BTreeSet;
use std::time::Duration;

use super::action::{Action, Decision, Job, Mode, Stop, Write};
use super::handover;
use super::memory::Switchover;
use super::reason::{Reason, Refusal};
use super::snapshot::Snapshot;
use super::standing::{Holder, Server};
use super::upkeep::rest;
use crate::keys::Key;
use crate::postgres::Database;
use crate::wire::failover::Failover;
use crate::{Lsn, MemberName, Moment};

/// How long a candidate has to stream.
const TO_STREAM: Duration = Duration::from_secs(10);
/// How long a candidate has to get the shutdown checkpoint; and while nobody even answers.
const TO_CATCH_UP: Duration = Duration::from_secs(5);
const TO_ANSWER: Duration = Duration::from_secs(2);
/// How often it is looked while a candidate is waited for, and while everybody waits for the handover.
const LOOK: Duration = Duration::from_millis(100);
const LOOK_CLOSELY: Duration = Duration::from_millis(20);

/// Decides while a switchover is asked for or under way; `None` where none is.
pub(super) fn decide(s: &Snapshot) -> Option<Decision> {
    if s.holder() != Holder::Me || s.certain().is_none() {
        return None;
    }
    // Data that is not, or may not be, this cluster's is nothing to go on with (A5).
    let unknown = s.system_id.is_none() && matches!(s.server(), Server::Down(_));
    if unknown || s.is_own_data() == Some(false) {
        return None;
    }
    match &s.memory.switchover {
        Some(it) if it.stopping => Some(hand_over(s, it)),
        Some(_) | None => asked_for(s, s.request()?),
    }
}

/// It was asked for: whether it can be done.
fn asked_for(s: &Snapshot, request: &Failover) -> Option<Decision> {
    let Server::Primary(database) = s.server() else {
        return None;
    };
    if let Some(refusal) = makes_no_sense(s, request) {
        return refuse(s, refusal);
    }
    if !s.is_due(request) {
        return None;
    }
    match s.job_in_flight() {
        Some(Job::Checkpoint) if s.job.as_ref().is_some_and(|flight| !flight.cancelled) => {
            return Some(Decision::now(
                s,
                Action::Cancel,
                Reason::MakingWay((&Job::Checkpoint).into()),
            ));
        }
        Some(_) => return None,
        None => {}
    }
    let since = s.memory.switchover.as_ref().map_or(s.now, |it| it.since);
    let all = handover::candidates(s, request.candidate.as_ref());
    if all.is_empty() {
        return refuse(s, Refusal::NoCandidate);
    }
    let until = since.after(TO_STREAM);
    let streams = |name: &&MemberName| streams(s, database, name);
    let streaming: BTreeSet<MemberName> = all.iter().filter(streams).cloned().collect();
    let asked = if streaming.is_empty() {
        &all
    } else {
        &streaming
    };
    let able =
        |name: &MemberName| handover::answer(s, name).is_some_and(|it| handover::is_able(s, it));
    if streaming.iter().any(able) {
        let stop = Stop {
            immediate: false,
            checkpoint: true,
            deadline: None,
        };
        let reason = Reason::demoting_for(request);
        return Some(Decision::now(s, Action::Begin(Job::Stop(stop)), reason));
    }
    let unasked = handover::unasked(s, asked);
    if !unasked.is_empty() {
        return Some(Decision::now(s, Action::Ask(unasked), Reason::AskingPeers));
    }
    if s.now < until {
        return Some(rest(s, Reason::WaitingForCandidate).by(s.now.after(LOOK).min(until)));
    }
    refuse(
        s,
        if streaming.is_empty() {
            Refusal::NotStreaming
        } else {
            Refusal::NotPromotable
        },
    )
}

/// What no waiting mends.
fn makes_no_sense(s: &Snapshot, request: &Failover) -> Option<Refusal> {
    if request
        .leader
        .as_ref()
        .is_some_and(|leader| *leader != s.me.name)
    {
        return Some(Refusal::OtherLeader);
    }
    if request.candidate.as_ref() == Some(&s.me.name) {
        return Some(Refusal::Already);
    }
    if s.is_paused() {
        return Some(Refusal::Paused);
    }
    let late = request
        .scheduled_at
        .map(|at| s.wall.duration_since(at).as_secs());
    let most = s.config().loop_wait.mul_f32(1.5).as_secs();
    let stale = late.is_some_and(|late| u64::try_from(late).is_ok_and(|late| late > most));
    (stale && s.memory.switchover.is_none()).then_some(Refusal::Stale)
}

/// Whether a member gets the log as it is written: this primary says so, or the member does.
fn streams(s: &Snapshot, database: &Database, name: &MemberName) -> bool {
    let here = database
        .standbys
        .iter()
        .any(|sender| sender.application == name.as_str() && sender.state == "streaming");
    here || handover::answer(s, name).is_some_and(|document| {
        document.replication_state.as_deref() == Some("streaming")
            && document.timeline.is_some()
            && document.timeline == database.timeline
    })
}

/// Clears the request: it is not done. `None` once that was tried in this cycle.
fn refuse(s: &Snapshot, refusal: Refusal) -> Option<Decision> {
    let clear = Action::Write(Write::ClearFailover(revision(s)));
    s.untried(&clear)
        .then(|| Decision::now(s, clear, Reason::Refused(refusal)))
}

pub(super) fn revision(s: &Snapshot) -> Option<crate::Revision> {
    s.fresh()?
        .written
        .get(&Key::Failover)
        .map(|written| written.modified)
}

/// PostgreSQL was told to stop for it.
fn hand_over(s: &Snapshot, it: &Switchover) -> Decision {
    if it.taking_back {
        return take_back(s);
    }
    let Some((checkpoint, since)) = s
        .shutdown_checkpoint()
        .map(|end| (end, it.shut_down.map_or(s.now, |(_, since)| since)))
    else {
        return stopping(s);
    };
    // The request may name somebody else by now, who would take the lock whatever he has.
    let candidate = match s.request() {
        Some(request) => request.candidate.as_ref(),
        None => it.candidate.as_ref(),
    };
    let all = handover::candidates(s, candidate);
    let release = Action::Release {
        optime: Some(checkpoint),
    };
    if handover::has_it_all(s, &all, checkpoint) {
        return if s.untried(&release) {
            Decision::now(s, release, Reason::HandingOver)
        } else {
            closely(s)
        };
    }
    let unasked = handover::unasked(s, &all);
    if !unasked.is_empty() {
        return Decision::now(s, Action::Ask(unasked), Reason::AskingPeers);
    }
    let silent = handover::all_silent(s, &all);
    if s.now >= since.after(if silent { TO_ANSWER } else { TO_CATCH_UP }) {
        return take_back(s);
    }
    closely(s)
}

/// It is on its way down, or it did not go.
fn stopping(s: &Snapshot) -> Decision {
    match (&s.job, s.server()) {
        (Some(_), _) => closely(s),
        (None, Server::Starting | Server::ShuttingDown | Server::Silent(_)) => closely(s),
        (
            None,
            Server::Empty
            | Server::Unusable(_)
            | Server::Down(_)
            | Server::Primary(_)
            | Server::Standby(_),
        ) => take_back(s),
    }
}

fn closely(s: &Snapshot) -> Decision {
    rest(s, Reason::Switchover).by(s.now.after(LOOK_CLOSELY))
}

/// Nobody has what was written last: this member goes on as the leader.
fn take_back(s: &Snapshot) -> Decision {
    let clear = Action::Write(Write::ClearFailover(revision(s)));
    if s.request().is_some() && s.untried(&clear) {
        return Decision::now(s, clear, Reason::Refused(Refusal::NobodyCaughtUp));
    }
    // Without word from etcd this long, a primary would have to stop again at once.
    if s.certain().is_some_and(|held| s.now >= held.demote_at()) {
        return rest(s, Reason::EtcdSilent);
    }
    let start = Job::Start(
        Mode::Primary,
        s.me.primary_start_timeout.max(s.me.start_timeout),
    );
    match (&s.job, s.server()) {
        (None, Server::Down(_)) if s.may_begin(&start) => {
            Decision::now(s, Action::Begin(start), Reason::TakingBack)
        }
        (None, Server::Down(_)) => super::bootstrap::release(s, Reason::StartFailed),
        (
            _,
            Server::Empty
            | Server::Unusable(_)
            | Server::Down(_)
            | Server::Starting
            | Server::Primary(_)
            | Server::Standby(_)
            | Server::ShuttingDown
            | Server::Silent(_),
        ) => rest(s, Reason::TakingBack),
    }
}

/// When a scheduled request is due, on the agent's own clock.
pub(super) fn due_at(s: &Snapshot) -> Option<Moment> {
    let at = s.request()?.scheduled_at.filter(|at| *at > s.wall)?;
    let left = Duration::try_from(at.duration_since(s.wall)).ok()?;
    Some(s.now.after(left))
}

/// The end of the log of a leader that is shut down, for whoever has to have it.
pub(super) fn received(s: &Snapshot, checkpoint: Lsn) -> Option<bool> {
    let all = handover::candidates(s, None);
    if handover::has_it_all(s, &all, checkpoint) {
        return Some(true);
    }
    handover::unasked(s, &all).is_empty().then_some(false)
}
