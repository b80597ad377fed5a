//! The house rules that a machine can check.

#![expect(
    clippy::unwrap_used,
    reason = "a file of the tree that cannot be read fails the test"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// The longest a source file may be.
const LONGEST: usize = 500;
/// Module names that say nothing about what is inside.
const SAYS_NOTHING: [&str; 7] = [
    "common", "handler", "helper", "helpers", "manager", "misc", "utils",
];

#[test]
fn no_source_file_is_longer_than_five_hundred_lines() {
    offenders("too long", |_, text| text.lines().count() > LONGEST);
}

#[test]
fn every_source_file_begins_by_saying_what_it_is_for() {
    offenders("without a //! header", |_, text| !text.starts_with("//! "));
}

#[test]
fn modules_are_files_named_after_what_they_hold() {
    offenders("badly named", |path, _| {
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        // What several test programs share has to be a folder: a file of its own would be one more program.
        let shared_by_tests = path.components().any(|part| part.as_os_str() == "tests");
        (stem == "mod" && !shared_by_tests) || SAYS_NOTHING.contains(&stem)
    });
}

#[test]
fn core_imports_nothing_that_touches_the_world() {
    let touches = [
        "tokio",
        "std::net::Tcp",
        "std::fs",
        "std::env::",
        "std::thread",
        "std::process",
    ];
    offenders("core touching the world", |path, text| {
        path.starts_with("src/core")
            && !path.starts_with("src/core/tests")
            && text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .any(|line| touches.iter().any(|word| line.contains(word)))
    });
}

#[test]
fn every_metric_is_named_in_one_file() {
    offenders("naming a metric elsewhere", |path, text| {
        let shipped = path.starts_with("src") && !path.to_string_lossy().contains("tests");
        shipped
            && path.file_name().is_none_or(|name| name != "metrics.rs")
            && ["counter!(", "gauge!(", "histogram!("]
                .iter()
                .any(|call| text.contains(call))
    });
}

#[test]
fn scenario_files_are_named_by_sentences() {
    let directory = root().join("src/core/tests/scenarios");
    let files = fs::read_dir(&directory).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let scripts = names.filter(|name| name.ends_with(".txt"));
    let bad: Vec<_> = scripts
        .filter(|name| name.matches('_').count() < 3)
        .collect();
    assert!(bad.is_empty(), "no sentence: {bad:?}");
}

/// Fails with the list of the source files that `is_bad` finds.
fn offenders(what: &str, is_bad: impl Fn(&Path, &str) -> bool) {
    let root = root();
    let bad: Vec<PathBuf> = sources(&root)
        .into_iter()
        .filter(|path| {
            let text = fs::read_to_string(path).unwrap();
            is_bad(path.strip_prefix(&root).unwrap(), &text)
        })
        .collect();
    assert!(bad.is_empty(), "{what}: {bad:#?}");
}

fn sources(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = ["src", "tests", "benches"]
        .map(|directory| root.join(directory))
        .into();
    while let Some(directory) = left.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(
        found.len() > 20,
        "the sources are not where they should be: {found:?}"
    );
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
