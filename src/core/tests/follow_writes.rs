//! Following etcd by somebody who writes to it, too: an agent.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]

mod follow_bench;

use std::collections::BTreeMap;

use follow_bench::{Bench, header, key, leader, leader_gone, refused};
use trunkline_core::cluster::{ClusterView, KeyValue};
use trunkline_core::follow::{Change, EndpointId, Follow};
use trunkline_core::keys::Prefix;
use trunkline_core::wire::config::DynamicConfig;
use trunkline_core::{LeaseId, MemberName, Moment, Observed, Revision, Scope, StoreNumber};

#[test]
fn who_goes_without_proof_never_reads_the_lock() {
    let prefix = Prefix::new("service", &Scope::from("demo"));
    let mut follow = Follow::new(prefix, 3, Moment::BOOT).without_proof();
    let wants = follow.wants(Moment::BOOT);
    assert!(wants.list.is_some() && wants.read.is_none());
    assert_eq!(wants.wake, Moment::NEVER);
}

#[test]
fn an_own_write_is_believed_at_once_and_older_events_and_listings_do_not_undo_it() {
    let mut bench = Bench::following(3);
    bench.wait(10_000);
    assert!(bench.wants().list.is_some(), "a listing is under way");
    bench.follow.wrote(Change::Put(leader("pg-2", 14)));
    assert_eq!(bench.leader().as_deref(), Some("pg-2 since revision 14"));
    bench.event(vec![leader_gone(12), Change::Put(leader("pg-3", 13))]);
    assert_eq!(bench.leader().as_deref(), Some("pg-2 since revision 14"));
    bench.list(header(13), vec![leader("pg-3", 13)]);
    assert_eq!(bench.leader().as_deref(), Some("pg-2 since revision 14"));
    bench.event(vec![leader_gone(15)]);
    assert_eq!(bench.leader(), None);
}

#[test]
fn an_own_write_makes_a_view_no_fresher_and_no_older() {
    let mut bench = Bench::following(1);
    let asked = bench.follow.view().asked();
    bench.wait(1_000);
    bench.follow.wrote(leader_gone(11));
    assert_eq!(bench.follow.view().asked(), asked);
    bench.fail(&refused());
    bench.follow.wrote(Change::Put(leader("pg-2", 12)));
    assert!(matches!(bench.follow.view(), Observed::Stale { .. }));
    assert_eq!(bench.leader().as_deref(), Some("pg-2 since revision 12"));
}

#[test]
fn before_the_first_listing_an_own_write_does_not_pass_for_all_there_is() {
    let mut bench = Bench::new(1);
    bench.follow.wrote(Change::Put(leader("pg-1", 5)));
    assert_eq!(bench.follow.view().value(), None);
    bench.list(header(10), vec![leader("pg-2", 9)]);
    assert_eq!(bench.leader().as_deref(), Some("pg-2 since revision 9"));
}

#[test]
fn a_refused_write_has_everything_listed_anew_even_while_a_listing_is_under_way() {
    let mut bench = Bench::following(1);
    assert!(bench.wants().list.is_none());
    bench.follow.refused(bench.now);
    let (first, _) = bench.wants().list.expect("a listing");
    bench.follow.refused(bench.now);
    let (second, _) = bench.wants().list.expect("a listing");
    assert_ne!(first, second);
}

#[test]
fn an_endpoint_that_failed_a_write_is_left_and_another_one_is_not() {
    let mut bench = Bench::following(3);
    bench.follow.distrust(EndpointId(2), refused(), bench.now);
    assert_eq!(bench.endpoint(), 0);
    assert!(bench.follow.view().fresh().is_some());
    bench.follow.distrust(EndpointId(0), refused(), bench.now);
    assert_eq!(bench.endpoint(), 1);
    assert!(bench.follow.view().fresh().is_none() && bench.wants().list.is_some());
}

/// A view of `keys`: name, value, revision.
fn view(keys: &[(&str, &str, i64)]) -> ClusterView {
    let keys: Vec<KeyValue> = keys
        .iter()
        .map(|(name, value, revision)| key(name, value, *revision))
        .collect();
    let prefix = Prefix::new("service", &Scope::from("demo"));
    let config = DynamicConfig::default();
    ClusterView::parse(&prefix, StoreNumber::FIRST, &keys, &config)
}

#[test]
fn the_lock_requests_and_rules_concern_everybody_the_leaders_word_the_others_and_positions_nobody()
{
    let running = r#"{"state":"running","role":"primary","xlog_location":1}"#;
    let before = [
        ("leader", "a", 1),
        ("config", "{}", 2),
        ("failover", "{}", 3),
        ("sync", "{}", 4),
        ("initialize", "7000000000000000001", 5),
        ("status", "{}", 6),
        ("members/a", running, 7),
        ("members/b", "{}", 8),
        ("history", "[]", 9),
    ];
    let moved = r#"{"state":"running","role":"primary","xlog_location":2}"#;
    let stopping = r#"{"state":"stopping","role":"primary","xlog_location":1}"#;
    for (name, value, leader_looks, other_looks) in [
        ("leader", "a", true, true),
        ("config", "{}", true, true),
        ("failover", "{}", true, true),
        ("sync", "{}", true, true),
        ("initialize", "", true, true),
        ("status", "{}", false, true),
        ("members/a", moved, false, false),
        ("members/a", stopping, false, true),
        ("members/b", stopping, false, false),
        ("history", "[]", false, false),
    ] {
        let mut after: BTreeMap<_, _> = before.iter().map(|it| (it.0, *it)).collect();
        after.insert(name, (name, value, 20));
        let after: Vec<_> = after.into_values().collect();
        let (before, after) = (view(&before), view(&after));
        for (me, looks) in [("a", leader_looks), ("b", other_looks)] {
            let me = MemberName::from(me);
            assert_eq!(
                after.concerns(&me, &before),
                looks,
                "{name} = {value} for {me}"
            );
            assert!(!after.concerns(&me, &after));
        }
    }
}

#[test]
fn a_lock_that_moves_to_another_lease_or_goes_concerns_everybody() {
    let before = view(&[("leader", "a", 1)]);
    let mut moved = key("leader", "a", 1);
    moved.lease = Some(LeaseId(99));
    moved.modified = Revision(3);
    let prefix = Prefix::new("service", &Scope::from("demo"));
    let config = DynamicConfig::default();
    let moved = ClusterView::parse(&prefix, StoreNumber::FIRST, [&moved], &config);
    for me in ["a", "b"] {
        assert!(moved.concerns(&me.into(), &before));
        assert!(view(&[]).concerns(&me.into(), &before));
    }
}
