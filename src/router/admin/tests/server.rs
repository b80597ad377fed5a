//! The port itself, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::stand::Stand;
use crate::admin::{Admin, CONNECTIONS, HEAD, serve};
use crate::doorstep::Doorstep;

/// Long for one answer, short for a test that hangs.
const SOON: Duration = Duration::from_secs(4);

async fn started(admin: Arc<Admin>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = admin.tasks.clone();
    tasks.spawn(
        "stats",
        serve(
            Arc::new(Doorstep::Tcp(listener)),
            admin,
            CancellationToken::new(),
        ),
    );
    address
}

/// Sends `head` as a request's line with the usual headers, and returns everything that comes back.
async fn ask(address: SocketAddr, line: &str) -> String {
    let request = format!("{line} HTTP/1.1\r\nHost: here\r\n\r\n");
    timeout(SOON, exchange(address, request.as_bytes()))
        .await
        .unwrap_or_else(|_| panic!("no answer to {line}"))
}

async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer takes nothing away from what was read.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("no status")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[tokio::test]
async fn every_path_is_answered_in_its_own_type() {
    let address = started(Stand::new("paths").admin()).await;
    for (path, kind, holds) in [
        ("/healthz", "text/plain", "ok\n"),
        ("/ready/write", "text/plain", "a 10.0.0.1:5432\n"),
        ("/ready/paths/read", "text/plain", "b 10.0.0.2:5432\n"),
        ("/stats.json", "application/json", "{\"version\":\""),
        (
            "/metrics",
            "text/plain; version=0.0.4",
            "# TYPE trunkline_leader gauge",
        ),
        ("/", "text/html", "<!doctype html>"),
        ("/stats", "text/html", "<h2>write</h2>"),
        ("/page.js", "text/javascript", "refresh"),
    ] {
        let answer = ask(address, &format!("GET {path}")).await;
        assert_eq!(status(&answer), "200", "{path}: {answer}");
        let typed = format!("content-type: {kind}");
        assert!(answer.contains(&typed), "{path}: {answer}");
        assert!(answer.contains("cache-control: no-store"), "{path}");
        assert!(answer.contains("content-security-policy: default-src 'none'"));
        assert!(body(&answer).contains(holds), "{path}: {answer}");
    }
}

#[tokio::test]
async fn other_paths_are_told_which_there_are() {
    let address = started(Stand::new("others").admin()).await;
    for path in ["/nothing", "/ready", "/stats.json/", "*", "http://x/y"] {
        let answer = ask(address, &format!("GET {path}")).await;
        assert_eq!(status(&answer), "404", "{path}: {answer}");
        assert!(body(&answer).contains("/stats.json"), "{answer}");
    }
    let answer = ask(address, "GET /ready/nothing").await;
    assert_eq!(status(&answer), "404");
    assert_eq!(
        body(&answer),
        "there is no such listener; there is /ready/write, /ready/read, /ready/sync\n"
    );
}

#[tokio::test]
async fn head_is_get_without_the_body_and_nothing_else_is_allowed() {
    let address = started(Stand::new("methods").admin()).await;
    let answer = ask(address, "HEAD /healthz").await;
    assert_eq!((status(&answer), body(&answer)), ("200", ""));
    assert!(answer.contains("content-length: 3\r\n"), "{answer}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = ask(address, &format!("{method} /")).await;
        assert_eq!(status(&answer), "405");
        assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_listener_that_does_not_route_says_why() {
    let mut stand = Stand::new("unready");
    stand.leader = None;
    let address = started(stand.admin()).await;
    let answer = ask(address, "GET /ready/write").await;
    let said = (status(&answer), body(&answer));
    assert_eq!(said, ("503", "holding: the cluster has no leader\n"));
}

#[tokio::test]
async fn a_draining_router_is_neither_healthy_nor_ready_but_still_tells() {
    let stand = Stand::new("draining");
    let address = started(stand.admin()).await;
    stand.tasks.drain();
    let answer = ask(address, "GET /healthz").await;
    assert_eq!((status(&answer), body(&answer)), ("503", "draining\n"));
    let answer = ask(address, "GET /ready/read").await;
    let said = (status(&answer), body(&answer));
    assert_eq!(said, ("503", "refusing: the router is draining\n"));
    let answer = ask(address, "GET /stats.json").await;
    assert!(body(&answer).contains("\"draining\":true"));
    let answer = ask(address, "GET /").await;
    assert!(body(&answer).contains("Draining: no new clients"));
}

#[tokio::test]
async fn a_listener_of_several_clusters_is_named_with_its_cluster() {
    let (one, mut other) = (Stand::new("one"), Stand::new("an other"));
    other.leader = None;
    let address = started(Stand::admin_of(&[&one, &other])).await;
    let answer = ask(address, "GET /ready/write").await;
    assert_eq!(status(&answer), "404");
    let expected = "several clusters have such a listener; there is /ready/one/write";
    assert!(body(&answer).starts_with(expected), "{answer}");
    let answer = ask(address, "GET /ready/one/write").await;
    assert_eq!(status(&answer), "200");
    let answer = ask(address, "GET /ready/an%20other/write").await;
    assert_eq!(status(&answer), "503", "{answer}");
}

#[tokio::test]
async fn half_a_request_blocks_nobody_and_is_given_up() {
    let address = started(Stand::new("slow").admin()).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: ")
        .await
        .unwrap();
    let answer = ask(address, "GET /healthz").await;
    assert_eq!(status(&answer), "200");
    let mut rest = Vec::new();
    let given_up = timeout(Duration::from_secs(20), slow.read_to_end(&mut rest)).await;
    assert!(given_up.is_ok(), "still waiting for the rest");
}

#[tokio::test]
async fn one_connection_too_many_takes_the_place_of_the_oldest() {
    let address = started(Stand::new("crowded").admin()).await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let answer = ask(address, "GET /healthz").await;
    assert_eq!(status(&answer), "200");
    let mut byte = [0];
    let oldest = timeout(SOON, silent[0].read(&mut byte)).await;
    assert!(matches!(oldest, Ok(Ok(0) | Err(_))), "{oldest:?}");
    let youngest = silent.last_mut().unwrap();
    youngest
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        .await
        .unwrap();
    let served = timeout(SOON, youngest.read(&mut byte)).await;
    assert!(matches!(served, Ok(Ok(1))), "{served:?}");
}

#[tokio::test]
async fn requests_that_are_too_large_or_none_at_all_end_the_connection() {
    let address = started(Stand::new("garbage").admin()).await;
    let large = format!("GET /{} HTTP/1.1\r\n", "x".repeat(2 * HEAD));
    let startup = b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec();
    for garbage in [large.into_bytes(), startup, vec![0xff; 64]] {
        let answer = timeout(SOON, exchange(address, &garbage)).await.unwrap();
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    let answer = ask(address, "GET /healthz").await;
    assert_eq!(status(&answer), "200");
}
