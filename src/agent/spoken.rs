//! What goes to the log: a decision when it is another one than before, and once a `loop_wait` in any case; jobs when they
//! begin and when they end. The sentences are core's, and among them those that tools grep.

use std::time::Duration;

use trunkline_core::Moment;
use trunkline_core::ha::{Action, Decision, JobEnd, JobOutcome, Snapshot};
use trunkline_io::logging::CRITICAL;

/// What was said last.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    sentence: String,
    at: Moment,
}

impl Spoken {
    /// A step was decided.
    pub(crate) fn decided(&mut self, snapshot: &Snapshot, decision: &Decision) {
        // Patroni's mark, which tools grep (contract 5.3).
        let mark = if snapshot.is_paused() { "PAUSE: " } else { "" };
        let sentence = format!("{mark}{}", decision.reason);
        match &decision.action {
            Action::Begin(job) if job.is_routine() => tracing::debug!("{sentence} ({job})"),
            Action::Begin(job) => tracing::info!("{sentence} ({job})"),
            Action::Exit(code) if *code != 0 => tracing::error!(target: CRITICAL, "{sentence}"),
            Action::Acquire | Action::Release { .. } | Action::Exit(_) => {
                tracing::info!("{sentence}");
            }
            Action::Revoke => tracing::info!("revoking the lease: {sentence}"),
            Action::Cancel => tracing::info!("giving up the job in progress: {sentence}"),
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
        let (job, took) = (&end.job, end.ended.since(end.began).as_secs_f64());
        match &end.outcome {
            JobOutcome::Failed(words) => tracing::error!("{job} failed after {took:.1} s: {words}"),
            JobOutcome::Done if job.is_routine() => tracing::debug!("{job}: done"),
            JobOutcome::Done => tracing::info!("{job}: done after {took:.1} s"),
            JobOutcome::Made(made) => tracing::info!(
                "{job}: done after {took:.1} s, system identifier {}",
                made.system_id
            ),
            JobOutcome::RewindNeeded(true) => tracing::warn!("{job}: pg_rewind is needed"),
            JobOutcome::RewindNeeded(false) => tracing::info!("{job}: pg_rewind is not needed"),
            JobOutcome::StillStarting => tracing::warn!("{job}: not finished after {took:.1} s"),
            JobOutcome::Cancelled => tracing::info!("{job}: given up after {took:.1} s"),
        }
    }
}
