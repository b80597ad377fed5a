//! Every metric of the router, by name, in one place.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::admin::stats::{ClusterStats, ConfigurationStats, ListenerStats, Stats, Tally};
use crate::door::Door;
use crate::pump::pipes::{self, Pipes};
use crate::traffic::Bytes;

const ACCEPTED: &str = "trunkline_clients_accepted_total";
const ACCEPT_FAILED: &str = "trunkline_accept_failures_total";
const CONNECT: &str = "trunkline_connect_seconds";
const CONNECT_FAILED: &str = "trunkline_connect_failures_total";
const ENDED: &str = "trunkline_sessions_ended_total";
const PROBES: &str = "trunkline_probes_total";
const HELD_TOTAL: &str = "trunkline_holds_total";
const REFUSED: &str = "trunkline_clients_refused_total";
const KILLED: &str = "trunkline_sessions_killed_total";
const BYTES: &str = "trunkline_bytes_total";
const CLIENTS: &str = "trunkline_clients";
const HELD: &str = "trunkline_clients_held";
const SESSIONS: &str = "trunkline_sessions";
const TARGETS: &str = "trunkline_targets";
const ETCD_OK: &str = "trunkline_etcd_ok";
const PROOF_AGE: &str = "trunkline_proof_age_seconds";
const ALARMS: &str = "trunkline_alarms";
const LEADER: &str = "trunkline_leader";
const MEMBER_OK: &str = "trunkline_member_ok";
const LAG: &str = "trunkline_member_lag_bytes";
const BUILD: &str = "trunkline_build_info";
const UPTIME: &str = "trunkline_uptime_seconds";
const CONFIG_OK: &str = "trunkline_config_last_reload_successful";
const CONFIG_AGE: &str = "trunkline_config_age_seconds";
const RELOADS: &str = "trunkline_config_reloads_total";
const PIPES: &str = "trunkline_pipes";
const PIPES_DENIED: &str = "trunkline_pipes_denied_total";
const PIPES_SHRUNK: &str = "trunkline_pipes_shrunk_total";

/// Says what each metric means; shown as HELP.
pub fn describe() {
    describe_counters();
    describe_gauges();
    describe_histogram!(
        CONNECT,
        "Seconds it took to connect to a member, by listener."
    );
}

fn describe_counters() {
    for (name, meaning) in [
        (ACCEPTED, "Clients accepted, by listener."),
        (ACCEPT_FAILED, "Times accepting failed, by listener."),
        (
            CONNECT_FAILED,
            "Connections to members that failed, by listener.",
        ),
        (ENDED, "Sessions that ended, by listener and how."),
        (
            RELOADS,
            "Times a configuration was read again, by whether it was applied or refused.",
        ),
        (PROBES, "Requests to members' REST APIs, by member."),
        (
            HELD_TOTAL,
            "Clients that had to wait for a target, by listener.",
        ),
        (REFUSED, "Clients that were told to go away, by listener."),
        (
            KILLED,
            "Sessions ended because routing said so, by listener.",
        ),
        (
            PIPES_DENIED,
            "Times a stream of bytes was copied for want of a pipe to splice it through.",
        ),
        (
            PIPES_SHRUNK,
            "Pipes the system made smaller than asked for (fs.pipe-user-pages-soft).",
        ),
        (
            BYTES,
            "Bytes moved, those of sessions that run now included, by listener, member and direction (from_clients, from_servers).",
        ),
    ] {
        describe_counter!(name, meaning);
    }
}

fn describe_gauges() {
    for (name, meaning) in [
        (
            CLIENTS,
            "Clients connected now, held ones included, by listener.",
        ),
        (HELD, "Clients waiting for a target now, by listener."),
        (SESSIONS, "Sessions now, by listener and member."),
        (
            TARGETS,
            "Members new sessions may be sent to now, by listener: 0 is an outage.",
        ),
        (ETCD_OK, "1 while etcd can be asked, by cluster."),
        (
            PROOF_AGE,
            "Seconds since the last proof of the leader lock was asked for, by cluster.",
        ),
        (ALARMS, "States somebody may be needed for, by cluster."),
        (LEADER, "1 for the member that holds the leader lock."),
        (MEMBER_OK, "1 while the member's REST API answers."),
        (
            LAG,
            "Bytes of WAL the member is behind the leader; NaN where that is unknown.",
        ),
        (
            PIPES,
            "Pipes open now, those that wait for a stream included.",
        ),
        (BUILD, "Always 1; the version is a label."),
        (UPTIME, "Seconds since the router was started."),
        (
            CONFIG_OK,
            "0 while the last configuration was refused and the one before it is in force.",
        ),
        (
            CONFIG_AGE,
            "Seconds since the configuration in force was loaded.",
        ),
    ] {
        describe_gauge!(name, meaning);
    }
}

