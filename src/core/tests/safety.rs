//! The promises R1 to R6 of the specification, each a test named after it.
//!
//! Where a promise says "at no moment" or "never", anything happens in any order, and after each step a
//! [`Witness`] that keeps its own record of the evidence holds the router's decision against it.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]

mod safety_witness;
mod world;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use safety_witness::Witness;
use safety_witness::steps::{MEMBERS, Step, any_step, cluster, happen, led_cluster, says};
use trunkline_core::MemberName;
use trunkline_core::probe::{Accepts, NoAnswer};
use trunkline_core::route::{Residence, Row, Table, Verdict};
use world::World;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// R1, with what R3 to R6 say of every moment: whatever happens, the witness agrees.
    #[test]
    fn r1_one_write_target_and_never_without_live_proof(
        led in any::<bool>(),
        steps in vec(any_step(), 1..80),
    ) {
        let mut world = if led { led_cluster() } else { cluster() };
        let mut witness = Witness::default();
        let _ = world.look();
        prop_assert_eq!(witness.attest(&world), Ok(()));
        for (number, step) in steps.iter().enumerate() {
            // Running is taken apart, so that the witness sees every look.
            for step in taken_apart(step) {
                happen(&step, &mut world);
                let _ = world.look();
                if let Err(problem) = witness.attest(&world) {
                    let done = &steps[..=number];
                    prop_assert!(false, "{problem}\nafter {done:#?}\n{:#?}", world.table);
                }
            }
        }
    }

    /// R2: a router that comes into the middle of anything routes nobody before it has proof of its own.
    #[test]
    fn r2_nobody_is_routed_at_start_before_the_holder_is_proven(
        before in vec(any_step(), 1..40),
        after in vec(any_step(), 1..40),
        proofs in any::<bool>(),
    ) {
        let mut world = cluster();
        for step in &before {
            happen(step, &mut world);
        }
        let mut world = restarted(&world);
        // One of the two proofs it never gets, whatever else it learns.
        let withheld = |step: &Step| match proofs {
            true => matches!(step, Step::Run(_) | Step::Ask(_) | Step::Says(..) | Step::Foreign(_)),
            false => matches!(step, Step::Run(_) | Step::Prove),
        };
        for step in after.iter().filter(|step| !withheld(step)) {
            happen(step, &mut world);
            let _ = world.look();
            prop_assert!(!is_routing(&world), "after {step:?}: {:#?}", world.table);
        }
    }

    /// R3: the look that sees the lock in other hands ends every write session of the old target.
    #[test]
    fn r3_stale_sessions_end_when_the_lock_is_seen_in_other_hands(
        steps in vec(any_step(), 0..20),
        taker in 1..MEMBERS.len(),
    ) {
        let mut world = led_cluster();
        for step in &steps {
            happen(step, &mut world);
            let _ = world.look();
        }
        let lived: Vec<MemberName> = residents(&world);
        world.etcd.answers = true;
        world.lock(MEMBERS[taker]);
        let change = world.look();
        let new = MemberName::from(MEMBERS[taker]);
        for member in lived.into_iter().filter(|member| *member != new) {
            let ended = change.ends.iter().any(|end| end.target.member == member);
            prop_assert!(ended, "sessions on {member} live on: {change:#?}");
        }
        prop_assert!(residents(&world).iter().all(|member| *member == new));
    }

    /// R5: with no proof left, sessions end at D: not before, and not after.
    #[test]
    fn r5_sessions_end_at_the_deadline_when_no_proof_is_left(left in 5..30_u64) {
        let mut world = led_cluster();
        world.etcd.lease_ends = Some(world.now.after(Duration::from_secs(left)));
        world.prove();
        let deadline = world.now.after(Duration::from_millis(left * 990 - 1_000));
        world.etcd.answers = false;
        world.node("pg-1").rest = Err(NoAnswer::TimedOut);
        world.node("pg-1").accepts = Err(NoAnswer::TimedOut);
        let _ = world.look();
        // The moments the router asks to be woken at are enough: no ticking beside them.
        while world.now < deadline {
            prop_assert_eq!(residents(&world), vec![MemberName::from("pg-1")]);
            let again = table(&world).again;
            prop_assert!(again > world.now && again <= world.now.after(Duration::from_secs(1)));
            world.now = again;
            let _ = world.look();
        }
        prop_assert_eq!(world.now, deadline);
        prop_assert_eq!(residents(&world), vec![]);
    }
}

/// R4: a gap is held through, and the look that sees the new holder proven routes to it.
#[test]
fn r4_a_gap_is_held_through_and_ends_the_moment_the_new_holder_is_proven() {
    let mut world = led_cluster();
    says(&mut world, "pg-1", 200, "primary", "stopping");
    assert_held(&mut world, Row::NotRunning);
    world.wait(Duration::from_millis(500));
    world.etcd.delete("leader");
    assert_held(&mut world, Row::Gone);
    world.wait(Duration::from_millis(500));
    world.lock("pg-2");
    assert_held(&mut world, Row::OtherHolds);
    world.wait(Duration::from_millis(50));
    world.prove();
    says(&mut world, "pg-2", 200, "replica", "running");
    assert_held(&mut world, Row::OtherHolds);
    world.wait(Duration::from_millis(50));
    says(&mut world, "pg-2", 200, "primary", "running");
    let _ = world.look();
    assert!(is_routing(&world), "{:#?}", world.table);
    assert_eq!(table(&world).pools[0].targets[0].member.as_str(), "pg-2");
}

