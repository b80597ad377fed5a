//! The odd rules of single requests, and what Patroni does not have.

use std::time::Duration;

use jiff::Timestamp;
use trunkline_core::Moment;
use trunkline_core::config::agent::ServerTokens;
use trunkline_core::postgres::{Database, Silence};
use trunkline_core::rest::health::Health;
use trunkline_core::rest::reply::Form;
use trunkline_core::rest::request::{Change, Target};
use trunkline_core::rest::{Kind, Reply, Request, Signature, Told, metrics, request, status};
use trunkline_core::wire::member::{Role, State};

use crate::captures::{NOW, primary, replica};

type Answer = Result<Database, Silence>;

fn checked(told: &Told, database: &Answer, target: &str, now: Moment, honest: bool) -> u16 {
    let document = status::document(told, database, now);
    let health = Health {
        told,
        database,
        document: &document,
        honest_primary: honest,
        now,
    };
    let request = Request::new("GET", target);
    if request.target() == Target::Readiness {
        health.readiness(&request)
    } else {
        health.check(&request)
    }
}

fn code((told, database): &(Told, Answer), target: &str) -> u16 {
    checked(told, database, target, NOW, false)
}

#[test]
fn a_path_counts_by_what_it_contains() {
    let (leader, standby) = (primary(), replica());
    for (path, on_leader, on_standby) in [
        ("/foo-leader-x", 200, 503),
        ("/standby-leader/leader", 503, 503),
        ("/a/primary?lag=0", 200, 503),
        ("/xmasterx", 200, 503),
        ("/not-replica-at-all", 503, 200),
        ("/read-only/x", 200, 200),
        ("/healthy", 200, 200),
        // From here on the whole path counts.
        ("/sync/", 503, 503),
        ("/xsync", 503, 503),
        ("//", 200, 503),
        ("/;leader", 200, 503),
        ("/x;y=leader", 503, 503),
        ("/leader;x/y", 200, 503),
        ("", 503, 503),
        ("/switchover", 503, 503),
        ("http://somewhere:8008/primary", 200, 503),
        ("http://somewhere", 503, 503),
    ] {
        let found = (code(&leader, path), code(&standby, path));
        assert_eq!(found, (on_leader, on_standby), "{path}");
    }
}

#[test]
fn a_filter_by_tag_is_for_replicas_only_and_looks_at_the_configured_ones() {
    let (leader, mut standby) = (primary(), replica());
    standby.0.tags.0.insert("nosync".to_owned(), true.into());
    standby
        .0
        .configured_tags
        .0
        .insert("speed".to_owned(), 1.4.into());
    for (target, expected) in [
        ("/replica?tag_zone=z1", 200),
        ("/replica?tag_zone=z2", 503),
        ("/replica?tag_zone=z1&tag_zone=z2", 200),
        ("/replica?tag_speed=1.4&tag_zone=z1", 200),
        ("/replica?tag_speed=1.4&tag_zone=z3", 503),
        ("/replica?tag_nosync=true", 503),
        ("/replica?tag_zone=", 200),
        ("/replica?tag_zone=%7A1", 200),
        ("/health?tag_zone=z2", 503),
        ("/sync?tag_zone=z2", 503),
        ("/sync?tag_zone=z1", 200),
    ] {
        assert_eq!(code(&standby, target), expected, "{target}");
    }
    assert_eq!(code(&leader, "/primary?tag_zone=none"), 200);
    assert_eq!(code(&leader, "/read-only?tag_zone=none"), 503);
}

#[test]
fn a_replica_behind_by_more_than_it_may_is_none() {
    let mut standby = replica();
    let database = standby.1.as_mut().unwrap();
    database.replayed.as_mut().unwrap().0 -= 10 << 20;
    for (target, expected) in [
        ("/replica", 200),
        ("/replica?lag=10MB", 200),
        ("/replica?lag=9MB", 503),
        ("/replica?lag=10485759", 503),
        ("/replica?lag=-1", 503),
        ("/replica?lag=little", 200),
        ("/read-only?lag=1kB", 503),
        ("/sync?lag=1kB", 503),
        ("/read-only-sync?lag=1kB", 503),
        ("/health?lag=1kB", 200),
        ("/readiness", 503),
        ("/readiness?lag=10MB", 200),
        ("/readiness?mode=write", 200),
    ] {
        assert_eq!(code(&standby, target), expected, "{target}");
    }
}

#[test]
fn the_lock_is_held_until_its_lease_ends_and_not_a_moment_longer() {
    let (told, database) = primary();
    let ends = told.held.unwrap().ends();
    let before = ends.before(Duration::from_millis(1));
    for (now, expected, left) in [(before, 200, Some(1)), (ends, 503, None)] {
        for path in ["/", "/primary", "/leader", "/read-write", "/readiness"] {
            let found = checked(&told, &database, path, now, false);
            assert_eq!(found, expected, "{path} at {now}");
        }
        let document = status::document(&told, &database, now);
        assert_eq!(document.leader_until_ms, left);
    }
}

