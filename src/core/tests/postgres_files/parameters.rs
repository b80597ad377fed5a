//! The parameters that are the agent's to set, and the small files.

use trunkline_core::postgres::control::ControlData;
use trunkline_core::postgres::{enforced, files, recovery};

use crate::node::{node, settings, text};

fn value_and_warnings(name: &str, asked: &str) -> (String, Vec<String>) {
    let (parameters, warnings) = enforced::in_force(&node(3), &settings(&[(name, asked)]));
    (parameters[name].clone(), warnings)
}

#[test]
fn what_is_enforced_has_its_default_where_nothing_is_said() {
    let (parameters, warnings) = enforced::in_force(&node(3), &settings(&[]));
    assert_eq!(warnings, [""; 0]);
    let expected = text(&[
        ("cluster_name", "demo"),
        ("hot_standby", "on"),
        ("listen_addresses", "127.0.0.3"),
        ("max_connections", "100"),
        ("max_locks_per_transaction", "64"),
        ("max_prepared_transactions", "0"),
        ("max_replication_slots", "10"),
        ("max_wal_senders", "10"),
        ("max_worker_processes", "8"),
        ("port", "20433"),
        ("track_commit_timestamp", "off"),
        ("wal_keep_size", "128MB"),
        ("wal_level", "replica"),
        ("wal_log_hints", "on"),
    ]);
    assert_eq!(parameters, expected);
    assert!(parameters.keys().all(|name| enforced::is_enforced(name)));
}

#[test]
fn the_least_that_is_possible_is_taken_and_one_less_is_refused() {
    for (name, least, default) in [
        ("max_connections", 25, "100"),
        ("max_wal_senders", 3, "10"),
        ("max_prepared_transactions", 0, "0"),
        ("max_locks_per_transaction", 32, "64"),
        ("max_replication_slots", 4, "10"),
        ("max_worker_processes", 2, "8"),
    ] {
        let (value, warnings) = value_and_warnings(name, &least.to_string());
        assert_eq!((value, warnings.len()), (least.to_string(), 0), "{name}");
        let (value, warnings) = value_and_warnings(name, &(least - 1).to_string());
        assert_eq!((value.as_str(), warnings.len()), (default, 1), "{name}");
    }
}

#[test]
fn a_bad_value_falls_back_to_the_default_with_a_sentence() {
    for (name, bad, default) in [
        ("hot_standby", "off", "on"),
        ("wal_level", "minimal", "replica"),
        ("track_commit_timestamp", "perhaps", "off"),
        ("wal_log_hints", "", "on"),
        ("max_connections", "many", "100"),
        ("wal_keep_size", "15MB", "128MB"),
        ("wal_keep_size", "5min", "128MB"),
    ] {
        let (value, warnings) = value_and_warnings(name, bad);
        assert_eq!(value, default, "{name}");
        let sentence = format!("postgresql.parameters.{name}: `{bad}` is not possible (");
        assert!(warnings[0].starts_with(&sentence), "{warnings:?}");
    }
}

#[test]
fn other_spellings_become_postgresqls_own() {
    for (name, asked, value) in [
        ("wal_level", "hot_standby", "replica"),
        ("wal_log_hints", "False", "off"),
        ("track_commit_timestamp", "1", "on"),
        ("max_connections", "0x40", "64"),
        ("wal_keep_size", "1GB", "1GB"),
    ] {
        assert_eq!(value_and_warnings(name, asked), (value.to_owned(), vec![]));
    }
}

#[test]
fn segments_of_old_versions_become_a_size() {
    for (segments, size) in [("8", "128MB"), ("1", "16MB"), ("64", "1024MB")] {
        let asked = settings(&[("wal_keep_segments", segments)]);
        let (parameters, warnings) = enforced::in_force(&node(3), &asked);
        assert_eq!(
            (parameters["wal_keep_size"].as_str(), warnings.len()),
            (size, 0)
        );
        assert!(!parameters.contains_key("wal_keep_segments"));
    }
    let asked = settings(&[("wal_keep_segments", "0")]);
    assert_eq!(enforced::in_force(&node(3), &asked).1.len(), 1);
}

