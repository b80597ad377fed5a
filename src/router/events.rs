//! What changed, as lines in the log: one an event, the level saying who should read it.

use trunkline_core::StoreNumber;
use trunkline_core::route::change::{End, Event};
use trunkline_core::route::{Out, Place, Table, Verdict};

/// Writes the line of an event.
pub fn tell(cluster: &str, event: &Event, table: &Table) {
    match event {
        Event::Leader(Some(tenure)) if tenure.store == StoreNumber::REMEMBERED => {
            tracing::warn!(cluster, leader = %tenure.holder, "the leader as remembered: etcd has not answered yet");
        }
        Event::Leader(Some(tenure)) => {
            tracing::info!(cluster, leader = %tenure.holder, revision = %tenure.began, "the leader lock is held");
        }
        Event::Leader(None) => tracing::info!(cluster, "nobody holds the leader lock"),
        Event::Verdict {
            listener,
            verdict: Verdict::Route,
            targets,
            because,
        } => {
            let to: Vec<String> = targets
                .iter()
                .map(|target| target.member.to_string())
                .collect();
            let why = because
                .as_ref()
                .map(|because| format!(": {because}"))
                .unwrap_or_default();
            tracing::info!(cluster, listener, to = to.join(","), "routing{why}");
        }
        Event::Verdict {
            listener, verdict, ..
        } => {
            tracing::warn!(cluster, listener, "{verdict}");
        }
        // Who leads, who does not and who is not known yet is said by the lines above.
        Event::Place {
            place: Place::Out(Out::IsLeader | Out::NotLeader | Out::NotProven | Out::NotAskedYet),
            ..
        } => {}
        Event::Place {
            listener,
            member,
            place,
        } => {
            tracing::info!(cluster, listener, member = %member, "{place}");
        }
        Event::Alarm(alarm) => tracing::error!(cluster, "alarm: {alarm}"),
        Event::AlarmOver(alarm) => tracing::info!(cluster, "no longer: {alarm}"),
    }
    tracing::debug!(cluster, row = ?table.primary.row, "decided");
}

/// Writes the lines of sessions that were ended.
pub fn tell_ends(cluster: &str, ends: &[End], sessions: u64) {
    for end in ends {
        tracing::info!(
            cluster,
            listener = end.listener,
            member = %end.target.member,
            address = %end.target.address,
            "sessions end: {}",
            end.because
        );
    }
    if sessions > 0 {
        tracing::warn!(
            cluster,
            sessions,
            "ended sessions whose target may no longer serve them"
        );
    }
}
