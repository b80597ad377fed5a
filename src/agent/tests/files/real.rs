//! The real server with what is written for it.

use std::fs;

use trunkline_agent::postgres::trial;
use trunkline_agent::postgres::{binaries::Binaries, control};
use trunkline_core::ha::action::Mode;
use trunkline_core::postgres::{ControlData, ControlState, MajorVersion};

use crate::node::{Place, leader};

/// Asks the server itself, as the user it accepts, with the whole command line.
fn value(node: &Place, parameter: &str, arguments: &[std::ffi::OsString]) -> String {
    let mut command = node.run("postgres", &["-C", parameter]);
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{parameter}: {output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

#[tokio::test]
async fn postgresql_reads_back_what_was_written_for_a_standby() {
    let mut node = Place::with_data();
    node.agent.pgpass = node.data().parent().unwrap().join("it's a \\ pgpass");
    let mut asked = node.settings(&[
        ("max_connections", "50"),
        ("shared_buffers", "32MB"),
        ("log_line_prefix", "it's %m \\ 'q' "),
    ]);
    asked
        .recovery
        .insert("restore_command".to_owned(), "cp '/a b/%f' %p".to_owned());
    let mode = Mode::Standby(Some(leader()));
    let files = node.files();
    let written = files
        .write_for(&asked, &mode, node.version(), None)
        .await
        .unwrap();
    assert_eq!(written.warnings, [""; 0]);
    node.give_to_postgres();
    let arguments = files.command_line(&asked, None);
    let value = |parameter| value(&node, parameter, &arguments);
    assert_eq!(value("max_connections"), "50");
    assert_eq!(value("shared_buffers"), "4096");
    assert_eq!(value("log_line_prefix"), "it's %m \\ 'q' ".trim_end());
    assert_eq!(value("restore_command"), "cp '/a b/%f' %p");
    assert_eq!(value("recovery_target_timeline"), "latest");
    assert_eq!(value("primary_slot_name"), "pg_1");
    assert_eq!(value("cluster_name"), "demo");
    let conninfo = value("primary_conninfo");
    let expected = format!(
        "passfile={}/it\\'s\\ a\\ \\\\\\ pgpass host=127.0.0.2 port=20432 ",
        node.data().parent().unwrap().display()
    );
    assert!(conninfo.contains(&expected), "{conninfo}");
}

#[tokio::test]
async fn every_version_this_machine_has_starts_and_stops_with_it() {
    let node = Place::with_data();
    let sockets = node.data().parent().unwrap().join("sockets");
    let mut asked = node.settings(&[
        ("unix_socket_directories", sockets.to_str().unwrap()),
        ("listen_addresses", "*"),
        ("no_such_thing", "1"),
    ]);
    asked.pg_hba = Some(vec!["local all all trust".to_owned()]);
    let files = node.files();
    files.make_directories(&asked).unwrap();
    let written = files
        .write_for(&asked, &Mode::Primary, node.version(), None)
        .await
        .unwrap();
    assert_eq!(written.warnings.len(), 1, "{:?}", written.warnings);
    node.give_to_postgres();
    // Single-user mode is a whole start and a whole shutdown, without a port.
    let mut command = node.run("postgres", &["--single"]);
    let output = command
        .args(files.command_line(&asked, None))
        .arg("postgres")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let binaries = Binaries::of(&node.agent);
    let control = control::read(&binaries, &node.data()).await.unwrap();
    assert_eq!(control.state, ControlState::ShutDown);
    assert!(control.wal_log_hints, "as the command line said");
}

#[tokio::test]
async fn a_standby_is_started_with_what_its_primary_had() {
    let node = Place::with_data();
    let binaries = Binaries::of(&node.agent);
    let control = ControlData {
        max_connections: 300,
        ..control::read(&binaries, &node.data()).await.unwrap()
    };
    let asked = node.settings(&[("max_connections", "50")]);
    let files = node.files();
    let mode = Mode::Standby(None);
    let written = files
        .write_for(&asked, &mode, node.version(), Some(&control))
        .await
        .unwrap();
    let raised: Vec<_> = written.raised.iter().map(|raised| raised.name).collect();
    assert_eq!(raised, ["max_connections"]);
    assert_eq!(
        written.parameters["max_connections"], "50",
        "what it is compared with later is what is configured"
    );
    assert!(
        node.text("postgresql.conf")
            .contains("max_connections = '300'")
    );
    let arguments = files.command_line(&asked, Some(&control));
    assert!(
        arguments
            .iter()
            .any(|argument| argument == "--max_connections=300")
    );
    let configuration = files.configuration();
    let data = node.data();
    let after_a_restart =
        trial::configured(&binaries, &data, &configuration, "max_connections").await;
    assert_eq!(after_a_restart.as_deref(), Some("300"));
    let unknown = trial::configured(&binaries, &data, &configuration, "no_such_thing").await;
    assert_eq!(unknown, None);
    assert!(node.version() >= MajorVersion::OLDEST);
    assert!(fs::metadata(node.data().join("standby.signal")).is_ok());
}
