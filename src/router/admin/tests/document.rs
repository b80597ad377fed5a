//! What `/stats.json` says, and what it is made from.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use trunkline_core::probe::NoAnswer;
use trunkline_io::clock;

use super::stand::Stand;
use crate::admin::ready::Standing;
use crate::admin::stats::Stats;
use crate::admin::{Admin, Shown};
use crate::traffic::Traffic;
use crate::traffic::account::Entry;

/// What a listener says of each member: who is in, and why.
fn places(stats: &Value, listener: usize) -> Vec<(String, bool, String)> {
    let members = stats["clusters"][0]["listeners"][listener]["members"]
        .as_array()
        .unwrap();
    let place = |member: &Value| {
        let text = |key: &str| member[key].as_str().unwrap().to_owned();
        (text("member"), member["in"].as_bool().unwrap(), text("why"))
    };
    members.iter().map(place).collect()
}

fn place(member: &str, is_in: bool, why: &str) -> (String, bool, String) {
    (member.to_owned(), is_in, why.to_owned())
}

#[test]
fn every_member_is_in_or_out_of_every_listener_for_a_reason() {
    let stats = Stand::new("reasons").stats();
    assert_eq!(
        places(&stats, 0),
        [
            place("a", true, "the proven primary"),
            place("b", false, "is not the leader"),
            place("c", false, "is not the leader"),
        ]
    );
    assert_eq!(
        places(&stats, 1),
        [
            place("a", false, "is the leader"),
            place("b", true, "runs, lag within max_lag"),
            place("c", false, "lags more than max_lag"),
        ]
    );
    assert_eq!(
        places(&stats, 2),
        [
            place("a", false, "is the leader"),
            place("b", true, "runs, is a synchronous standby"),
            place("c", false, "is no synchronous standby"),
        ]
    );
}

#[test]
fn a_cluster_is_told_with_its_leader_its_proof_and_where_sessions_go() {
    let stats = Stand::new("whole").stats();
    let cluster = &stats["clusters"][0];
    assert_eq!(cluster["name"], "whole");
    assert_eq!(cluster["scope"], "demo");
    assert_eq!(cluster["leader"], "a");
    assert_eq!(cluster["timeline"], 3);
    assert_eq!(cluster["decision"]["row"], "Proven");
    assert_eq!(cluster["sync"], json!(["b"]));
    assert_eq!(cluster["etcd"]["state"], "ok");
    let left = cluster["etcd"]["proof_ends_in_seconds"].as_f64().unwrap();
    assert!((15.0..19.0).contains(&left), "{left}");
    let write = &cluster["listeners"][0];
    assert_eq!(write["bind"], json!(["*:5000"]));
    assert_eq!(write["to"], "primary");
    assert_eq!(write["state"], "routing");
    assert_eq!(write["because"], "a holds the lock and runs as primary");
    let target = json!({"member": "a", "address": "10.0.0.1:5432", "sessions": 0});
    assert_eq!(write["targets"], json!([target]));
    assert_eq!(
        write["counters"],
        json!({"accepted": 0, "held_total": 0, "refused": 0, "killed": 0})
    );
}

#[test]
fn since_when_somebody_leads_is_told_by_the_wall_clock() {
    let stats = Stand::new("since").stats();
    let text = stats["clusters"][0]["leader_since"].as_str().unwrap();
    let since: jiff::Timestamp = text.parse().unwrap();
    let age = clock::wall().duration_since(since);
    assert!((0..30).contains(&age.as_secs()), "{text}");
}

#[test]
fn a_member_is_told_by_its_answer_and_while_it_is_silent_by_its_key() {
    let mut stand = Stand::new("sources");
    stand.members[1].says = Err(NoAnswer::Refused);
    stand.members[1].published["state"] = json!("starting");
    let stats = stand.stats();
    let members = &stats["clusters"][0]["members"];
    assert_eq!(members[0]["said_by"], "rest");
    assert_eq!(members[0]["rest"]["ok"], true);
    assert_eq!(members[1]["said_by"], "key");
    assert_eq!(members[1]["state"], "starting");
    let silence = json!({"ok": false, "cause": "connection refused", "age_seconds": null});
    assert_eq!(members[1]["rest"], silence);
    assert_eq!(members[2]["lag_bytes"], 5000);
}

