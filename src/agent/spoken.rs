//! What goes to the log: a decision when it is another one than before, and once a `loop_wait` in any case; the sentences that tools
//! grep are core's.

use std::time::Duration;

use trunkline_core::Moment;
use trunkline_core::ha::{Action, Decision, JobEnd, JobOutcome, Snapshot};

/// What was said last.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    sentence: String,
    at: Moment,
}

impl Spoken {
    /// A step was decided.
    pub(crate) fn decided(&mut self, snapshot: &Snapshot, decision: &Decision) {
        let sentence = decision.reason.to_string();
        match &decision.action {
            Action::Begin(job) => tracing::info!("{sentence} ({job:?})"),
            Action::Acquire
            | Action::Release { .. }
            | Action::Revoke
            | Action::Cancel
            | Action::Exit(_) => tracing::info!("{sentence} ({:?})", decision.action),
            Action::KeepLease | Action::Renew { .. } | Action::Write(_) | Action::Ask(_) => {
                tracing::debug!("{sentence} ({:?})", decision.action);
            }
            Action::Rest => self.rests(snapshot, sentence),
        }
    }

    fn rests(&mut self, snapshot: &Snapshot, sentence: String) {
        let again = snapshot.config().loop_wait.max(Duration::from_secs(1));
        if sentence == self.sentence && snapshot.now.since(self.at) < again {
            tracing::debug!("{sentence}");
            return;
        }
        tracing::info!("{sentence}");
        self.sentence = sentence;
        self.at = snapshot.now;
    }

    /// A job ended.
    pub(crate) fn ended(&mut self, end: &JobEnd) {
        let took = end.ended.since(end.began);
        match &end.outcome {
            JobOutcome::Failed(words) => {
                tracing::error!("{:?} failed after {took:.1?}: {words}", end.job);
            }
            outcome @ (JobOutcome::Done
            | JobOutcome::Made(_)
            | JobOutcome::RewindNeeded(_)
            | JobOutcome::StillStarting
            | JobOutcome::Cancelled) => {
                tracing::info!("{:?}: {outcome:?} after {took:.1?}", end.job);
            }
        }
    }
}
