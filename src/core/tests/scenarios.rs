//! Scripted situations: what happens to a cluster, and what the router makes of it.
//!
//! Every `scenarios/*.txt` is a sentence about behaviour for a name, and a script: what happens, `----`, what
//! the router decides then. `UPDATE=1 cargo test -p trunkline-core --test scenarios` writes down what it decides
//! now; read the diff before you believe it. The language stands in `scenarios/README.md`.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]
#![expect(
    clippy::disallowed_methods,
    reason = "the scenarios are files, and UPDATE is a variable"
)]

mod scenarios_runner;
mod scripts;
mod world;

use scenarios_runner::reached::Reached;
use scenarios_runner::script;

/// Where they are, in this crate.
const FOLDER: &str = "tests/scenarios";

#[test]
fn every_scenario_ends_as_it_is_written() {
    scripts::end_as_written(FOLDER, |name, text| {
        script::play(name, text, &mut Reached::default())
    });
}

#[test]
fn every_row_and_every_reason_is_reached_by_a_scenario() {
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
