//! What stands on the wire.

use std::sync::Arc;

use tokio::sync::watch;
use trunkline_agent::api::Board;
use trunkline_agent::dcs::Seen;
use trunkline_core::config::agent::Rest;
use trunkline_core::follow::EndpointId;

use crate::stand::{Stand, primary, replica, rest, undated};

const DOCUMENT: &str = include_str!("../../../core/tests/fixtures/rest/pg-1-patroni.http");

#[tokio::test]
async fn a_status_document_is_patronis_to_the_byte_whatever_http_is_spoken() {
    let stand = Stand::of(replica(), rest()).await;
    for request in [
        "GET /patroni HTTP/1.0\r\n\r\n",
        "GET /patroni HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /patroni HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
        "GET /patroni HTTP/1.1\nHost: x\n\n",
    ] {
        let answer = stand.say(request).await;
        assert!(answer.contains("\r\nDate: "), "{answer}");
        assert_eq!(undated(&answer), undated(DOCUMENT), "{request}");
    }
    let body = DOCUMENT.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(stand.say("GET /patroni\r\n").await, body);
}

#[tokio::test]
async fn what_only_the_status_line_counts_of_is_nothing_but_a_status_line() {
    let stand = Stand::of(replica(), rest()).await;
    let (good, bad) = (
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.0 503 Service Unavailable\r\n\r\n",
    );
    for (line, expected) in [
        ("OPTIONS /replica HTTP/1.0", good),
        ("OPTIONS /primary HTTP/1.0", bad),
        ("HEAD /replica HTTP/1.1", good),
        ("HEAD /patroni HTTP/1.1", bad),
        ("OPTIONS /config HTTP/1.1", bad),
        ("OPTIONS /liveness HTTP/1.1", bad),
        ("GET /liveness HTTP/1.1", good),
        ("GET /readiness HTTP/1.1", good),
        ("GET /readiness?lag=0 HTTP/1.1", good),
    ] {
        let closing = format!("{line}\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_eq!(stand.say(closing).await, expected, "{line}");
    }
}

#[tokio::test]
async fn a_health_check_brings_the_document_with_any_status() {
    let stand = Stand::of(replica(), rest()).await;
    let body = DOCUMENT.split_once("\r\n\r\n").unwrap().1;
    for (path, code) in [
        ("/replica", 200),
        ("/", 503),
        ("/nothing", 503),
        ("/switchover", 503),
    ] {
        let (found, document) = stand.ask(&format!("GET {path}"), "", "").await;
        assert_eq!((found, document.as_str()), (code, body), "{path}");
    }
}

#[tokio::test]
async fn what_is_no_request_gets_a_page_that_says_so() {
    let stand = Stand::of(primary(), rest()).await;
    let many = "a: b\r\n".repeat(101);
    let (long, wide) = ("x".repeat(40_000), "y".repeat(40_000));
    for (request, line, explanation) in [
        (
            "POST /x HTTP/1.1\r\n\r\n",
            "501 Unsupported method ('POST')",
            "Server does not support this operation",
        ),
        (
            "DELETE /restart HTTP/1.1\r\n\r\n",
            "501 Unsupported method ('DELETE')",
            "Server does not support this operation",
        ),
        (
            "FOO /x HTTP/1.1\r\n\r\n",
            "501 Unsupported method ('FOO')",
            "Server does not support this operation",
        ),
        (
            "GET /x y HTTP/1.1\r\n\r\n",
            "400 Bad Request",
            "Bad request syntax or unsupported method",
        ),
        (
            "\u{1}\u{2}\u{3}\r\n\r\n",
            "400 Bad Request",
            "Bad request syntax or unsupported method",
        ),
        (
            "POST /x\r\n",
            "400 Bad Request",
            "Bad request syntax or unsupported method",
        ),
        (
            "GET / HTTP/2.0\r\n\r\n",
            "505 HTTP Version Not Supported",
            "Cannot fulfill request",
        ),
        (
            &format!("GET / HTTP/1.1\r\n{many}\r\n"),
            "431 Request Header Fields Too Large",
            "too large",
        ),
        (
            &format!("GET / HTTP/1.1\r\na: {wide}\r\n\r\n"),
            "431 Request Header Fields Too Large",
            "too large",
        ),
        (
            &format!("GET /{long} HTTP/1.1\r\n\r\n"),
            "414 Request-URI Too Long",
            "URI is too long",
        ),
        ("GET /failsafe HTTP/1.1\r\n\r\n", "200 OK", "pg-1"),
    ] {
        let answer = stand.say(request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.0 {line}\r\n")),
            "{request}: {answer}"
        );
        assert!(answer.contains(explanation), "{request}: {answer}");
    }
}

#[tokio::test]
async fn headers_of_the_configuration_stand_as_they_are_written_and_only_where_there_are_any() {
    let configured = Rest {
        extra_headers: vec![("x-lower-Case".to_owned(), "1".to_owned())],
        ..rest()
    };
    let stand = Stand::of(primary(), configured).await;
    let answer = stand.say("GET /config HTTP/1.0\r\n\r\n").await;
    assert!(answer.contains("\r\nx-lower-Case: 1\r\n\r\n{"), "{answer}");
    for bare in ["OPTIONS / HTTP/1.0\r\n\r\n", "POST /x HTTP/1.0\r\n\r\n"] {
        let answer = stand.say(bare).await;
        assert!(!answer.contains("x-lower-Case"), "{answer}");
    }
}

#[tokio::test]
async fn what_etcd_does_not_have_is_a_page_and_an_empty_history_a_list() {
    let (mut told, answer) = primary();
    told.config.failsafe_mode = false;
    told.view = told
        .view
        .clone()
        .unanswered(trunkline_core::follow::Trouble::TimedOut, told.next_run);
    let stand = Stand::of((told.clone(), answer), rest()).await;
    assert_eq!(stand.ask("GET /failsafe", "", "").await.0, 502);
    assert_eq!(stand.ask("GET /config", "", "").await.0, 200);
    told.view = trunkline_core::Observed::Unknown {
        since: told.next_run,
        cause: trunkline_core::follow::Trouble::NotAsked,
    };
    stand.board.tell(told);
    assert_eq!(stand.ask("GET /config", "", "").await.0, 502);
    assert_eq!(stand.ask("GET /cluster", "", "").await.0, 503);
    assert_eq!(
        stand.ask("GET /history", "", "").await,
        (200, "[]".to_owned())
    );
}

#[tokio::test]
async fn the_cluster_is_shown_as_etcd_has_it_now_whatever_the_cycle_saw_last() {
    let (told, answer) = replica();
    let seen = Seen {
        view: told.view.clone(),
        endpoint: EndpointId(0),
        store: None,
    };
    let (show, views) = watch::channel(Arc::new(seen.clone()));
    let board = Board::new(told).beside(views);
    let ask = move || {
        let answer = answer.clone();
        Box::pin(async move { answer }) as trunkline_agent::api::Later<_>
    };
    let stand = Stand::on(board, rest(), ask).await;
    let (_, before) = stand.ask("GET /cluster", "", "").await;
    assert!(before.contains("\"name\": \"pg-1\""), "{before}");
    let mut view = seen.view.value().unwrap().clone();
    view.members.clear();
    show.send_replace(Arc::new(Seen {
        view: seen.view.clone().replaced(view),
        ..seen
    }));
    let (_, after) = stand.ask("GET /cluster", "", "").await;
    assert!(!after.contains("\"name\": \"pg-1\""), "{after}");
}
