//! When the answers of members are enough, so that nobody waits for the silent ones.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the world names what it models"
)]

mod agent_world;

use std::collections::BTreeMap;
use std::time::Duration;

use agent_world::World;
use serde_json::json;
use trunkline_core::MemberName;
use trunkline_core::ha::{self, Action, PeerWord, Snapshot};
use trunkline_core::wire::rest::StatusDocument;

const SOON: Duration = Duration::from_millis(499);
const LATER: Duration = Duration::from_millis(500);

fn says(role: &str, at: u64) -> PeerWord {
    let xlog = match role {
        "primary" => json!({ "location": at }),
        _ => json!({ "received_location": at, "replayed_location": at }),
    };
    let text = json!({ "state": "running", "role": role, "xlog": xlog, "timeline": 1 }).to_string();
    PeerWord::Says(Box::new(
        StatusDocument::parse(text.as_bytes()).expect("a status document"),
    ))
}

/// A standby that asks because the lock is free, and two others; pg-3's key went with the lock.
fn election() -> Snapshot {
    let mut world = World::new();
    world.found(&["pg-1", "pg-2", "pg-3"]);
    world.node.has_data(true);
    world.node.runs(false, world.now);
    world.lock("pg-3");
    let _ = world.cycle();
    world.etcd.delete("leader");
    world.etcd.delete("members/pg-3");
    world.job = None;
    let steps = world.cycle();
    let asking = steps
        .into_iter()
        .map(|(snapshot, decision, _)| (snapshot, decision.action));
    let found = asking
        .into_iter()
        .find(|(_, action)| matches!(action, Action::Ask(_)));
    found.expect("it asks").0
}

fn answers(of: &[(&str, PeerWord)]) -> BTreeMap<MemberName, PeerWord> {
    of.iter()
        .map(|(name, word)| (MemberName::from(*name), word.clone()))
        .collect()
}

#[test]
fn somebody_who_is_ahead_settles_it_alone() {
    let snapshot = election();
    assert!(ha::settled(
        &snapshot,
        &answers(&[("pg-2", says("replica", 1001))]),
        Duration::ZERO
    ));
    assert!(ha::settled(
        &snapshot,
        &answers(&[("pg-2", says("primary", 1))]),
        Duration::ZERO
    ));
}

#[test]
fn somebody_who_is_not_leaves_the_others_to_be_waited_for() {
    let snapshot = election();
    let equal = answers(&[("pg-2", says("replica", 1000))]);
    assert!(!ha::settled(&snapshot, &BTreeMap::new(), LATER));
    assert!(!ha::settled(&snapshot, &equal, SOON));
    let all = answers(&[
        ("pg-2", says("replica", 1000)),
        ("pg-3", PeerWord::Silent("refused".to_owned())),
    ]);
    assert!(ha::settled(&snapshot, &all, Duration::ZERO));
}

#[test]
fn who_has_no_key_any_more_is_waited_for_half_a_second_only() {
    let snapshot = election();
    assert!(ha::settled(
        &snapshot,
        &answers(&[("pg-2", says("replica", 1000))]),
        LATER
    ));
    let gone = answers(&[("pg-3", PeerWord::Silent("refused".to_owned()))]);
    assert!(
        !ha::settled(&snapshot, &gone, LATER),
        "pg-2 has a key and is waited for"
    );
}