#[test]
fn nothing_slips_by_in_capitals_or_under_a_name_that_is_none() {
    let asked = settings(&[
        ("PORT", "1"),
        ("Primary_Conninfo", "host=evil"),
        ("data_directory", "/elsewhere"),
        ("recovery_target_time", "now"),
        ("x = '1'\nfsync", "off"),
        ("a.b.c", "1"),
    ]);
    let (parameters, warnings) = enforced::in_force(&node(3), &asked);
    assert_eq!(parameters["port"], "20433");
    assert_eq!(parameters.len(), 14, "{parameters:?}");
    assert_eq!(warnings.len(), 5, "{warnings:?}");
}

#[test]
fn a_standby_has_at_least_what_the_primary_had() {
    let printed = include_str!("../fixtures/postgres/pg_controldata-15.txt");
    let control = ControlData {
        max_connections: 200,
        max_wal_senders: 10,
        max_prepared_transactions: 7,
        ..ControlData::parse(printed.as_bytes()).unwrap()
    };
    let (mut parameters, _) = enforced::in_force(&node(3), &settings(&[("max_connections", "50")]));
    let raised: Vec<_> = enforced::raise(&mut parameters, &control)
        .into_iter()
        .map(|raised| (raised.name, raised.configured, raised.used))
        .collect();
    assert_eq!(
        raised,
        [
            ("max_connections", "50".to_owned(), "200".to_owned()),
            ("max_prepared_transactions", "0".to_owned(), "7".to_owned()),
        ]
    );
    assert_eq!(parameters["max_connections"], "200");
    assert_eq!(parameters["max_worker_processes"], "8");
}

#[test]
fn a_recovery_target_is_never_the_operators() {
    let mut settings = settings(&[]);
    settings.recovery = text(&[
        ("restore_command", "cp /a/%f %p"),
        ("recovery_target_time", "2026-01-01"),
        ("recovery_target_action", "promote"),
        ("primary_slot_name", "mine"),
    ]);
    let version = trunkline_core::postgres::MajorVersion::OLDEST;
    let section = recovery::section(&node(3), &settings, None, version);
    assert_eq!(section["restore_command"], "cp /a/%f %p");
    assert_eq!(section["recovery_target_time"], "");
    assert_eq!(section.len(), 7, "{section:?}");
}

#[test]
fn what_tools_left_about_recovery_goes_from_the_automatic_file_and_nothing_else() {
    let auto = "# Do not edit this file manually!\nwork_mem = '8MB'\nprimary_conninfo = 'host=a'\n \
                Recovery_Target_Timeline = 'current'\nrestore_command='x'\npromote_trigger_file = 'y'\n\
                primary_conninfoX = '1'\nlast = 'line'";
    assert_eq!(
        recovery::scrub(auto).unwrap(),
        "# Do not edit this file manually!\nwork_mem = '8MB'\nprimary_conninfoX = '1'\nlast = 'line'"
    );
    assert_eq!(recovery::scrub("work_mem = '8MB'\n"), None);
}

#[test]
fn a_password_file_has_a_line_a_host_and_escapes_what_would_end_a_field() {
    assert_eq!(
        files::pgpass(&["::1", "/run/pg"], 5432, "re:pl", r"p:a\s").unwrap(),
        "\\:\\:1:5432:*:re\\:pl:p\\:a\\\\s\n/run/pg:5432:*:re\\:pl:p\\:a\\\\s\nlocalhost:5432:*:re\\:pl:p\\:a\\\\s\n"
    );
    assert!(files::pgpass(&["h"], 1, "u", "p\nevil:1:*:u:p").is_err());
}

#[test]
fn hba_lines_stand_below_the_header_and_names_in_it_are_only_names() {
    let lines = ["local all all trust".to_owned(), "# x\n".to_owned()];
    assert_eq!(
        files::lines(&lines),
        format!("{}local all all trust\n# x\n", files::HEADER)
    );
    let own = ["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    assert_eq!(
        files::bootstrap_hba("all", "re\"pl icator", &own),
        format!(
            "{}local replication \"re\"\"pl icator\" trust\nlocal all \"all\" trust\n\
             host replication \"re\"\"pl icator\" 10.0.0.1/32 trust\nhost all \"all\" 10.0.0.1/32 trust\n\
             host replication \"re\"\"pl icator\" ::1/128 trust\nhost all \"all\" ::1/128 trust\n",
            files::HEADER
        )
    );
}