/// R4: the member everybody waits for is asked every 50 ms, so that proof is not what they wait for.
#[test]
fn r4_the_member_everybody_waits_for_is_asked_without_pause() {
    let mut world = led_cluster();
    world.wait(Duration::from_millis(300));
    world.lock("pg-2");
    let _ = world.look();
    let asks = table(&world).members[&MemberName::from("pg-2")];
    assert_eq!(asks.every, Duration::from_millis(50));
    assert_eq!(
        asks.not_before, world.now,
        "the last answer was asked for before the lock moved"
    );
}

/// R5: neither a silent etcd nor a silent REST API changes anything while another proof is fresh.
#[test]
fn r5_ignorance_changes_nothing_while_another_proof_is_fresh() {
    let mut etcd_silent = led_cluster();
    etcd_silent.etcd.answers = false;
    let mut rest_silent = led_cluster();
    rest_silent.node("pg-1").rest = Err(NoAnswer::TimedOut);
    for world in [&mut etcd_silent, &mut rest_silent] {
        // One look in doubt, in which PostgreSQL was not asked yet.
        world.run(Duration::from_secs(1));
        world.ask("pg-1");
        for _ in 0..120 {
            let _ = world.look();
            assert!(is_routing(world), "{:#?}", world.table);
            assert_eq!(residents(world), [MemberName::from("pg-1")]);
            world.wait(Duration::from_secs(1));
            world.prove();
            world.ask("pg-1");
        }
    }
}

/// R5: an answer that contradicts is no ignorance, and ends sessions where ignorance keeps them.
#[test]
fn r5_contradiction_is_no_ignorance() {
    for (code, role) in [(503, "primary"), (503, "replica"), (503, "standby_leader")] {
        let mut world = led_cluster();
        world.etcd.answers = false;
        world.run(Duration::from_secs(5));
        assert_eq!(residents(&world), [MemberName::from("pg-1")]);
        says(&mut world, "pg-1", code, role, "running");
        let _ = world.look();
        assert_eq!(residents(&world), [], "{role} {code}");
        assert!(!is_routing(&world));
    }
}

/// R6: whatever its REST API answers with, a primary that runs and holds a living lease is routed to.
#[test]
fn r6_a_sick_rest_api_is_not_an_outage() {
    for code in [200, 404, 429, 500, 502, 503] {
        let mut world = led_cluster();
        says(&mut world, "pg-1", code, "primary", "running");
        world.run(Duration::from_secs(5));
        assert!(is_routing(&world), "code {code}");
    }
    for cause in [
        NoAnswer::TimedOut,
        NoAnswer::Refused,
        NoAnswer::Failed("reset".into()),
    ] {
        let mut world = led_cluster();
        world.node("pg-1").rest = Err(cause.clone());
        world.run(Duration::from_secs(5));
        assert!(is_routing(&world), "{cause}");
        world.node("pg-1").accepts = Ok(Accepts::NotNow);
        world.run(Duration::from_secs(5));
        assert!(
            !is_routing(&world),
            "{cause}, and PostgreSQL does not accept"
        );
        assert_eq!(residents(&world), [MemberName::from("pg-1")], "{cause}");
    }
}

/// A run of seconds as what it is made of.
fn taken_apart(step: &Step) -> Vec<Step> {
    let Step::Run(seconds) = step else {
        return vec![step.clone()];
    };
    let second = [
        Step::Wait(1_000),
        Step::Prove,
        Step::Ask(0),
        Step::Ask(1),
        Step::Ask(2),
    ];
    (0..*seconds).flat_map(|_| second.clone()).collect()
}

/// The same world with a router that has just started.
fn restarted(world: &World) -> World {
    let mut fresh = World::new();
    fresh.cluster = world.cluster.clone();
    fresh.now = world.now.after(Duration::from_millis(1));
    fresh.etcd = world.etcd.clone();
    fresh.nodes = world.nodes.clone();
    fresh.addresses = world.addresses.clone();
    fresh
}

fn table(world: &World) -> &Table {
    world.table.as_ref().expect("the router looked")
}

fn is_routing(world: &World) -> bool {
    table(world).pools[0].verdict == Verdict::Route
}

/// Where write sessions may live.
fn residents(world: &World) -> Vec<MemberName> {
    let Some(table) = &world.table else {
        return Vec::new();
    };
    let lives = |residence: &Residence| match residence {
        Residence::Stay => true,
        Residence::Until(until) => *until > world.now,
        Residence::End => false,
    };
    let residents = table.pools[0]
        .residents
        .iter()
        .filter(|(_, residence)| lives(residence));
    residents.map(|(target, _)| target.member.clone()).collect()
}

fn assert_held(world: &mut World, row: Row) {
    let _ = world.look();
    assert_eq!(table(world).primary.row, row);
    assert!(
        matches!(table(world).pools[0].verdict, Verdict::Hold(_)),
        "{:#?}",
        world.table
    );
}
