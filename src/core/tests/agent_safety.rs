//! The agent's promises A1, A2, A4, A5 and A7 (architecture, the agent), each a test named after it; and that every
//! cycle ends.
//!
//! Anything happens in any order, and after each step of each cycle a [`Witness`] that was written from the promises,
//! not from the decision, holds what was decided against what was seen.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the witness names what a promise is about; of everything else it says nothing"
)]

mod agent_safety_witness;
mod agent_world;

use agent_safety_witness::events::{Event, any_event, happen};
use agent_safety_witness::{Promise, Witness};
use agent_world::{MOST_STEPS, World};
use proptest::collection::vec;
use proptest::prelude::*;
use trunkline_core::ha::Action;

/// Plays the events, a cycle after each; the first broken promise of these kinds is told.
fn play(world: &mut World, events: &[Event], of: &[Promise]) -> Result<(), String> {
    let mut witness = Witness::default();
    for (number, event) in events.iter().enumerate() {
        happen(event, world);
        if world.exited.is_some() {
            return Ok(());
        }
        let steps = world.cycle();
        let told = |problem: String| format!("{problem}\nafter {:#?}", &events[..=number]);
        for (snapshot, decision, outcome) in &steps {
            witness
                .attest(snapshot, decision, outcome, of)
                .map_err(told)?;
        }
        let last = steps.last().expect("a step");
        if !matches!(last.1.action, Action::Rest | Action::Exit(_)) {
            let actions: Vec<String> = steps
                .iter()
                .map(|(_, decision, _)| format!("{:?}: {}", decision.action, decision.reason))
                .collect();
            return Err(told(format!(
                "{MOST_STEPS} steps came to no end: {actions:#?}"
            )));
        }
        if last.1.action == Action::Rest && last.1.look_again <= last.0.now {
            return Err(told(format!(
                "it rests until a moment that has passed: {}",
                last.1.reason
            )));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Every cycle comes to an end, whatever its actions come to.
    #[test]
    fn every_cycle_ends_in_rest(events in vec(any_event(), 1..60)) {
        prop_assert_eq!(play(&mut World::new(), &events, &[]), Ok(()));
    }

    /// A1: who may write without a lock that is certain is stopped before anything else is done.
    #[test]
    fn a1_nobody_writes_beyond_its_lock(events in vec(any_event(), 1..60)) {
        prop_assert_eq!(play(&mut World::new(), &events, &[Promise::A1]), Ok(()));
    }

    /// A2: nobody is promoted but by the rules.
    #[test]
    fn a2_promotion_only_by_the_rules(events in vec(any_event(), 1..60)) {
        prop_assert_eq!(play(&mut World::new(), &events, &[Promise::A2]), Ok(()));
    }

    /// A4: a switchover that is planned loses nothing.
    #[test]
    fn a4_a_switchover_lets_go_only_of_what_somebody_has(events in vec(any_event(), 1..60)) {
        prop_assert_eq!(play(&mut World::new(), &events, &[Promise::A4]), Ok(()));
    }

    /// A5: data that is not proven to be the cluster's is not touched, and none is wiped unasked.
    #[test]
    fn a5_no_data_is_damaged(events in vec(any_event(), 1..60)) {
        prop_assert_eq!(play(&mut World::new(), &events, &[Promise::A5]), Ok(()));
    }

    /// A7: trouble with etcd alone stops no healthy primary before it has to.
    #[test]
    fn a7_etcd_trouble_stops_nobody_too_early(events in vec(any_event(), 1..60)) {
        prop_assert_eq!(play(&mut World::new(), &events, &[Promise::A7]), Ok(()));
    }
}

/// Found once in some thousand cases: the witness took the view's word against the agent's own.
#[test]
fn a_lock_that_was_let_go_is_free_whatever_the_view_still_shows() {
    let events = [
        Event::Primary,
        Event::Mood(5),
        Event::Wait(500),
        Event::Unidentified,
        Event::Down(0),
        Event::Primary,
    ];
    assert_eq!(play(&mut World::new(), &events, &[Promise::A2]), Ok(()));
}

/// Found once in some ten thousand cases: the witness took what a renewal was told before that for the last word.
#[test]
fn a_lock_that_is_won_again_in_the_cycle_that_lost_it_is_certain() {
    let events = [
        Event::Found,
        Event::Primary,
        Event::Mood(5),
        Event::Wait(31_000),
        Event::JobDone,
        Event::JobDone,
    ];
    assert_eq!(play(&mut World::new(), &events, &[Promise::A1]), Ok(()));
}
