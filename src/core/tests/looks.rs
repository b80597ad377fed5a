//! What a look finds that no scenario prints: of when the evidence for a leader is, and what stays remembered of a
//! member.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]

mod world;

use std::time::Duration;

use trunkline_core::config::router::{Bind, Listener, To};
use trunkline_core::probe::{Accepts, NoAnswer};
use trunkline_core::{MemberName, Moment};
use world::World;
use world::node::Document;

/// pg-1 leads and is proven; one write listener.
fn led() -> World {
    let mut world = World::new();
    let write = Listener::new("write", vec![Bind::any(5000)], To::Primary);
    world.cluster.listeners.push(write);
    for name in ["pg-1", "pg-2"] {
        world.add_member(name);
    }
    world.lock("pg-1");
    world.node("pg-1").rest = Ok(Document::new("pg-1", 200, "primary", "running"));
    world.run(Duration::from_secs(3));
    world
}

/// Of when the write pool's evidence is that its target accepts.
fn evidence(world: &World) -> Moment {
    let table = world.table.as_ref().expect("the router looked");
    table.pools[0].evidence.expect("a pool for the leader")
}

#[test]
fn the_evidence_for_a_leader_is_of_when_it_was_asked_not_of_when_it_is_looked_at() {
    let mut world = led();
    let asked = world.now;
    world.pinged("pg-1", asked);
    world.wait(Duration::from_millis(400));
    let _ = world.look();
    assert_eq!(evidence(&world), asked);
}

#[test]
fn a_rest_api_that_answers_sooner_does_not_speak_for_a_postgresql_that_was_asked_too() {
    let mut world = led();
    assert_eq!(evidence(&world), Moment::BOOT, "PostgreSQL was never asked");
    let doubted = world.now;
    world.pinged("pg-1", doubted);
    world.wait(Duration::from_millis(10));
    world.ask("pg-1");
    let _ = world.look();
    assert_eq!(
        evidence(&world),
        doubted,
        "the REST API alone was asked since"
    );
}

#[test]
fn the_evidence_for_a_leader_with_a_silent_rest_api_is_postgresqls_own_answer() {
    let mut world = led();
    world.node("pg-1").rest = Err(NoAnswer::TimedOut);
    world.run(Duration::from_secs(2));
    let asked = world.now;
    world.wait(Duration::from_millis(400));
    let _ = world.look();
    assert_eq!(evidence(&world), asked);

    world.node("pg-1").accepts = Ok(Accepts::NotNow);
    world.run(Duration::from_secs(1));
    assert_eq!(evidence(&world), Moment::BOOT, "it does not accept");
}

#[test]
fn an_address_that_cannot_be_read_any_more_is_the_one_that_could() {
    let mut world = led();
    let name = MemberName::from("pg-2");
    let before = world.ledger().members()[&name].published.clone();
    assert!(before.conn.is_some() && before.api.is_some());
    for field in ["conn_url", "api_url"] {
        let nonsense = serde_json::Value::from("nonsense");
        world
            .node("pg-2")
            .publishes
            .insert(field.to_owned(), nonsense);
    }
    world.publish("pg-2");
    world.run(Duration::from_secs(1));
    let published = &world.ledger().members()[&name].published;
    assert_eq!(published.conn, before.conn);
    assert_eq!(published.api, before.api);
}

#[test]
fn an_answer_from_before_the_lock_moved_or_went_is_asked_for_again_at_once() {
    let mut world = led();
    let not_before = |world: &World| {
        let table = world.table.as_ref().expect("the router looked");
        table.members[&MemberName::from("pg-2")].not_before
    };
    world.wait(Duration::from_millis(100));
    world.lock("pg-2");
    let _ = world.look();
    assert_eq!(not_before(&world), world.now);
    let moved = world.now;
    world.wait(Duration::from_millis(100));
    let _ = world.look();
    assert_eq!(not_before(&world), moved);
    world.etcd.delete("leader");
    let _ = world.look();
    assert_eq!(not_before(&world), world.now);
}
