//! What stands in a data directory.

use std::fs;
use std::os::unix::fs::symlink;

use trunkline_agent::postgres::binaries::{Binaries, version_of};
use trunkline_agent::postgres::{control, directory};
use trunkline_core::postgres::{ControlState, DataDirectory};

use crate::node::Place;

fn unusable(node: &Place) -> String {
    match directory::observe(&node.agent) {
        DataDirectory::Unusable(words) => words,
        other @ (DataDirectory::Empty | DataDirectory::Present { .. }) => panic!("{other:?}"),
    }
}

#[test]
fn a_directory_that_is_missing_or_new_is_empty() {
    let node = Place::new();
    assert_eq!(directory::observe(&node.agent), DataDirectory::Empty);
    fs::create_dir_all(node.data().join("lost+found")).unwrap();
    fs::write(node.data().join(".snapshot"), "").unwrap();
    assert_eq!(directory::observe(&node.agent), DataDirectory::Empty);
}

#[test]
fn anything_else_that_is_no_cluster_of_files_is_left_alone_with_the_reason() {
    let node = Place::new();
    fs::write(node.data(), "a file").unwrap();
    assert!(unusable(&node).contains("Not a directory"));
    fs::remove_file(node.data()).unwrap();

    symlink("/nowhere/at/all", node.data()).unwrap();
    assert!(unusable(&node).contains("No such file"));
    fs::remove_file(node.data()).unwrap();

    fs::create_dir(node.data()).unwrap();
    fs::write(node.data().join("letters.txt"), "dear").unwrap();
    assert!(unusable(&node).contains("is not empty and has no PG_VERSION"));
    fs::write(node.data().join("PG_VERSION"), "15").unwrap();
    assert!(unusable(&node).contains("has no global/pg_control"));
}

#[test]
fn what_makes_postgresql_recover_is_seen() {
    let node = Place::with_data();
    let seen = |signal, backup_label| DataDirectory::Present {
        signal,
        backup_label,
        follows: None,
    };
    assert_eq!(directory::observe(&node.agent), seen(false, false));
    for signal in ["standby.signal", "recovery.signal", "recovery.conf"] {
        fs::write(node.data().join(signal), "").unwrap();
        assert_eq!(
            directory::observe(&node.agent),
            seen(true, false),
            "{signal}"
        );
        fs::remove_file(node.data().join(signal)).unwrap();
    }
    fs::write(node.data().join("backup_label"), "").unwrap();
    fs::write(
        node.data().join("postgresql.conf"),
        b"\xff\x00primary_conninfo",
    )
    .unwrap();
    assert_eq!(directory::observe(&node.agent), seen(false, true));
}

#[tokio::test]
async fn the_control_file_of_a_new_cluster_is_read() {
    let node = Place::with_data();
    let binaries = Binaries::of(&node.agent);
    let read = control::read(&binaries, &node.data()).await.unwrap();
    assert_eq!(read.state, ControlState::ShutDown);
    assert_eq!(read.max_connections, 100);
}

#[tokio::test]
async fn a_damaged_control_file_is_said_and_nothing_in_it_is_believed() {
    let node = Place::with_data();
    let file = node.data().join("global/pg_control");
    let mut bytes = fs::read(&file).unwrap();
    bytes[40] ^= 0xff;
    fs::write(&file, &bytes).unwrap();
    let binaries = Binaries::of(&node.agent);
    let error = control::read(&binaries, &node.data()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the checksum of pg_control does not match"),
        "{error}"
    );
    fs::write(&file, b"").unwrap();
    let error = control::read(&binaries, &node.data()).await.unwrap_err();
    assert!(
        error.to_string().contains("pg_controldata failed"),
        "{error}"
    );
}

#[tokio::test]
async fn programs_and_data_of_different_versions_are_said() {
    let mut node = Place::with_data();
    let version = node.version();
    let binaries = Binaries::of(&node.agent);
    assert_eq!(binaries.version_for(&node.data()).await.unwrap(), version);

    fs::write(node.data().join("PG_VERSION"), "14\n").unwrap();
    let error = binaries.version_for(&node.data()).await.unwrap_err();
    assert!(
        error.to_string().contains("is of PostgreSQL 14, "),
        "{error}"
    );
    fs::write(node.data().join("PG_VERSION"), "9.6\n").unwrap();
    let error = version_of(&node.data()).unwrap_err();
    assert!(error.to_string().contains("13 to 18 are"), "{error}");
    fs::remove_file(node.data().join("PG_VERSION")).unwrap();
    let error = version_of(&node.data()).unwrap_err();
    assert!(
        error.to_string().contains("PG_VERSION: No such file"),
        "{error}"
    );

    node.agent
        .bin_name
        .insert("postgres".to_owned(), "psql".to_owned());
    let named = Binaries::of(&node.agent).path("postgres");
    assert!(named.ends_with("psql"), "{}", named.display());
    node.agent.bin_dir = Some("/nowhere".into());
    let error = Binaries::of(&node.agent).version().await.unwrap_err();
    assert!(
        error.to_string().contains("postgresql.bin_dir must be"),
        "{error}"
    );
    node.agent.bin_dir = None;
    node.agent
        .bin_name
        .insert("postgres".to_owned(), "true".to_owned());
    let error = Binaries::of(&node.agent).version().await.unwrap_err();
    assert!(
        error.to_string().contains("names no version of PostgreSQL"),
        "{error}"
    );
}
