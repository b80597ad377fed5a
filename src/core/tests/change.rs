//! From one table to the next: whose sessions end, and what is told of it.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use trunkline_core::config::router::{Bind, Listener, To};
use trunkline_core::probe::NoAnswer;
use trunkline_core::route::change::{Change, Event, between};
use trunkline_core::route::{Address, Alarm, Out, Place, Verdict};
use world::World;
use world::node::Document;

/// pg-1 leads, pg-2 and pg-3 replicate, a write and a read listener; all proven and settled.
fn settled() -> World {
    let mut world = World::new();
    for (name, to) in [("write", To::Primary), ("read", To::Replicas)] {
        world
            .cluster
            .listeners
            .push(Listener::new(name, vec![Bind::any(5000)], to));
    }
    world.etcd.put("config", r#"{"ttl":30}"#);
    for name in ["pg-1", "pg-2", "pg-3"] {
        world.add_member(name);
    }
    world.lock("pg-1");
    world.node("pg-1").rest = Ok(Document::new("pg-1", 200, "primary", "running"));
    world.run(Duration::from_secs(3));
    world
}

/// `listener on target` for everything that ends.
fn ends(change: &Change) -> Vec<String> {
    let end = |end: &trunkline_core::route::change::End| {
        format!(
            "{} on {} at {}",
            end.listener, end.target.member, end.target.address
        )
    };
    change.ends.iter().map(end).collect()
}

#[test]
fn nothing_new_changes_nothing() {
    let mut world = settled();
    assert_eq!(world.look(), Change::default());
    world.run(Duration::from_secs(30));
    assert_eq!(world.look(), Change::default());
}

#[test]
fn the_first_table_ends_nothing_and_tells_everything() {
    let world = settled();
    let table = world.table.as_ref().expect("a table");
    let change = between(None, table);
    assert_eq!(ends(&change), Vec::<String>::new());
    assert!(change.events.contains(&Event::Leader(table.leader.clone())));
    assert_eq!(
        change.events.len(),
        1 + 2 + 6,
        "leader, two listeners, three members in each"
    );
}

#[test]
fn sessions_end_where_they_may_not_live_and_nowhere_else() {
    let mut world = settled();
    world.wait(Duration::from_millis(100));
    world.lock("pg-2");
    // The writers of the old leader, and the readers of the new one.
    assert_eq!(
        ends(&world.look()),
        [
            "write on pg-1 at 10.0.0.1:5432",
            "read on pg-2 at 10.0.0.2:5432"
        ]
    );
    assert_eq!(ends(&world.look()), Vec::<String>::new(), "they end once");
}

#[test]
fn a_member_that_leaves_a_read_pool_keeps_its_sessions() {
    let mut world = settled();
    world.node("pg-2").rest = Err(NoAnswer::TimedOut);
    world.ask("pg-2");
    let change = world.look();
    assert_eq!(ends(&change), Vec::<String>::new());
    let left = Event::Place {
        listener: "read".into(),
        member: "pg-2".into(),
        place: Place::Out(Out::NoAnswer),
    };
    assert!(change.events.contains(&left), "{change:#?}");
}

#[test]
fn a_member_that_moves_loses_the_sessions_at_its_old_address_only() {
    let mut world = settled();
    for (member, address) in [("pg-1", "10.0.0.77:5432"), ("pg-3", "10.0.0.3:6432")] {
        let address: SocketAddr = address.parse().expect("an address");
        world.addresses.insert(member.into(), address.into());
    }
    let change = world.look();
    assert_eq!(
        ends(&change),
        [
            "write on pg-1 at 10.0.0.1:5432",
            "read on pg-3 at 10.0.0.3:5432"
        ]
    );
}

#[test]
fn a_member_that_is_gone_for_good_loses_its_sessions() {
    let mut world = settled();
    world.etcd.delete("members/pg-3");
    world.node("pg-3").rest = Err(NoAnswer::Refused);
    world.ask("pg-3");
    assert_eq!(ends(&world.look()), Vec::<String>::new());
    world.wait(Duration::from_secs(59));
    assert_eq!(
        ends(&world.look()),
        ["write on pg-1 at 10.0.0.1:5432"],
        "that is unproven by now"
    );
    world.wait(Duration::from_secs(1));
    assert_eq!(ends(&world.look()), ["read on pg-3 at 10.0.0.3:5432"]);
}

#[test]
fn sessions_that_may_stay_for_a_while_end_with_the_while() {
    let mut world = settled();
    world.wait(Duration::from_millis(100));
    world.etcd.delete("leader");
    assert_eq!(ends(&world.look()), Vec::<String>::new());
    world.wait(Duration::from_millis(1_999));
    assert_eq!(ends(&world.look()), Vec::<String>::new());
    world.wait(Duration::from_millis(1));
    let change = world.look();
    assert_eq!(ends(&change), ["write on pg-1 at 10.0.0.1:5432"]);
    assert_eq!(
        change.ends[0].because.to_string(),
        "the leader key is gone; pg-1 was the last to hold it"
    );
}

#[test]
fn a_verdict_is_told_when_it_changes_with_the_reason() {
    let mut world = settled();
    world.node("pg-1").rest = Ok(Document::new("pg-1", 200, "primary", "stopping"));
    world.ask("pg-1");
    let told: Vec<Verdict> = verdicts(&world.look());
    assert_eq!(told.len(), 1, "of one listener");
    assert!(told[0].to_string().starts_with("holding: pg-1"), "{told:?}");
    assert_eq!(verdicts(&world.look()), []);
}

#[test]
fn an_alarm_is_told_when_it_begins_and_when_it_is_over() {
    let tcp = |host| Address::Tcp(SocketAddr::from(([10, 0, 0, host], 5432)));
    let socket = |port| Address::in_directory("/run/pg", port);
    for [two, three] in [[tcp(2), tcp(3)], [socket(5432), socket(5433)]] {
        let mut world = settled();
        world.addresses.insert("pg-2".into(), two.clone());
        world.addresses.insert("pg-3".into(), three.clone());
        let _ = world.look();
        world.addresses.insert("pg-2".into(), three);
        let alarm = Alarm::SharedAddress("pg-2".into(), "pg-3".into());
        assert!(world.look().events.contains(&Event::Alarm(alarm.clone())));
        assert_eq!(world.look(), Change::default());
        world.addresses.insert("pg-2".into(), two);
        assert!(world.look().events.contains(&Event::AlarmOver(alarm)));
    }
}

fn verdicts(change: &Change) -> Vec<Verdict> {
    let verdict = |event: &Event| match event {
        Event::Verdict { verdict, .. } => Some(verdict.clone()),
        Event::Leader(_) | Event::Place { .. } | Event::Alarm(_) | Event::AlarmOver(_) => None,
    };
    change.events.iter().filter_map(verdict).collect()
}
