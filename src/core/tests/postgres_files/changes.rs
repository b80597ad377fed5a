//! What a changed configuration means for a running server.

use trunkline_core::postgres::compare::{Context, Difference, Kind, Setting, compare};

use crate::node::text;

fn row(name: &str, setting: &str, unit: &str, context: &str, kind: &str) -> Setting {
    Setting {
        name: name.to_owned(),
        setting: setting.to_owned(),
        unit: (!unit.is_empty()).then(|| unit.to_owned()),
        context: Context::of(context),
        kind: Kind::of(kind),
    }
}

fn server() -> Vec<Setting> {
    vec![
        row("shared_buffers", "4096", "8kB", "postmaster", "integer"),
        row("max_connections", "100", "", "postmaster", "integer"),
        row("wal_level", "replica", "", "postmaster", "enum"),
        row("wal_buffers", "128", "8kB", "postmaster", "integer"),
        row("wal_segment_size", "16777216", "B", "internal", "integer"),
        row("archive_mode", "off", "", "postmaster", "enum"),
        row("hot_standby", "on", "", "postmaster", "bool"),
        row("checkpoint_timeout", "300", "s", "sighup", "integer"),
        row("random_page_cost", "1.1", "", "user", "real"),
        row("vacuum_cost_delay", "2", "ms", "user", "real"),
        row("fsync", "on", "", "sighup", "bool"),
        row("log_min_messages", "debug2", "", "superuser", "enum"),
        row("TimeZone", "UTC", "", "user", "string"),
        row("primary_conninfo", "host=a", "", "sighup", "string"),
        row("data_checksums", "on", "", "internal", "bool"),
    ]
}

fn against(wanted: &[(&str, &str)]) -> Difference {
    let wanted = text(wanted);
    compare(&wanted, &wanted, &server())
}

#[test]
fn the_same_value_in_another_unit_or_word_is_no_difference() {
    for same in [
        ("shared_buffers", "32MB"),
        ("shared_buffers", "32768kB"),
        ("shared_buffers", "4096"),
        ("max_connections", "0x64"),
        ("wal_level", "HOT_STANDBY"),
        ("archive_mode", "false"),
        ("checkpoint_timeout", "5min"),
        ("checkpoint_timeout", "300499ms"),
        ("random_page_cost", "1.10"),
        ("vacuum_cost_delay", "2000us"),
        ("fsync", "Yes"),
        ("log_min_messages", "debug"),
        ("timezone", "UTC"),
        ("wal_buffers", "-1"),
    ] {
        assert_eq!(against(&[same]), Difference::default(), "{same:?}");
    }
}

#[test]
fn a_new_value_is_reloaded_or_waits_for_a_restart_as_people_read_it() {
    let found = against(&[
        ("shared_buffers", "64MB"),
        ("max_connections", "200"),
        ("wal_buffers", "-2"),
        ("checkpoint_timeout", "301"),
        ("random_page_cost", "1.2"),
        ("TimeZone", "utc"),
        ("fsync", "off"),
    ]);
    let waits: Vec<_> = found
        .restart
        .iter()
        .map(|(name, (now, then))| (name.as_str(), now.as_str(), then.as_str()))
        .collect();
    assert_eq!(
        waits,
        [
            ("max_connections", "100", "200"),
            ("shared_buffers", "32MB", "64MB"),
            ("wal_buffers", "1MB", "-2"),
        ]
    );
    let reloads: Vec<_> = found.reload.iter().map(String::as_str).collect();
    assert_eq!(
        reloads,
        [
            "TimeZone",
            "checkpoint_timeout",
            "fsync",
            "random_page_cost"
        ]
    );
    assert!(!found.is_none());
}

#[test]
fn a_bare_number_is_shown_in_the_servers_unit() {
    let found = against(&[("shared_buffers", "8192"), ("wal_buffers", "3")]);
    assert_eq!(
        found.restart["shared_buffers"],
        ("32MB".to_owned(), "64MB".to_owned())
    );
    assert_eq!(found.restart["wal_buffers"].1, "24kB");
}

#[test]
fn what_the_server_does_not_know_is_named_unless_it_is_an_extensions() {
    let found = against(&[("frobnicate", "1"), ("pg_stat_statements.max", "100")]);
    assert_eq!(found.unknown.iter().collect::<Vec<_>>(), ["frobnicate"]);
    assert!(found.is_none());
    let new = compare(&text(&[("pgaudit.log", "all")]), &text(&[]), &server());
    assert_eq!(new.reload.iter().collect::<Vec<_>>(), ["pgaudit.log"]);
}

#[test]
fn what_goes_away_falls_back_to_what_only_the_server_knows() {
    let written = text(&[
        ("shared_buffers", "32MB"),
        ("fsync", "on"),
        ("gone.away", "1"),
        ("frobnicate", "1"),
        ("primary_conninfo", "host=a"),
    ]);
    let found = compare(&text(&[]), &written, &server());
    assert_eq!(
        found.restart.into_iter().collect::<Vec<_>>(),
        [(
            "shared_buffers".to_owned(),
            ("32MB".to_owned(), "?".to_owned())
        )]
    );
    assert_eq!(
        found.reload.iter().collect::<Vec<_>>(),
        ["fsync", "gone.away"]
    );
}

#[test]
fn recovery_and_what_can_never_change_are_not_compared() {
    let found = against(&[
        ("hot_standby", "off"),
        ("primary_conninfo", "host=b"),
        ("data_checksums", "off"),
    ]);
    assert!(found.is_none(), "{found:?}");
}
