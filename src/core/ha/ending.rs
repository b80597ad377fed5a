//! The agent was told to end (contract 5.1, SIGTERM): PostgreSQL stops, the lock is let go, the lease is revoked;
//! in pause everything is left as it is.

use std::collections::BTreeSet;
use std::time::Duration;

use super::action::{Action, Decision, Job, JobOutcome, Stop, Write};
use super::memory::Bootstrap;
use super::reason::{Reason, Refusal};
use super::snapshot::Snapshot;
use super::standing::{Holder, Server};
use super::upkeep::{self, rest};
use super::{crash, dcs_lost, handover, switchover};
use crate::Lsn;

/// How long a leader that is down keeps its lock for somebody to get the end of its log.
const TO_CATCH_UP: Duration = Duration::from_secs(2);
const LOOK_CLOSELY: Duration = Duration::from_millis(20);

/// Decides once the agent was told to end.
pub(super) fn decide(s: &Snapshot) -> Option<Decision> {
    if !s.ending {
        return None;
    }
    Some(match s.job_in_flight() {
        Some(Job::Stop(_)) => stopping(s),
        Some(_) if s.job.as_ref().is_some_and(|flight| flight.cancelled) => rest(s, Reason::Ending),
        Some(_) => Decision::now(s, Action::Cancel, Reason::Ending),
        None if s.is_paused() || s.memory.bootstrap != Bootstrap::No => exit(s, 0),
        None if s.postmaster.is_up() => stop(s),
        None => stopped(s),
    })
}

/// A fast shutdown; where its lock cannot be renewed it ends before the lease does.
fn stop(s: &Snapshot) -> Decision {
    let failed = s.memory.ended.as_ref().is_some_and(|end| {
        matches!(end.job, Job::Stop(_)) && matches!(end.outcome, JobOutcome::Failed(_))
    });
    if failed {
        // The lock stays: PostgreSQL may still be writing.
        return exit(s, super::bootstrap::FAILED);
    }
    let silent = s.certain().is_some() && !s.reaches_etcd();
    let deadline = silent.then(|| s.stopped_by());
    let stop = Stop {
        immediate: false,
        checkpoint: false,
        deadline,
    };
    Decision::now(s, Action::Begin(Job::Stop(stop)), Reason::Ending)
}

/// It is on its way down: the lock is renewed, and let go as soon as somebody has everything.
fn stopping(s: &Snapshot) -> Decision {
    if let Some(decision) = upkeep::decide(s).or_else(|| dcs_lost::give_way(s)) {
        return decision;
    }
    if s.certain().is_some()
        && s.holder() == Holder::Me
        && let Some(checkpoint) = s.shutdown_checkpoint()
    {
        return hand_over(s, checkpoint).unwrap_or_else(|| closely(s));
    }
    closely(s)
}

/// It is gone: what is left are the keys.
fn stopped(s: &Snapshot) -> Decision {
    let release = Action::Release {
        optime: s.shutdown_checkpoint(),
    };
    if s.certain().is_some() && s.holder() == Holder::Me && s.untried(&release) {
        if let Some(decision) = s.shutdown_checkpoint().and_then(|end| hand_over(s, end)) {
            return decision;
        }
        let since = s.memory.ended.as_ref().map_or(s.now, |end| end.ended);
        let until = since.after(TO_CATCH_UP);
        let anybody = !handover::all_silent(s, &handover::candidates(s, None));
        if anybody && s.now < until && s.shutdown_checkpoint().is_some() {
            return upkeep::decide(s).unwrap_or_else(|| closely(s));
        }
        let down = matches!(s.server(), Server::Down(_));
        return down
            .then(|| crash::ends_orphans(s, Reason::Ending))
            .flatten()
            .or_else(|| withdraw(s, s.shutdown_checkpoint()))
            .unwrap_or_else(|| Decision::now(s, release, Reason::Ending));
    }
    // A lock that was let go a moment ago is no reason to wait; one that could not be is.
    let let_go = !s.refused.contains(&release);
    let revoke = s.lease.is_some() && s.untried(&Action::Revoke) && let_go;
    if revoke {
        return Decision::now(s, Action::Revoke, Reason::Ending);
    }
    exit(s, 0)
}

/// Lets go once somebody has the shutdown checkpoint; `None` while nobody has it.
fn hand_over(s: &Snapshot, checkpoint: Lsn) -> Option<Decision> {
    let release = Action::Release {
        optime: Some(checkpoint),
    };
    match switchover::received(s, checkpoint) {
        Some(true) if s.untried(&release) => Some(
            withdraw(s, Some(checkpoint))
                .unwrap_or_else(|| Decision::now(s, release, Reason::HandingOver)),
        ),
        Some(_) => None,
        None => {
            let all = handover::candidates(s, None);
            let unasked = handover::unasked(s, &all);
            Some(Decision::now(s, Action::Ask(unasked), Reason::AskingPeers))
        }
    }
}

/// Whoever a request names takes the lock without asking how far others are: where it does not have everything, the
/// request goes before the lock does.
fn withdraw(s: &Snapshot, checkpoint: Option<Lsn>) -> Option<Decision> {
    let heir = BTreeSet::from([s.request()?.candidate.clone()?]);
    if checkpoint.is_some_and(|checkpoint| handover::has_it_all(s, &heir, checkpoint)) {
        return None;
    }
    let clear = Action::Write(Write::ClearFailover(switchover::revision(s)));
    Some(if s.untried(&clear) {
        Decision::now(s, clear, Reason::Refused(Refusal::NobodyCaughtUp))
    } else {
        closely(s)
    })
}

fn closely(s: &Snapshot) -> Decision {
    rest(s, Reason::Ending).by(s.now.after(LOOK_CLOSELY))
}

fn exit(s: &Snapshot, code: u8) -> Decision {
    Decision::now(s, Action::Exit(code), Reason::Ended)
}
