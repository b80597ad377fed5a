//! Members and status documents nobody should have written.

use serde_json::{Value, json};
use trunkline_core::wire::Why;
use trunkline_core::wire::member::{Host, Member, Role, State};
use trunkline_core::wire::rest::{LONGEST, StatusDocument};
use trunkline_core::{Lsn, Timeline};

fn member(value: &Value) -> Member {
    Member::parse(value.to_string().as_bytes()).unwrap()
}

#[test]
fn a_member_that_says_nothing_is_a_member_all_the_same() {
    assert_eq!(member(&json!({})), Member::default());
    assert_eq!(Member::default().to_json(), "{}");
}

#[test]
fn a_field_of_a_member_that_makes_no_sense_leaves_the_others() {
    let good = ("conn_url", json!("postgres://127.0.0.1:5432/postgres"));
    for field in [
        "api_url",
        "proxy_url",
        "state",
        "role",
        "version",
        "tags",
        "xlog_location",
        "replay_lsn",
        "receive_lsn",
        "replication_state",
        "timeline",
        "checkpoint_after_promote",
    ] {
        for bad in [json!(null), json!([7]), json!(-1), json!(1.5e300)] {
            let seen = member(&json!({ field: bad, good.0: good.1 }));
            let expected = member(&json!({ good.0: good.1 }));
            assert_eq!(seen, expected, "{field}: {bad}");
        }
    }
    let seen = member(&json!({"conn_url": "nonsense", "state": "running", "timeline": 0}));
    assert_eq!((seen.conn, seen.timeline), (None, None));
    assert_eq!(seen.state, Some(State::Running));
}

#[test]
fn positions_may_be_text_and_flags_anything_python_calls_true() {
    let seen = member(&json!({"xlog_location": "17", "pause": 1, "pending_restart": "yes"}));
    assert_eq!(seen.xlog_location, Some(Lsn(17)));
    assert!(seen.pause && seen.pending_restart);
}

#[test]
fn an_old_primary_is_a_primary_and_written_in_the_new_word() {
    let seen = member(&json!({"role": "master", "timeline": 3}));
    assert_eq!(
        (&seen.role, seen.timeline),
        (&Some(Role::Primary), Some(Timeline(3)))
    );
    assert_eq!(seen.to_json(), r#"{"role":"primary","timeline":3}"#);
}

#[test]
fn the_url_governor_kept_is_read_without_its_password() {
    let old =
        b"postgres://rep:secret@db-1:5433/postgres?application_name=http%3A//db-1:8008/patroni";
    let seen = Member::parse(old).unwrap();
    assert_eq!(
        seen.to_json(),
        r#"{"conn_url":"postgres://db-1:5433/postgres","api_url":"http://db-1:8008/patroni"}"#
    );
    let bare = Member::parse(b"postgres://127.0.0.1:5432/postgres").unwrap();
    assert_eq!(bare.conn.unwrap().host, Host::Ip([127, 0, 0, 1].into()));
    assert_eq!(bare.api, None);
}

#[test]
fn what_is_neither_object_nor_url_is_no_member() {
    for bad in [
        b"".as_slice(),
        b"null",
        b"[]",
        b"1",
        b"\"x\"",
        b"{",
        b"postgres",
        b"{\"a\":\xff}",
    ] {
        assert!(Member::parse(bad).is_err(), "{bad:?}");
    }
    let deep = "[".repeat(100_000);
    assert!(Member::parse(deep.as_bytes()).is_err());
}

#[test]
fn no_password_reaches_the_words_of_an_error() {
    let error = Member::parse(b"postgres://rep:secret@:0/x").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
}

#[test]
fn a_status_document_must_name_state_and_role_and_nothing_else() {
    let document = StatusDocument::parse(br#"{"state": "stopped", "role": "master"}"#).unwrap();
    assert_eq!(document.role, Role::Primary);
    assert_eq!(
        document.to_json(),
        r#"{"state": "stopped", "role": "primary", "patroni": {}}"#
    );
    for (body, why) in [
        (json!({"role": "replica"}), Why::Missing { field: "state" }),
        (
            json!({"state": "running", "role": null}),
            Why::Missing { field: "role" },
        ),
        (
            json!({"state": "running", "role": 7}),
            Why::WrongType {
                field: "role",
                expected: "a string",
                found: "a number",
            },
        ),
        (
            json!([]),
            Why::WrongKind {
                expected: "an object",
                found: "an array",
            },
        ),
    ] {
        let error = StatusDocument::parse(body.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.why, why, "{body}");
    }
}

#[test]
fn a_field_of_a_status_document_that_makes_no_sense_is_as_if_absent() {
    let bare = json!({"state": "running", "role": "replica"});
    let expected = StatusDocument::parse(bare.to_string().as_bytes()).unwrap();
    for field in [
        "postmaster_start_time",
        "server_version",
        "xlog",
        "wal",
        "timeline",
        "replication_state",
        "replication",
        "dcs_last_seen",
        "tags",
        "database_system_identifier",
        "patroni",
        "leader_until_ms",
    ] {
        for bad in [json!(null), json!(-1), json!(true), json!(["x", null])] {
            let mut body = bare.clone();
            body[field] = bad.clone();
            let document = StatusDocument::parse(body.to_string().as_bytes()).unwrap();
            assert_eq!(document, expected, "{field}: {bad}");
        }
    }
}

#[test]
fn old_nodes_say_wal_where_new_ones_say_xlog_and_ours_says_until_when_it_leads() {
    let old =
        br#"{"state":"running","role":"primary","wal":{"location":9},"leader_until_ms":1500}"#;
    let document = StatusDocument::parse(old).unwrap();
    assert_eq!(document.xlog.location, Some(Lsn(9)));
    assert_eq!(document.leader_until_ms, Some(1500));
}

#[test]
fn a_timeline_that_is_not_known_is_null_while_postgresql_answers() {
    let body = r#"{"state": "running", "role": "replica", "server_version": 150020, "timeline": null, "patroni": {}}"#;
    assert_eq!(
        StatusDocument::parse(body.as_bytes()).unwrap().to_json(),
        body
    );
}

#[test]
fn an_endless_status_document_is_not_read() {
    let body = vec![b' '; LONGEST + 1];
    let why = StatusDocument::parse(&body).unwrap_err().why;
    let (bytes, limit) = (LONGEST + 1, LONGEST);
    assert_eq!(why, Why::TooLong { bytes, limit });
}
