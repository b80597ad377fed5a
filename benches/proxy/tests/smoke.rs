//! Every workload once, tiny: against a direct connection and the router this tree builds. The figures mean nothing;
//! that there are any, and that every byte came back, does.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const BENCH: &str = env!("CARGO_BIN_EXE_trunkline-bench");

/// The router beside our own program: `make test` builds both before it runs anything.
fn trunkline() -> PathBuf {
    let router = Path::new(BENCH).with_file_name("trunkline");
    assert!(
        router.is_file(),
        "there is no {}: `cargo build -p trunkline` first",
        router.display()
    );
    router
}

#[test]
fn every_workload_runs_through_the_router_and_direct() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("figures.json");
    let mut command = Command::new(BENCH);
    command.arg("--trunkline").arg(trunkline());
    command.arg("--json").arg(&file);
    let tiny = "--haproxy none --rounds 1 --attempts 1 --window 0.2 --warm-up 0.05 --scale 1 \
                --idle-sessions 50 --idle-seconds 0.5";
    let output = command.args(tiny.split_whitespace()).output().unwrap();
    let (told, complaints) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    // A machine that runs tests is noisy, and fifty sessions of a debug build may cost what they like.
    let code = output.status.code();
    assert!(matches!(code, Some(0..=2)), "{code:?}\n{told}{complaints}");
    // A path is as long as it is.
    let tables = told.lines().filter(|line| !line.contains("/trunkline"));
    let longest = tables.map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{longest:?}: {told}");

    let document: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let workloads = document["workloads"].as_array().unwrap();
    assert_eq!(workloads.len(), 8, "{document:#}");
    for workload in workloads {
        let figures = workload["figures"].as_array().unwrap();
        let of = |contender: &str| -> Vec<f64> {
            let entries = figures
                .iter()
                .flat_map(|it| it["entries"].as_array().unwrap());
            let of_it = entries.filter(|entry| entry["contender"] == contender);
            of_it
                .map(|entry| entry["of_rounds"]["median"].as_f64().unwrap())
                .collect()
        };
        let name = workload["name"].as_str().unwrap();
        assert_eq!(of("trunkline").len(), figures.len(), "{workload:#}");
        // Idle sessions have nothing that must be above zero, and no direct connection.
        if !["memory", "idle"].contains(&name) {
            assert!(of("trunkline").iter().all(|it| *it > 0.0), "{workload:#}");
            assert!(
                !of("direct").is_empty() && of("direct")[0] > 0.0,
                "{workload:#}"
            );
        }
    }
}

#[test]
fn what_cannot_be_measured_is_said_in_one_sentence() {
    for (arguments, said) in [
        (
            "--trunkline /nonexistent",
            "there is no trunkline at /nonexistent",
        ),
        (
            "--only nothing",
            "--only names no workload; there are bulk-down",
        ),
        (
            "--haproxy /nonexistent",
            "there is no HAProxy at /nonexistent",
        ),
    ] {
        let mut command = Command::new(BENCH);
        if !arguments.contains("--trunkline") {
            command.arg("--trunkline").arg(trunkline());
        }
        let output = command.args(arguments.split_whitespace()).output().unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{complaints}");
        assert!(complaints.contains(said), "{complaints}");
    }
}
