//! Requests that change something: who may make them, and what they leave for the cycle.

use trunkline_core::Lsn;
use trunkline_core::config::agent::Rest;
use trunkline_core::config::router::Secret;
use trunkline_core::postgres::Silence;

use crate::stand::{Stand, primary, replica, rest};

const PING: &str = r#"{"name":"pg-2","conn_url":"postgres://127.0.0.2:20432/postgres",
    "api_url":"http://127.0.0.2:20082/patroni","slots":{"pg_1":67433664,"bad":"x"}}"#;

fn locked() -> Rest {
    Rest {
        authentication: Some(("admin".to_owned(), Secret::new("se:cret".to_owned()))),
        ..rest()
    }
}

#[tokio::test]
async fn without_the_password_nothing_is_changed_and_everything_is_told() {
    let stand = Stand::of(replica(), locked()).await;
    for (headers, words) in [
        ("", "no auth header received"),
        ("Authorization: Basic bm8=\r\n", "not authenticated"),
        (
            "Authorization: Bearer YWRtaW46c2U6Y3JldA==\r\n",
            "not authenticated",
        ),
        (
            "Authorization: Basic YWRtaW46c2U6Y3JldA=\r\n",
            "not authenticated",
        ),
        (
            "Authorization: Basic YWRtaW46c2U6Y3JldA== \r\nAuthorization: x\r\n",
            "",
        ),
    ] {
        let request = format!("POST /reload HTTP/1.1\r\n{headers}\r\n");
        let answer = stand.say(request).await;
        if words.is_empty() {
            assert!(answer.starts_with("HTTP/1.0 202 Accepted\r\n"), "{answer}");
            continue;
        }
        assert!(
            answer.starts_with("HTTP/1.0 401 Unauthorized\r\n"),
            "{answer}"
        );
        assert!(
            answer.contains("\r\nWWW-Authenticate: Basic realm=\"Patroni\"\r\n"),
            "{answer}"
        );
        assert!(answer.ends_with(words), "{answer}");
        assert!(!stand.wishes.take().reload);
    }
    assert!(stand.wishes.take().reload);
    for path in ["/patroni", "/config", "/metrics"] {
        assert_eq!(stand.ask(&format!("GET {path}"), "", "").await.0, 200);
    }
}

#[tokio::test]
async fn who_may_not_is_refused_before_the_body_is_waited_for() {
    let stand = Stand::of(replica(), locked()).await;
    let answer = stand
        .say("POST /failsafe HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.0 401 "), "{answer}");
}

#[tokio::test]
async fn an_allowlist_lets_in_who_is_on_it_and_members_where_they_are_included() {
    for (allowlist, members, reload, failsafe) in [
        (None, false, 202, 200),
        (Some("127.0.0.1"), false, 202, 200),
        (Some("localhost"), false, 202, 200),
        (Some("127.0.0.0/8"), false, 202, 200),
        (Some("10.0.0.1"), false, 403, 403),
        // The captured members are 127.0.0.1 to 127.0.0.3.
        (Some("10.0.0.1"), true, 202, 403),
        (None, true, 202, 200),
    ] {
        let configured = Rest {
            allowlist: allowlist.map(|entry: &str| vec![entry.to_owned()]),
            allowlist_include_members: members,
            ..rest()
        };
        let stand = Stand::of(replica(), configured).await;
        let found = (
            stand.ask("POST /reload", "", "").await.0,
            stand.ask("POST /failsafe", "", PING).await.0,
        );
        assert_eq!(found, (reload, failsafe), "{allowlist:?} {members}");
    }
}

#[tokio::test]
async fn a_ping_is_accepted_with_the_position_and_wakes_the_cycle() {
    let stand = Stand::of(replica(), rest()).await;
    let length = PING.len();
    let request = format!("POST /failsafe HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{PING}");
    let answer = stand.say(request).await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nlsn: 67433664\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nAccepted"), "{answer}");
    stand.wishes.woken().await;
    let ping = stand.wishes.take().ping.unwrap();
    assert_eq!(ping.name, "pg-2".into());
    assert_eq!(ping.slots, [("pg_1".to_owned(), Lsn(67_433_664))].into());
    assert_eq!(ping.conn.unwrap().port, 20432);
    assert_eq!(stand.wishes.take().ping, None);
}

#[tokio::test]
async fn a_ping_is_refused_by_a_primary_and_where_the_mode_is_off() {
    let leader = Stand::of(primary(), rest()).await;
    let answer = leader.ask("POST /failsafe", "", PING).await;
    assert_eq!(answer, (500, "Running as a leader".to_owned()));
    let (mut told, _) = replica();
    told.config.failsafe_mode = false;
    let without = Stand::of((told.clone(), Err(Silence::NotAsked)), rest()).await;
    assert_eq!(without.ask("POST /failsafe", "", PING).await.0, 502);
    told.config.failsafe_mode = true;
    without.board.tell(told);
    let answer = without.ask("POST /failsafe", "", PING).await;
    assert_eq!(answer, (200, "Accepted".to_owned()));
    for bad in ["", "{}", "[]", "{", r#"{"name":7}"#, r#"{"name":"a/b"}"#] {
        assert_eq!(without.ask("POST /failsafe", "", bad).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_body_is_as_long_as_it_says_and_no_longer_than_it_may_be() {
    let stand = Stand::of(replica(), rest()).await;
    for (length, code) in [
        ("", 411),
        ("Content-Length: x\r\n", 400),
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: 99999999999999999999999\r\n", 400),
        ("Content-Length: 1048577\r\n", 413),
        ("Transfer-Encoding: chunked\r\n", 411),
    ] {
        let request = format!("POST /failsafe HTTP/1.1\r\n{length}\r\n");
        let answer = stand.say(request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.0 {code} ")),
            "{length}: {answer}"
        );
    }
    let whole = format!(r#"{{"name":"pg-2","padding":"{}"}}"#, "x".repeat(1_000_000));
    assert_eq!(stand.ask("POST /failsafe", "", &whole).await.0, 200);
}
