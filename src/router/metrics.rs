//! Every metric of the router, by name, in one place.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::door::Door;

const ACCEPTED: &str = "trunkline_clients_accepted_total";
const ACCEPT_FAILED: &str = "trunkline_accept_failures_total";
const CONNECT: &str = "trunkline_connect_seconds";
const CONNECT_FAILED: &str = "trunkline_connect_failures_total";
const ENDED: &str = "trunkline_sessions_ended_total";
const CLIENTS: &str = "trunkline_clients";
const HELD: &str = "trunkline_clients_held";
const TARGETS: &str = "trunkline_targets";
const PROOF_AGE: &str = "trunkline_proof_age_seconds_now";
const LEADER: &str = "trunkline_leader";

/// Says what each metric means; shown as HELP.
pub fn describe() {
    describe_counter!(ACCEPTED, "Clients accepted, by listener.");
    describe_counter!(ACCEPT_FAILED, "Times accepting failed, by listener.");
    describe_histogram!(
        CONNECT,
        "Seconds it took to connect to a member, by listener."
    );
    describe_counter!(
        CONNECT_FAILED,
        "Connections to members that failed, by listener."
    );
    describe_counter!(ENDED, "Sessions that ended, by listener and how.");
    describe_gauge!(CLIENTS, "Clients connected now, by listener.");
    describe_gauge!(HELD, "Clients waiting for a target now, by listener.");
    describe_gauge!(
        TARGETS,
        "Members new sessions may be sent to now, by listener."
    );
    describe_gauge!(
        PROOF_AGE,
        "Seconds since the last proof of the leader lock was asked for."
    );
    describe_gauge!(LEADER, "1 for the member that holds the leader lock.");
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

pub(crate) fn session_ended(door: &Door, how: &'static str) {
    let [cluster, listener] = labels(door);
    counter!(ENDED, &[cluster, listener, ("how", how.to_owned())]).increment(1);
}

/// Brings the gauges of a listener up to date, when somebody reads them.
pub(crate) fn show_listener(door: &Door, targets: usize) {
    use std::sync::atomic::Ordering::Relaxed;
    gauge!(CLIENTS, &labels(door)).set(door.count.clients.load(Relaxed));
    gauge!(HELD, &labels(door)).set(door.count.held.load(Relaxed));
    gauge!(TARGETS, &labels(door)).set(u32::try_from(targets).unwrap_or(u32::MAX));
}

/// The same for a cluster.
pub(crate) fn show_cluster(cluster: &str, proof_age: Option<Duration>, members: &[(String, bool)]) {
    let age = proof_age.map_or(f64::INFINITY, |age| age.as_secs_f64());
    gauge!(PROOF_AGE, "cluster" => cluster.to_owned()).set(age);
    for (member, leads) in members {
        let labels = [("cluster", cluster.to_owned()), ("member", member.clone())];
        gauge!(LEADER, &labels).set(f64::from(u8::from(*leads)));
    }
}