fn labels(door: &Door) -> [(&'static str, String); 2] {
    [
        ("cluster", door.cluster.clone()),
        ("listener", door.config.name.clone()),
    ]
}

pub(crate) fn accepted(door: &Door) {
    counter!(ACCEPTED, &labels(door)).increment(1);
}

pub(crate) fn accept_failed(door: &Door) {
    counter!(ACCEPT_FAILED, &labels(door)).increment(1);
}

pub(crate) fn connected(door: &Door, took: Duration) {
    histogram!(CONNECT, &labels(door)).record(took.as_secs_f64());
}

pub(crate) fn connect_failed(door: &Door) {
    counter!(CONNECT_FAILED, &labels(door)).increment(1);
}

pub(crate) fn probed(cluster: &str, member: &trunkline_core::MemberName) {
    let labels = [
        ("cluster", cluster.to_owned()),
        ("member", member.to_string()),
    ];
    counter!(PROBES, &labels).increment(1);
}

pub(crate) fn session_ended(door: &Door, how: &'static str) {
    let [cluster, listener] = labels(door);
    counter!(ENDED, &[cluster, listener, ("how", how.to_owned())]).increment(1);
}

/// The gauges, which are brought up to date when somebody reads them.
///
/// A gauge keeps its last value for ever, so those of members, listeners and clusters that are gone have to be
/// remembered and cleared.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    told: Mutex<BTreeSet<Series>>,
}

/// What series are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Series {
    Cluster {
        cluster: String,
    },
    Listener {
        cluster: String,
        listener: String,
    },
    Member {
        cluster: String,
        member: String,
    },
    Place {
        cluster: String,
        member: String,
        listener: String,
    },
}

impl Gauges {
    /// Brings everything up to date with `stats`.
    pub(crate) fn show(&self, stats: &Stats) {
        gauge!(BUILD, "version" => stats.version).set(1);
        gauge!(UPTIME).set(stats.uptime_seconds);
        show_configuration(&stats.configuration);
        show_pipes(pipes::count());
        let mut now = BTreeSet::new();
        for cluster in &stats.clusters {
            show_cluster(cluster, &mut now);
            show_members(cluster, &mut now);
            for listener in &cluster.listeners {
                show_listener(&cluster.name, listener, &mut now);
            }
        }
        for ((cluster, listener), tally) in &stats.tallies {
            show_tally(cluster, listener, tally);
        }
        // What a panic elsewhere left here is still a list of names.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in told.difference(&now) {
            gone.clear();
        }
        *told = now;
    }
}

impl Series {
    fn labels(&self) -> Vec<(&'static str, String)> {
        let (cluster, member, listener) = match self {
            Self::Cluster { cluster } => (cluster, None, None),
            Self::Listener { cluster, listener } => (cluster, None, Some(listener)),
            Self::Member { cluster, member } => (cluster, Some(member), None),
            Self::Place {
                cluster,
                member,
                listener,
            } => (cluster, Some(member), Some(listener)),
        };
        let mut labels = vec![("cluster", cluster.clone())];
        labels.extend(member.map(|name| ("member", name.clone())));
        labels.extend(listener.map(|name| ("listener", name.clone())));
        labels
    }

    fn clear(&self) {
        let labels = self.labels();
        match self {
            Self::Cluster { .. } => {
                gauge!(PROOF_AGE, &labels).set(f64::NAN);
                gauge!(ETCD_OK, &labels).set(f64::NAN);
                gauge!(ALARMS, &labels).set(0);
            }
            Self::Listener { .. } => {
                gauge!(CLIENTS, &labels).set(0);
                gauge!(HELD, &labels).set(0);
                // Zero would say that there is an outage.
                gauge!(TARGETS, &labels).set(f64::NAN);
            }
            Self::Member { .. } => {
                gauge!(LEADER, &labels).set(0);
                gauge!(MEMBER_OK, &labels).set(0);
                gauge!(LAG, &labels).set(f64::NAN);
            }
            Self::Place { .. } => gauge!(SESSIONS, &labels).set(0),
        }
    }
}

