//! PostgreSQL is down and nobody told it to be, or it has not been started yet (contract 5.9).

use std::time::Duration;

use super::action::{Action, Decision, Job, JobOutcome, Mode, Stop};
use super::bootstrap::release;
use super::diverged;
use super::handover::{self, Takers};
use super::reason::Reason;
use super::snapshot::Snapshot;
use super::upkeep::rest;
use crate::postgres::{ControlData, ControlState, DataDirectory, Database, Upstream};
use crate::{MemberName, Observed};

/// The fastest one process replays a log, in bytes a second: what takes longer than a start may take at this rate
/// takes longer at any.
const FASTEST_REPLAY: u64 = 400 * 1024 * 1024;
/// A leader that let go waits so long for its successor before it starts on its own.
const SUCCESSION: Duration = Duration::from_secs(5);
/// An ordinary standby takes connections sooner than this after it was started.
const SOON: Duration = Duration::from_secs(5);

/// With the lock: it is restarted at once, or the lock is given to somebody who is faster.
pub(super) fn leader(s: &Snapshot, control: Option<&ControlData>) -> Decision {
    if failed_to_start(s) {
        return release(s, Reason::StartFailed);
    }
    if s.memory.giving_up {
        return release(s, Reason::StartTimeout);
    }
    let DataDirectory::Present {
        signal,
        backup_label,
        ..
    } = s.data
    else {
        return rest(s, Reason::NotRunning);
    };
    let led = !signal && !backup_label && control.is_some_and(|control| was_primary(control.state));
    if s.me.primary_start_timeout.is_zero() || (led && is_in_vain(s, control)) {
        match handover::takers(s) {
            Takers::Ask(whom) => return Decision::now(s, Action::Ask(whom), Reason::AskingPeers),
            Takers::Some => {
                return ends_orphans(s, Reason::FailingOver)
                    .unwrap_or_else(|| release(s, Reason::FailingOver));
            }
            Takers::None => {}
        }
    }
    // Without word from etcd this long, a primary would have to stop again at once.
    if s.certain().is_some_and(|held| s.now >= held.demote_at()) {
        let start = as_standby(s, None);
        return Decision::now(s, Action::Begin(start), Reason::StartingReadOnly);
    }
    if led {
        let start = Job::Start(
            Mode::Primary,
            s.me.primary_start_timeout.max(s.me.start_timeout),
        );
        return Decision::now(s, Action::Begin(start), Reason::RestartingPrimary);
    }
    // Nobody leads whom it could wait for: if it dies on the way, that has to be seen as a start that failed.
    let start = Job::Start(Mode::Standby(None), s.me.start_timeout);
    Decision::now(s, Action::Begin(start), Reason::StartingWithLock)
}

/// Starts a standby of `upstream`, or of nobody. However long it recovers, it is soon looked after again: it may wait for
/// what only the next leader has.
pub(super) fn as_standby(s: &Snapshot, upstream: Option<Upstream>) -> Job {
    Job::Start(Mode::Standby(upstream), s.me.start_timeout.min(SOON))
}

/// What a postmaster that ended by itself left behind may go on acknowledging writes of whoever does not wait for each
/// answer: it is ended before the lock is let go (A1). `None` where nothing can be left.
pub(super) fn ends_orphans(s: &Snapshot, reason: Reason) -> Option<Decision> {
    let clean = s.control.value().is_some_and(|control| {
        matches!(
            control.state,
            ControlState::ShutDown | ControlState::ShutDownInRecovery
        )
    });
    let ended = s.memory.ended.as_ref().is_some_and(|end| {
        let began = !s.memory.ran && s.memory.crashed.is_none_or(|at| end.began >= at);
        began && matches!(end.job, Job::Stop(_)) && end.outcome == JobOutcome::Done
    });
    if clean || ended {
        return None;
    }
    let stop = Job::Stop(Stop::at_once(s.now));
    Some(if s.may_begin(&stop) {
        Decision::now(s, Action::Begin(stop), reason)
    } else {
        rest(s, reason)
    })
}

/// Without it: what diverged is mended, then it is started as a standby.
pub(super) fn follower(s: &Snapshot, leader: Option<&MemberName>) -> Decision {
    let upstream = match leader {
        Some(leader) => s.to_follow(leader),
        None => s.followed(),
    };
    let start = as_standby(s, upstream);
    if let Some(again) = s.backs_off(&start).filter(|again| s.now < *again) {
        return rest(s, Reason::FailedToStart).by(again);
    }
    let mended = leader.and_then(|leader| diverged::down(s, leader, s.control.value()));
    if let Some(decision) = mended {
        return decision;
    }
    if leader.is_none() {
        let until = s.memory.let_go.map(|(_, at)| at.after(SUCCESSION));
        if let Some(until) = until.filter(|until| s.now < *until) {
            return rest(s, Reason::WaitingForSuccessor).by(until);
        }
    }
    Decision::now(s, Action::Begin(start), Reason::StartingSecondary)
}

/// Whether the last thing that was tried was to start it, and that failed.
fn failed_to_start(s: &Snapshot) -> bool {
    s.memory.ended.as_ref().is_some_and(|end| {
        matches!(end.job, Job::Start(_, _)) && matches!(end.outcome, JobOutcome::Failed(_))
    })
}

/// Whether replaying what was written since the last checkpoint takes longer than a start may take, however fast
/// this machine is: then waiting for it is in vain, and whoever can take over does so now instead of then.
fn is_in_vain(s: &Snapshot, control: Option<&ControlData>) -> bool {
    let written = match &s.database {
        Observed::Fresh { value, .. } | Observed::Stale { value, .. } => Database::position(value),
        Observed::Unknown { .. } => None,
    };
    let (Some(written), Some(control)) = (written, control) else {
        return false;
    };
    let least = Duration::from_secs(written.ahead_of(control.checkpoint) / FASTEST_REPLAY);
    least > s.me.primary_start_timeout
}

const fn was_primary(state: ControlState) -> bool {
    match state {
        ControlState::InProduction
        | ControlState::InCrashRecovery
        | ControlState::ShuttingDown
        | ControlState::ShutDown => true,
        ControlState::StartingUp
        | ControlState::ShutDownInRecovery
        | ControlState::InArchiveRecovery => false,
    }
}
