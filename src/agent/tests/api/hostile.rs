//! Clients that are silent, slow or many, and a PostgreSQL that does not answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trunkline_core::config::agent::Rest;
use trunkline_io::clock;

use crate::stand::{Stand, hear, primary, rest};

/// What nobody may have to wait for: promised are two seconds, on a machine that has nothing else to do.
const PROMPT: Duration = Duration::from_secs(6);

#[tokio::test]
async fn silent_clients_keep_nobody_out_however_many_they_are() {
    let stand = Stand::of(primary(), rest()).await;
    let mut silent = Vec::new();
    for count in 0..400 {
        let mut client = TcpStream::connect(stand.address).await.unwrap();
        if count % 2 == 0 {
            client.write_all(b"GET /prim").await.unwrap();
        }
        silent.push(client);
    }
    let asked = clock::now();
    let (code, _) = stand.ask("GET /primary", "", "").await;
    assert_eq!(code, 200);
    assert!(
        clock::now().since(asked) < PROMPT,
        "{:?}",
        clock::now().since(asked)
    );
}

#[tokio::test]
async fn a_client_that_never_ends_its_request_is_left() {
    let stand = Stand::of(primary(), rest()).await;
    let mut client = TcpStream::connect(stand.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n").await.unwrap();
    let began = clock::now();
    assert_eq!(hear(&mut client).await, "");
    let waited = clock::now().since(began);
    let expected = Duration::from_secs(9)..Duration::from_secs(18);
    assert!(expected.contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn a_body_that_is_announced_and_never_comes_holds_up_nobody() {
    let stand = Stand::of(primary(), rest()).await;
    let mut waiting = Vec::new();
    for _ in 0..200 {
        let mut client = TcpStream::connect(stand.address).await.unwrap();
        let head = "POST /failsafe HTTP/1.0\r\nContent-Length: 1000000\r\n\r\n{";
        client.write_all(head.as_bytes()).await.unwrap();
        waiting.push(client);
    }
    let asked = clock::now();
    assert_eq!(stand.ask("GET /patroni", "", "").await.0, 200);
    assert!(
        clock::now().since(asked) < PROMPT,
        "{:?}",
        clock::now().since(asked)
    );
}

#[tokio::test]
async fn a_postgresql_that_hangs_is_answered_for_in_time_and_asked_once_for_all() {
    let (told, _) = primary();
    let stand = Stand::asking(told, rest(), || Box::pin(std::future::pending())).await;
    let stand = Arc::new(stand);
    let mut clients = JoinSet::new();
    for _ in 0..100 {
        let stand = Arc::clone(&stand);
        clients.spawn(async move {
            let asked = clock::now();
            let answer = stand.ask("GET /primary", "", "").await;
            (answer, clock::now().since(asked))
        });
    }
    while let Some(answered) = clients.join_next().await {
        let ((code, body), took) = answered.unwrap();
        assert_eq!(code, 200);
        assert!(
            body.starts_with(r#"{"state": "unknown", "role": "primary", "dcs_last_seen""#),
            "{body}"
        );
        assert!(took < PROMPT, "{took:?}");
    }
    // Those that came while the first was being asked share the second; a busy machine brings some later still.
    let queries = stand.queries.load(Ordering::Relaxed);
    assert!(queries <= 8, "{queries} queries");
}

#[tokio::test]
async fn many_questions_share_the_query_of_a_slow_postgresql() {
    let (told, answer) = primary();
    let stand = Stand::asking(told, rest(), move || {
        let answer = answer.clone();
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(400)).await;
            answer
        })
    })
    .await;
    let stand = Arc::new(stand);
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let stand = Arc::clone(&stand);
        clients.spawn(async move { stand.ask("GET /patroni", "", "").await.1 });
    }
    for body in clients.join_all().await {
        assert!(body.contains("150020"), "{body}");
    }
    let queries = stand.queries.load(Ordering::Relaxed);
    assert!(queries <= 12, "{queries} queries");
}

#[tokio::test]
async fn an_answer_is_of_a_query_that_began_after_the_question() {
    let (told, answer) = primary();
    let turns = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&turns);
    let stand = Stand::asking(told, rest(), move || {
        let (gate, answer) = (Arc::clone(&gate), answer.clone());
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            answer
        })
    })
    .await;
    let stand = Arc::new(stand);
    let ask = |stand: &Arc<Stand>| {
        let stand = Arc::clone(stand);
        async move { stand.ask("GET /patroni", "", "").await.1 }
    };
    let mut clients = JoinSet::new();
    clients.spawn(ask(&stand));
    while stand.queries.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    clients.spawn(ask(&stand));
    turns.add_permits(1);
    // The first is answered; the second's query begins only now.
    let first = clients.join_next().await.unwrap().unwrap();
    assert!(first.contains("150020"), "{first}");
    turns.add_permits(1);
    let second = clients.join_next().await.unwrap().unwrap();
    assert!(second.contains("150020"), "{second}");
    assert_eq!(stand.queries.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_postgresql_that_does_not_run_is_not_asked() {
    let (mut told, answer) = primary();
    told.postmaster_up = false;
    let stand = Stand::of((told, answer), rest()).await;
    let (code, body) = stand.ask("GET /health", "", "").await;
    assert_eq!(code, 503);
    assert!(!body.contains("server_version"), "{body}");
    assert_eq!(stand.queries.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_one_of_many() {
    let stand = Stand::of(primary(), rest()).await;
    let mut deaf = Vec::new();
    for _ in 0..200 {
        let mut client = TcpStream::connect(stand.address).await.unwrap();
        client
            .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
            .await
            .unwrap();
        deaf.push(client);
    }
    let asked = clock::now();
    assert_eq!(stand.ask("GET /primary", "", "").await.0, 200);
    assert!(
        clock::now().since(asked) < PROMPT,
        "{:?}",
        clock::now().since(asked)
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_names_the_key_and_the_address() {
    let stand = Stand::of(primary(), rest()).await;
    let taken = Rest {
        listen: ("127.0.0.1".to_owned(), stand.address.port()),
        ..rest()
    };
    let error = trunkline_agent::api::listen(&taken).await.unwrap_err();
    let expected = format!("restapi.listen: cannot listen on {}: ", stand.address);
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[tokio::test]
async fn on_all_addresses_the_old_ones_are_heard_too() {
    let all = Rest {
        listen: ("*".to_owned(), 0),
        allowlist: Some(vec!["127.0.0.1".to_owned()]),
        ..rest()
    };
    let mut stand = Stand::of(primary(), all).await;
    stand.address.set_ip([127, 0, 0, 1].into());
    // Seen over IPv6 the client is ::ffff:127.0.0.1.
    assert_eq!(stand.ask("POST /reload", "", "").await.0, 202);
}