fn show_configuration(configuration: &ConfigurationStats) {
    gauge!(CONFIG_OK).set(one_if(configuration.refused_because.is_none()));
    gauge!(CONFIG_AGE).set(configuration.loaded_seconds_ago);
    counter!(RELOADS, "outcome" => "applied").absolute(configuration.reloads);
    counter!(RELOADS, "outcome" => "refused").absolute(configuration.refusals);
}

fn show_pipes(pipes: Pipes) {
    gauge!(PIPES).set(pipes.open);
    counter!(PIPES_DENIED).absolute(pipes.denied);
    counter!(PIPES_SHRUNK).absolute(pipes.shrunk);
}

fn show_cluster(cluster: &ClusterStats, now: &mut BTreeSet<Series>) {
    now.insert(Series::Cluster {
        cluster: cluster.name.clone(),
    });
    let name = &cluster.name;
    let age = cluster.etcd.proof_age_seconds.unwrap_or(f64::INFINITY);
    gauge!(PROOF_AGE, "cluster" => name.clone()).set(age);
    gauge!(ETCD_OK, "cluster" => name.clone()).set(one_if(cluster.etcd.cause.is_none()));
    gauge!(ALARMS, "cluster" => name.clone()).set(as_f64(cluster.alarms.len()));
}

fn show_members(cluster: &ClusterStats, now: &mut BTreeSet<Series>) {
    for member in &cluster.members {
        let series = Series::Member {
            cluster: cluster.name.clone(),
            member: member.name.clone(),
        };
        let labels = series.labels();
        gauge!(LEADER, &labels).set(one_if(cluster.leader.as_ref() == Some(&member.name)));
        gauge!(MEMBER_OK, &labels).set(one_if(member.rest.ok));
        let leads = cluster.leader.as_ref() == Some(&member.name);
        let lag = member.lag_bytes.map(|bytes| bytes as f64);
        gauge!(LAG, &labels).set(lag.unwrap_or(if leads { 0.0 } else { f64::NAN }));
        now.insert(series);
    }
}

fn show_listener(cluster: &str, listener: &ListenerStats, now: &mut BTreeSet<Series>) {
    let labels = [
        ("cluster", cluster.to_owned()),
        ("listener", listener.name.clone()),
    ];
    now.insert(Series::Listener {
        cluster: cluster.to_owned(),
        listener: listener.name.clone(),
    });
    gauge!(CLIENTS, &labels).set(listener.clients);
    gauge!(HELD, &labels).set(listener.held);
    let routes = listener.state == "routing";
    let targets = as_f64(if routes { listener.targets.len() } else { 0 });
    // A listener that takes no clients is no outage.
    gauge!(TARGETS, &labels).set(if listener.leaving { f64::NAN } else { targets });
    // Shown from the start: an alert cannot be written on a counter that appears with its first event.
    counter!(ACCEPTED, &labels).increment(0);
    counter!(ACCEPT_FAILED, &labels).increment(0);
    counter!(CONNECT_FAILED, &labels).increment(0);
    for place in &listener.members {
        let series = Series::Place {
            cluster: cluster.to_owned(),
            member: place.member.clone(),
            listener: listener.name.clone(),
        };
        gauge!(SESSIONS, &series.labels()).set(place.sessions);
        show_bytes(&series.labels(), place.bytes);
        now.insert(series);
    }
}

/// What a listener counted, whether or not it is there still: the last of it may have come since somebody looked.
fn show_tally(cluster: &str, listener: &str, tally: &Tally) {
    let labels = [
        ("cluster", cluster.to_owned()),
        ("listener", listener.to_owned()),
    ];
    counter!(HELD_TOTAL, &labels).absolute(tally.counters.held_total);
    counter!(REFUSED, &labels).absolute(tally.counters.refused);
    counter!(KILLED, &labels).absolute(tally.counters.killed);
    for (member, bytes) in &tally.bytes {
        let series = Series::Place {
            cluster: cluster.to_owned(),
            member: member.to_string(),
            listener: listener.to_owned(),
        };
        show_bytes(&series.labels(), *bytes);
    }
}

fn show_bytes(place: &[(&'static str, String)], bytes: Bytes) {
    let directions = [
        ("from_clients", bytes.from_client),
        ("from_servers", bytes.from_server),
    ];
    for (direction, moved) in directions {
        let mut labels = place.to_vec();
        labels.push(("direction", direction.to_owned()));
        // Of two who ask at once the slower may have read the less: a counter takes the more.
        counter!(BYTES, &labels).absolute(moved);
    }
}

fn one_if(so: bool) -> f64 {
    f64::from(u8::from(so))
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
