//! Scripted situations: what happens to a node and its cluster, and what its agent does.
//!
//! Every `agent_scenarios/*.txt` is a sentence about behaviour for a name, and a script: what happens, `----`, the
//! steps of the agent's next cycle. `UPDATE=1 cargo test -p trunkline-core --test agent_scenarios` writes down what
//! is decided now; read the diff before you believe it. The language stands in `agent_scenarios/README.md`.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the world names what it models; that all variants are reached is what is tested"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the scenarios are files, and UPDATE is a variable"
)]

mod agent_scenarios_runner;
mod agent_world;
mod scripts;

use agent_scenarios_runner::reached::Reached;
use agent_scenarios_runner::script;

/// Where they are, in this crate.
const FOLDER: &str = "tests/agent_scenarios";

#[test]
fn every_scenario_ends_as_it_is_written() {
    scripts::end_as_written(FOLDER, |name, text| {
        script::play(name, text, &mut Reached::default())
    });
}

#[test]
fn every_action_job_and_reason_is_reached_by_a_scenario() {
    let mut reached = Reached::default();
    for (path, text) in scripts::all(FOLDER) {
        let _ = script::play(&path.to_string_lossy(), &text, &mut reached);
    }
    let missing = reached.missing();
    assert!(
        missing.is_empty(),
        "no scenario reaches {}",
        missing.join(", ")
    );
}

#[test]
fn the_name_of_a_scenario_is_a_sentence() {
    scripts::have_sentences_for_names(FOLDER);
}
