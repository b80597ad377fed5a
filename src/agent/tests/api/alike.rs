//! The same requests as a real Patroni 4.1.5 was asked, the only member of its cluster: the same answers, byte for
//! byte but for the date.
//!
//! Its configuration had a user `admin` with the password `secret` and a header of its own; what it was asked and
//! what it answered stands in `captured/answers.json`, what it had in etcd in `captured/keys.txt`.

use serde_json::Value;
use trunkline_core::config::agent::Rest;
use trunkline_core::config::router::Secret;
use trunkline_core::rest::Told;
use trunkline_core::wire::rest::StatusDocument;

use crate::captures;
use crate::stand::{Stand, current, rest, undated};

const ANSWERS: &str = include_str!("captured/answers.json");
const KEYS: &str = include_str!("captured/keys.txt").trim_ascii();

struct Exchange {
    request: String,
    answer: String,
}

fn exchanges() -> Vec<Exchange> {
    let listed: Vec<Value> = serde_json::from_str(ANSWERS).unwrap();
    let text = |exchange: &Value, field: &str| exchange[field].as_str().unwrap().to_owned();
    listed
        .iter()
        .map(|exchange| Exchange {
            request: text(exchange, "request"),
            answer: text(exchange, "answer"),
        })
        .collect()
}

/// What ours has and Patroni's does not.
fn without_ours(answer: &str) -> String {
    match answer.split_once(", \"leader_until_ms\": ") {
        Some((before, after)) => before.to_owned() + after.trim_start_matches(char::is_numeric),
        None => answer.to_owned(),
    }
}

#[tokio::test]
async fn every_answer_is_the_one_patroni_gave() {
    let exchanges = exchanges();
    let document = exchanges
        .iter()
        .find(|exchange| exchange.request.starts_with("GET /patroni "))
        .and_then(|exchange| exchange.answer.split_once("\r\n\r\n"))
        .map(|(_, body)| StatusDocument::parse(body.as_bytes()).unwrap())
        .unwrap();
    let view = captures::view(&KEYS.replace("service/cmp", "service/demo"));
    let told: Told = current(captures::told(&document, view, true));
    let configured = Rest {
        authentication: Some(("admin".to_owned(), Secret::new("secret".to_owned()))),
        extra_headers: vec![("x-lower-Case".to_owned(), "1".to_owned())],
        ..rest()
    };
    let stand = Stand::of((told, captures::database(&document)), configured).await;
    assert!(exchanges.len() > 90);
    for Exchange { request, answer } in exchanges {
        let given = stand.say(&request).await;
        assert_eq!(without_ours(&undated(&given)), answer, "{request}");
    }
    assert!(stand.requests.0.lock().unwrap().is_empty());
}
