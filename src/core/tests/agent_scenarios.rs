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

use std::fs;
use std::path::{Path, PathBuf};

use agent_scenarios_runner::reached::Reached;
use agent_scenarios_runner::script;

#[test]
fn every_scenario_ends_as_it_is_written() {
    let update = std::env::var("UPDATE").is_ok();
    let mut wrong = Vec::new();
    for (path, text) in scenarios() {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let played = script::play(&name, &text, &mut Reached::default());
        if played.contains(script::PROBLEM) {
            wrong.push(format!("{name}\n{played}"));
        }
        if update && played != text {
            fs::write(&path, &played).expect("the scenario can be written");
        } else if played != text {
            wrong.push(format!("{name}\n{}", script::difference(&text, &played)));
        }
    }
    assert!(
        wrong.is_empty(),
        "scenarios that ended otherwise:\n\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_action_job_and_reason_is_reached_by_a_scenario() {
    let mut reached = Reached::default();
    for (path, text) in scenarios() {
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
    for (path, _) in scenarios() {
        let stem = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let plain = stem
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        assert!(
            plain && stem.split('_').count() >= 4,
            "{stem} is no sentence"
        );
    }
}

/// Every scenario with its text, in the order of their names.
fn scenarios() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agent_scenarios");
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of the scenarios")
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scenario in {}", folder.display());
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a scenario is text");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}