#[test]
fn a_router_that_could_not_ask_etcd_yet_says_so_and_holds() {
    let mut stand = Stand::new("blind");
    stand.leader = None;
    stand.members.clear();
    stand.keys.clear();
    let stats = stand.stats();
    let cluster = &stats["clusters"][0];
    assert_eq!(cluster["leader"], Value::Null);
    assert_eq!(cluster["leader_since"], Value::Null);
    assert_eq!(cluster["etcd"]["state"], "cannot be asked");
    assert_eq!(cluster["etcd"]["cause"], "no answer in time");
    let write = &cluster["listeners"][0];
    assert_eq!(write["state"], "holding");
    assert_eq!(write["because"], "etcd has not answered since the start");
}

#[test]
fn a_cluster_without_a_leader_holds_writers_and_still_serves_readers() {
    let mut stand = Stand::new("vacant");
    stand.leader = None;
    let stats = stand.stats();
    let listeners = &stats["clusters"][0]["listeners"];
    assert_eq!(listeners[0]["state"], "holding");
    assert_eq!(listeners[0]["because"], "the cluster has no leader");
    assert_eq!(listeners[1]["state"], "routing");
}

#[test]
fn readers_without_a_replica_are_told_to_fall_back() {
    let mut stand = Stand::new("fallback");
    stand.cluster.listeners[1].fallback = Some(trunkline_core::config::router::To::Primary);
    stand.members.truncate(1);
    let stats = stand.stats();
    let read = &stats["clusters"][0]["listeners"][1];
    assert_eq!(
        read["because"],
        "no member of the pool can be used: new sessions fall back to a"
    );
    let why = "serves as the fallback, since nobody in the pool can";
    assert_eq!(places(&stats, 1), [place("a", true, why)]);
}

#[test]
fn sessions_are_counted_where_they_are() {
    let admin = Stand::new("counted").admin();
    let snapshot = admin.shown().clusters[0].board.current();
    let seat = &snapshot.lanes[1].targets[0];
    seat.sessions
        .fetch_add(4, std::sync::atomic::Ordering::Relaxed);
    let stats = serde_json::to_value(Stats::of(&admin)).unwrap();
    let cluster = &stats["clusters"][0];
    assert_eq!(cluster["members"][1]["sessions"], 4);
    assert_eq!(cluster["listeners"][0]["sessions"], 0);
    assert_eq!(cluster["listeners"][1]["sessions"], 4);
    assert_eq!(cluster["listeners"][1]["targets"][0]["sessions"], 4);
    assert_eq!(cluster["listeners"][1]["members"][1]["sessions"], 4);
}

/// Sessions of `listener` on `member` that moved so many bytes; they run until the entry is dropped.
fn moved(admin: &Admin, listener: usize, member: &str, up: u64, down: u64) -> Entry {
    let traffic = Arc::new(Traffic::default());
    traffic.up(up);
    traffic.down(down);
    let account = admin.shown().doors[listener].count.bytes.of(&member.into());
    account.enter(&traffic)
}

fn bytes(of: &Value) -> (u64, u64) {
    let number = |key: &str| of[key].as_u64().unwrap();
    (number("bytes_from_clients"), number("bytes_from_servers"))
}

#[test]
fn bytes_are_told_by_listener_and_by_member_while_sessions_run_and_afterwards() {
    let admin = Stand::new("moved").admin();
    let runs = moved(&admin, 1, "b", 10, 2_000);
    drop(moved(&admin, 1, "b", 1, 1));
    drop(moved(&admin, 1, "who was once", 100, 0));
    let stays = moved(&admin, 0, "b", 5, 5);
    let tell = || serde_json::to_value(Stats::of(&admin)).unwrap();
    let stats = tell();
    let cluster = &stats["clusters"][0];
    let (write, read) = (&cluster["listeners"][0], &cluster["listeners"][1]);
    assert_eq!(bytes(read), (111, 2_001), "of one that is gone too");
    assert_eq!(bytes(&read["members"][1]), (11, 2_001));
    assert_eq!(bytes(&read["members"][2]), (0, 0));
    assert_eq!(bytes(write), (5, 5));
    assert_eq!(bytes(&cluster["members"][1]), (16, 2_006));
    drop((runs, stays));
    let after = tell();
    assert_eq!(after["clusters"][0]["listeners"], cluster["listeners"]);
    assert_eq!(bytes(&after["clusters"][0]["members"][1]), (16, 2_006));
}

