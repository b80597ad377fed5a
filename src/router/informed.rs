//! What the service manager is told while the router runs: a sign of life, and in one line how things stand.
//!
//! The sign of life is control's: as long as every cluster was looked at lately, the router does its job.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::sleep;
use trunkline_core::Moment;
use trunkline_io::clock;
use trunkline_io::shutdown::Tasks;
use trunkline_io::systemd::{self, Manager, Word};

use crate::admin::Shown;
use crate::control::Running;

/// How often the status may change.
const TICK: Duration = Duration::from_secs(1);

/// Tells the manager, until the program ends.
pub(crate) async fn keep(manager: Manager, shown: Arc<ArcSwap<Shown>>, tasks: Tasks) {
    let patience = systemd::watchdog();
    let tick = patience.map_or(TICK, |patience| TICK.min(patience / 4));
    let mut told = String::new();
    loop {
        tokio::select! {
            () = tasks.ending().cancelled() => return,
            () = sleep(tick) => {}
        }
        let shown = shown.load_full();
        let status = status(&shown, tasks.draining().is_cancelled());
        match patience {
            Some(patience) if are_young(looks(&shown), patience, clock::now()) => {
                manager.tell(Word::Alive, &status).await;
            }
            Some(_) | None if status != told => manager.tell(Word::Status, &status).await,
            Some(_) | None => {}
        }
        told = status;
    }
}

/// When each cluster was last decided on.
fn looks(shown: &Shown) -> impl Iterator<Item = Moment> {
    let looked = |running: &Running| running.board.current().at;
    shown.clusters.iter().map(looked)
}

/// Whether all of them are within half of the manager's patience: control looks once a second at least.
fn are_young(mut looks: impl Iterator<Item = Moment>, patience: Duration, now: Moment) -> bool {
    looks.all(|looked| now.since(looked) < patience / 2)
}

/// How things stand, in one line.
pub(crate) fn status(shown: &Shown, is_draining: bool) -> String {
    let mut parts: Vec<String> = shown.clusters.iter().map(of_cluster).collect();
    if is_draining {
        parts.insert(0, "draining".to_owned());
    }
    if shown.configuration.refused.is_some() {
        parts.push("the last configuration was refused, the one before it is in force".to_owned());
    }
    parts.join("; ")
}

fn of_cluster(running: &Running) -> String {
    let snapshot = running.board.current();
    let (name, primary) = (&running.cluster.name, &snapshot.table.primary);
    match &primary.member {
        Some(member) if primary.routes() => format!("{name}: primary {member}"),
        Some(_) | None => format!("{name}: no primary: {}", primary.because()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cluster_that_is_not_decided_on_any_more_is_no_sign_of_life() {
        let now = Moment::from_boot(Duration::from_secs(1_000));
        let ago = |seconds| now.before(Duration::from_secs(seconds));
        let alive =
            |looks: &[Moment]| are_young(looks.iter().copied(), Duration::from_secs(30), now);
        assert!(alive(&[ago(0), ago(14)]));
        assert!(!alive(&[ago(0), ago(15)]));
    }
}