#[test]
fn a_view_older_than_ttl_is_none_and_paths_that_need_one_say_no() {
    let (told, database) = replica();
    let later = NOW.after(told.config.ttl);
    let document = status::document(&told, &database, later);
    assert!(document.cluster_unlocked && !document.sync_standby);
    let just_before = later.before(Duration::from_millis(1));
    for (path, before, after) in [
        ("/sync", 200, 503),
        ("/read-only-sync", 200, 503),
        ("/replica", 200, 200),
    ] {
        assert_eq!(checked(&told, &database, path, just_before, false), before);
        assert_eq!(checked(&told, &database, path, later, false), after);
    }
}

#[test]
fn readiness_without_etcd_and_sender_is_failsafes_word() {
    let (mut told, mut database) = replica();
    told.etcd_answered = None;
    database
        .as_mut()
        .unwrap()
        .receiver
        .as_mut()
        .unwrap()
        .latest_end = None;
    assert_eq!(checked(&told, &database, "/readiness", NOW, false), 503);
    assert!(status::document(&told, &database, NOW).cluster_unlocked);
    told.failsafe_until = Some(NOW.after(Duration::from_secs(1)));
    assert_eq!(checked(&told, &database, "/readiness", NOW, false), 200);
    assert!(!status::document(&told, &database, NOW).cluster_unlocked);
}

#[test]
fn a_paused_cluster_without_etcd_keeps_its_primary() {
    let (mut told, database) = primary();
    told.held = None;
    told.etcd_answered = None;
    assert_eq!(checked(&told, &database, "/primary", NOW, false), 503);
    told.config.pause = true;
    for (path, expected) in [
        ("/primary", 200),
        ("/leader", 200),
        ("/standby-leader", 503),
        ("/replica", 503),
    ] {
        assert_eq!(
            checked(&told, &database, path, NOW, false),
            expected,
            "{path}"
        );
    }
}

#[test]
fn a_lock_holder_without_postgresql_is_primary_unless_it_is_to_be_honest() {
    let (told, database) = primary();
    let silent: Answer = Err(Silence::Starting);
    let recovering = replica().1;
    for (answer, usual, honest) in [
        (&database, 200, 200),
        (&silent, 200, 503),
        (&recovering, 200, 503),
    ] {
        for path in ["/", "/primary", "/master", "/read-write"] {
            assert_eq!(checked(&told, answer, path, NOW, false), usual, "{path}");
            assert_eq!(checked(&told, answer, path, NOW, true), honest, "{path}");
        }
        assert_eq!(checked(&told, answer, "/leader", NOW, true), 200);
    }
    let document = status::document(&told, &silent, NOW);
    assert_eq!(
        (document.state, document.role),
        (State::Unknown, Role::Primary)
    );
}

#[test]
fn a_postgresql_that_answers_has_started_whatever_the_cycle_saw_last() {
    let (mut told, database) = replica();
    told.state = State::Starting;
    assert_eq!(
        status::document(&told, &database, NOW).state,
        State::Running
    );
    let silent = Err(Silence::Starting);
    assert_eq!(status::document(&told, &silent, NOW).state, State::Starting);
    told.state = State::Stopping;
    assert_eq!(
        status::document(&told, &database, NOW).state,
        State::Stopping
    );
}

#[test]
fn a_cycle_that_is_late_is_not_alive_a_leaders_sooner() {
    let (mut leader, mut standby) = (primary().0, replica().0);
    let ttl = leader.config.ttl;
    leader.next_run = NOW;
    standby.next_run = NOW;
    let alive = |told: &Told, late: Duration| Health::liveness(told, NOW.after(late)) == 200;
    let second = Duration::from_secs(1);
    assert!(alive(&leader, ttl - second) && !alive(&leader, ttl));
    assert!(alive(&standby, ttl * 2 - second) && !alive(&standby, ttl * 2));
    leader.postmaster_up = false;
    assert!(alive(&leader, ttl));
    leader.config.pause = true;
    assert!(alive(&leader, ttl * 9));
}

#[test]
fn without_postgresql_the_metrics_have_zeros_and_no_word_on_streaming() {
    let (told, _) = replica();
    let document = status::document(&told, &Err(Silence::NotAsked), NOW);
    let text = metrics::text(&told, &document);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), 21);
    for expected in [
        r#"patroni_postmaster_start_time{scope="demo",name="pg-1"} 0"#,
        r#"patroni_postgres_server_version{scope="demo",name="pg-1"} 0"#,
        r#"patroni_postgres_timeline{scope="demo",name="pg-1"} 0"#,
        r#"patroni_postgres_state{scope="demo",name="pg-1"} -1"#,
    ] {
        assert!(lines.contains(&expected), "{expected}: {text}");
    }
}

