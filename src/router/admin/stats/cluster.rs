//! A cluster's part of the document: who leads, what was decided, how etcd answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, Unit};
use trunkline_core::config::router::Cluster;
use trunkline_core::proof::P1_LIVE;
use trunkline_core::{MemberName, Moment, Observed};
use trunkline_io::clock;

use super::{
    ClusterStats, ConfigurationStats, DecisionStats, EtcdStats, ListenerStats, Stats, Tally, member,
};
use crate::admin::{Admin, Configuration};
use crate::door::{Count, Door};
use crate::published::Snapshot;

/// The moment a document is made, on both clocks: everything in it is told as of now.
#[derive(Clone, Copy, Debug)]
pub(in crate::admin) struct AsOf {
    pub(in crate::admin) now: Moment,
    wall: Timestamp,
}

impl AsOf {
    /// This moment.
    pub(in crate::admin) fn now() -> Self {
        Self {
            now: clock::now(),
            wall: clock::wall(),
        }
    }

    /// A moment as people write it: the one place where the two clocks meet.
    fn at(&self, moment: Moment) -> String {
        // A moment before the calendar begins cannot have been seen: it is told as now.
        let at = self.wall.checked_sub(self.now.since(moment));
        let at = at.unwrap_or(self.wall);
        at.round(Unit::Second).unwrap_or(at).to_string()
    }

    /// How long ago a moment was.
    pub(super) fn age(&self, moment: Moment) -> f64 {
        seconds(self.now.since(moment))
    }

    /// How long it takes until a moment comes; negative where it has passed.
    fn until(&self, moment: Moment) -> f64 {
        seconds(moment.since(self.now)) - self.age(moment)
    }
}

/// Seconds to the millisecond: more digits would promise more than is known.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

impl Stats {
    /// Everything, as of now.
    pub(in crate::admin) fn of(admin: &Admin) -> Self {
        let as_of = AsOf::now();
        let shown = admin.shown();
        let tallies = tallies(&shown.counts);
        let clusters = shown.clusters.iter().map(|running| {
            let snapshot = running.board.current();
            let (cluster, doors) = (&running.cluster, &shown.doors);
            let mut stats = ClusterStats::of(cluster, &snapshot, doors, &tallies, &as_of);
            stats.alarms.extend(running.certificates.concerns());
            stats
        });
        Self {
            at: as_of.at(as_of.now),
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: as_of.age(admin.began),
            draining: admin.tasks.draining().is_cancelled(),
            configuration: ConfigurationStats::of(&shown.configuration, &as_of),
            clusters: clusters.collect(),
            tallies,
        }
    }
}

/// What every listener counted, by cluster and name.
fn tallies(counts: &BTreeMap<(String, String), Arc<Count>>) -> BTreeMap<(String, String), Tally> {
    let tally =
        |(whose, count): (&(String, String), &Arc<Count>)| (whose.clone(), Tally::of(count));
    counts.iter().map(tally).collect()
}

impl ConfigurationStats {
    fn of(configuration: &Configuration, as_of: &AsOf) -> Self {
        let refused = configuration.refused.as_ref();
        Self {
            file: configuration.file.clone(),
            loaded_at: as_of.at(configuration.loaded),
            loaded_seconds_ago: as_of.age(configuration.loaded),
            reloads: configuration.reloads,
            refusals: configuration.refusals,
            refused_at: refused.map(|(at, _)| as_of.at(*at)),
            refused_because: refused.map(|(_, because)| because.clone()),
        }
    }
}

impl ClusterStats {
    /// A cluster, by the snapshot its sessions route by; `doors` may hold other clusters' too.
    pub(in crate::admin) fn of(
        cluster: &Cluster,
        snapshot: &Snapshot,
        doors: &[Arc<Door>],
        tallies: &BTreeMap<(String, String), Tally>,
        as_of: &AsOf,
    ) -> Self {
        let table = &snapshot.table;
        let view = snapshot.view.value();
        let leader = table.leader.as_ref().map(|tenure| &tenure.holder);
        let leads_since = leader.and(table.leader_since);
        let sync = view.and_then(|view| view.sync.as_ref());
        let members = member::all(cluster, snapshot, tallies, as_of);
        let own = doors.iter().filter(|door| door.cluster == cluster.name);
        Self {
            name: cluster.name.clone(),
            scope: cluster.scope.to_string(),
            leader: leader.map(MemberName::to_string),
            leader_since: leads_since.map(|since| as_of.at(since)),
            leader_for_seconds: leads_since.map(|since| as_of.age(since)),
            timeline: leader
                .and_then(|leader| members.iter().find(|member| member.name == leader.as_str()))
                .and_then(|member| member.timeline),
            decision: DecisionStats {
                row: format!("{:?}", table.primary.row),
                sentence: table.primary.because().to_string(),
            },
            paused: view.is_some_and(|view| view.config.pause),
            sync: sync.map_or_else(Vec::new, |sync| sync.standbys.clone()),
            etcd: EtcdStats::of(snapshot, as_of),
            alarms: table.alarms.iter().map(ToString::to_string).collect(),
            listeners: own
                .filter_map(|door| ListenerStats::of(door, snapshot, tallies, as_of))
                .collect(),
            members,
        }
    }
}

impl EtcdStats {
    fn of(snapshot: &Snapshot, as_of: &AsOf) -> Self {
        let cause = match &snapshot.view {
            Observed::Fresh { .. } => silence(snapshot, as_of),
            Observed::Stale { cause, .. } | Observed::Unknown { cause, .. } => {
                Some(cause.to_string())
            }
        };
        let proof = snapshot.proof;
        Self {
            state: if cause.is_none() {
                "ok"
            } else {
                "cannot be asked"
            },
            cause,
            endpoint: snapshot.endpoint.clone(),
            proof_age_seconds: proof.map(|(asked, _)| as_of.age(asked)),
            proof_ends_in_seconds: proof.map(|(_, deadline)| as_of.until(deadline)),
        }
    }
}

/// Listings may still be answered while the lock, which somebody holds, cannot be proven any more.
fn silence(snapshot: &Snapshot, as_of: &AsOf) -> Option<String> {
    let (asked, _) = snapshot.proof?;
    let age = as_of.now.since(asked);
    let too_old = snapshot.table.leader.is_some() && age > P1_LIVE;
    too_old.then(|| format!("the lock was last proven {:.0} s ago", age.as_secs_f64()))
}