#[test]
fn every_listener_and_member_has_its_bytes_in_the_metrics_from_the_start_and_when_it_is_gone() {
    let admin = Stand::new("metered").admin();
    let told = || {
        admin.gauges.show(&Stats::of(&admin));
        admin.recorder.render()
    };
    let line = |member: &str, listener: &str, direction: &str, count: u64| {
        format!(
            "trunkline_bytes_total{{cluster=\"metered\",member=\"{member}\",listener=\"{listener}\",\
             direction=\"{direction}\"}} {count}\n"
        )
    };
    let text = told();
    assert!(text.contains(&line("a", "write", "from_clients", 0)));
    assert!(text.contains(&line("c", "sync", "from_servers", 0)));
    let entry = moved(&admin, 1, "b", 7, 70);
    let text = told();
    assert!(text.contains(&line("b", "read", "from_clients", 7)));
    assert!(text.contains(&line("b", "read", "from_servers", 70)));
    drop(entry);
    drop(moved(&admin, 1, "who was once", 1, 0));
    // The listener is taken out, its last bytes have not been asked for yet.
    let mut shown = Shown::clone(&admin.shown());
    shown.doors.remove(1);
    admin.shown.store(Arc::new(shown));
    let text = told();
    assert!(text.contains(&line("b", "read", "from_servers", 70)));
    assert!(text.contains(&line("who was once", "read", "from_clients", 1)));
}

#[test]
fn a_decision_that_is_too_old_routes_nobody() {
    let admin = Stand::new("old").admin();
    let shown = admin.shown();
    let snapshot = shown.clusters[0].board.current();
    let (door, pool) = (&shown.doors[0], &snapshot.lanes[0].pool);
    assert_eq!(Standing::of(door, pool, snapshot.at), Standing::Routing);
    let later = pool.valid_until.after(Duration::from_millis(1));
    assert_eq!(Standing::of(door, pool, later).word(), "holding");
}

#[test]
fn the_gauges_of_a_member_that_is_gone_are_cleared() {
    let mut stand = Stand::new("gauges");
    let admin = stand.admin();
    admin.gauges.show(&Stats::of(&admin));
    let leads = |member: &str, value: u8| {
        format!("trunkline_leader{{cluster=\"gauges\",member=\"{member}\"}} {value}\n")
    };
    let text = admin.recorder.render();
    assert!(text.contains(&leads("a", 1)), "{text}");
    assert!(text.contains("trunkline_member_lag_bytes{cluster=\"gauges\",member=\"c\"} 5000\n"));
    assert!(text.contains("trunkline_targets{cluster=\"gauges\",listener=\"write\"} 1\n"));
    stand.members.remove(0);
    stand.leader = Some("b");
    let after = stand.admin();
    admin.gauges.show(&Stats::of(&after));
    let text = admin.recorder.render();
    assert!(text.contains(&leads("a", 0)), "{text}");
    assert!(text.contains(&leads("b", 1)), "{text}");
}

#[test]
fn pipes_are_in_the_metrics_from_the_start() {
    let admin = Stand::new("piped").admin();
    admin.gauges.show(&Stats::of(&admin));
    let text = admin.recorder.render();
    for metric in [
        "trunkline_pipes ",
        "trunkline_pipes_denied_total ",
        "trunkline_pipes_shrunk_total ",
    ] {
        let told = text.lines().any(|line| line.starts_with(metric));
        assert!(told, "{metric}is missing in {text}");
    }
}