#[test]
fn the_first_segment_and_the_method_decide_what_is_asked_for() {
    for (method, target, expected) in [
        ("GET", "/patroni", Target::Status),
        ("GET", "/patroni/more?x=1", Target::Status),
        ("GET", "//metrics", Target::Metrics),
        ("GET", "/patronix", Target::Health),
        ("GET", "/switchover", Target::Health),
        ("HEAD", "/patroni", Target::BareHealth),
        ("OPTIONS", "/liveness", Target::BareHealth),
        ("POST", "/switchover", Target::Change(Change::Switchover)),
        ("POST", "/patroni", Target::Nothing("POST".to_owned())),
        (
            "DELETE",
            "/switchover",
            Target::Change(Change::CancelSwitchover),
        ),
        ("DELETE", "/restart", Target::Nothing("DELETE".to_owned())),
        ("PUT", "/config", Target::Nothing("PUT".to_owned())),
        ("get", "/patroni", Target::Nothing("get".to_owned())),
    ] {
        assert_eq!(
            Request::new(method, target).target(),
            expected,
            "{method} {target}"
        );
    }
}

#[test]
fn a_body_is_an_object_that_says_something() {
    assert!(request::body(br#"{"leader":"a"}"#).is_ok());
    for bad in [
        b"".as_slice(),
        b"{}",
        b"[1]",
        b"\"x\"",
        b"{",
        b"null",
        b"\xff",
    ] {
        assert_eq!(request::body(bad), Err(Reply::page(400)), "{bad:?}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(request::body(deep.as_bytes()), Err(Reply::page(400)));
}

#[test]
fn an_error_page_is_pythons() {
    let wall: Timestamp = "2026-11-21T20:39:00Z".parse().unwrap();
    let signature = Signature::default();
    let page = Reply::unsupported("FOO<>&").written(Form::Whole, &signature, wall);
    let expected = "HTTP/1.0 501 Unsupported method ('FOO<>&')\r\nServer: BaseHTTP/0.6 Python/3.11.2\r\n\
        Date: Sat, 21 Nov 2026 20:39:00 GMT\r\nConnection: close\r\nContent-Type: text/html;charset=utf-8\r\n\
        Content-Length: 369\r\n\r\n<!DOCTYPE HTML>\n<html lang=\"en\">\n    <head>\n        <meta charset=\"utf-8\">\n\
        \x20       <title>Error response</title>\n    </head>\n    <body>\n        <h1>Error response</h1>\n        \
        <p>Error code: 501</p>\n        <p>Message: Unsupported method ('FOO&lt;&gt;&amp;').</p>\n        \
        <p>Error code explanation: 501 - Server does not support this operation.</p>\n    </body>\n</html>\n";
    assert_eq!(String::from_utf8(page).unwrap(), expected);
    for (code, length) in [
        (400, 343),
        (408, 341),
        (409, 316),
        (411, 341),
        (413, 335),
        (502, 346),
        (503, 367),
    ] {
        let page = Reply::page(code).written(Form::Whole, &signature, wall);
        let text = String::from_utf8(page).unwrap();
        assert!(
            text.contains(&format!("Content-Length: {length}\r\n")),
            "{text}"
        );
    }
}

#[test]
fn an_answer_has_as_much_of_itself_as_the_question_wants() {
    let wall: Timestamp = "2026-11-01T05:06:07Z".parse().unwrap();
    let signature = Signature {
        tokens: ServerTokens::Minimal,
        extra_headers: vec![("X-Frame".to_owned(), "no\r\nX: y".to_owned())],
    };
    let written =
        |reply: &Reply, form| String::from_utf8(reply.written(form, &signature, wall)).unwrap();
    let reply = Reply::Text {
        code: 401,
        kind: Kind::Html,
        header: Some(("WWW-Authenticate", "Basic realm=\"Patroni\"".to_owned())),
        body: "not authenticated".to_owned(),
    };
    let head = "HTTP/1.0 401 Unauthorized\r\nServer: Patroni/4.1.5\r\nDate: Sun, 01 Nov 2026 05:06:07 GMT\r\n\
        WWW-Authenticate: Basic realm=\"Patroni\"\r\nContent-Type: text/html\r\nX-Frame: noX: y\r\n\r\n";
    assert_eq!(
        written(&reply, Form::Whole),
        format!("{head}not authenticated")
    );
    assert_eq!(written(&reply, Form::HeadOnly), head);
    assert_eq!(written(&reply, Form::BodyOnly), "not authenticated");
    let bare = written(&Reply::Bare(503), Form::Whole);
    assert_eq!(bare, "HTTP/1.0 503 Service Unavailable\r\n\r\n");
}
