//! POST /switchover and POST /failover from the first check to the answer.

use std::time::Duration;

use tokio::task::JoinSet;
use trunkline_core::cluster::{Lock, Tenure};
use trunkline_core::postgres::Silence;
use trunkline_core::rest::Told;
use trunkline_core::wire::config::SynchronousMode;
use trunkline_core::wire::failover::Failover;
use trunkline_core::wire::member::{ApiUrl, State};
use trunkline_core::{Observed, Revision};
use trunkline_io::clock;

use crate::stand::{Answer, Stand, primary, replica, rest};

/// A leader `pg-2` whose only other member is `pg-1`, asked over its own API; asynchronous.
async fn pair(candidate: (Told, Answer)) -> (Stand, Stand) {
    let candidate = Stand::of(candidate, rest()).await;
    let (mut told, answer) = primary();
    told.config.synchronous_mode = SynchronousMode::Off;
    let Observed::Fresh { value: view, .. } = &mut told.view else {
        panic!("the view is not fresh");
    };
    view.config.synchronous_mode = SynchronousMode::Off;
    view.members.remove(&"pg-3".into());
    let member = view.members.get_mut(&"pg-1".into()).unwrap();
    let url = format!("http://{}/patroni", candidate.address);
    member.api = Some(ApiUrl::parse(&url).unwrap());
    (Stand::of((told, answer), rest()).await, candidate)
}

/// The same board with another view.
fn seen(stand: &Stand, change: impl FnOnce(&mut trunkline_core::cluster::ClusterView)) {
    let mut told = Told::clone(&stand.board.told());
    let Observed::Fresh { value: view, .. } = &mut told.view else {
        panic!("the view is not fresh");
    };
    change(view);
    stand.board.tell(told);
}

fn led_by(name: &str) -> Lock {
    Lock::Held {
        tenure: Tenure {
            holder: name.into(),
            store: trunkline_core::StoreNumber::FIRST,
            began: Revision(99),
        },
        lease: None,
    }
}

/// Waits until the request stands in etcd, then lets the cluster answer it.
async fn requested(stand: &Stand) -> String {
    tokio::time::timeout(Duration::from_secs(20), stand.wishes.woken())
        .await
        .unwrap();
    stand.requests.0.lock().unwrap().last().unwrap().clone()
}

#[tokio::test]
async fn a_switchover_is_requested_once_the_candidate_streams_and_answered_when_it_leads() {
    let (leader, _candidate) = pair(replica()).await;
    let body = r#"{"leader":"pg-2","candidate":"pg-1"}"#;
    let (answer, ()) = tokio::join!(leader.ask("POST /switchover", "", body), async {
        assert_eq!(
            requested(&leader).await,
            r#"{"leader":"pg-2","member":"pg-1"}"#
        );
        seen(&leader, |view| view.lock = Lock::Vacant);
        seen(&leader, |view| view.lock = led_by("pg-1"));
    });
    let expected = r#"Successfully switched over to "pg-1""#;
    assert_eq!(answer, (200, expected.to_owned()));
}

#[tokio::test]
async fn a_failover_answers_with_who_leads_instead_or_that_it_failed() {
    for (lock, code, text) in [
        (
            led_by("pg-3"),
            200,
            r#"Failed over to "pg-3" instead of "pg-1""#,
        ),
        (led_by("pg-2"), 503, "Failover failed"),
    ] {
        let (leader, _candidate) = pair(replica()).await;
        let body = r#"{"candidate":"pg-1"}"#;
        let (answer, ()) = tokio::join!(leader.ask("POST /failover", "", body), async {
            assert_eq!(requested(&leader).await, r#"{"member":"pg-1"}"#);
            seen(&leader, |view| {
                let key = trunkline_core::keys::Key::Failover;
                view.written.get_mut(&key).unwrap().modified = Revision(50);
                view.lock = lock;
            });
        });
        assert_eq!(answer, (code, text.to_owned()));
    }
}

#[tokio::test]
async fn a_candidate_that_does_not_stream_within_ten_seconds_refuses_the_switchover() {
    let (told, mut answer) = replica();
    answer.as_mut().unwrap().receiver = None;
    let (leader, _candidate) = pair((told, answer)).await;
    let asked = clock::now();
    let answer = leader
        .ask("POST /switchover", "", r#"{"leader":"pg-2"}"#)
        .await;
    let text = "switchover is not possible: pg-1 does not stream from the leader";
    assert_eq!(answer, (412, text.to_owned()));
    let took = clock::now().since(asked);
    assert!((10..20).contains(&took.as_secs()), "{took:?}");
    assert!(leader.requests.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_candidate_that_begins_to_stream_is_waited_for() {
    let (mut told, _) = replica();
    told.state = State::CreatingReplica;
    told.postmaster_up = false;
    // The answer of the PostgreSQL that is not asked before it runs.
    let (leader, candidate) = pair((told.clone(), replica().1)).await;
    let mut asking = JoinSet::new();
    let asked = clock::now();
    let whole = async move {
        let body = r#"{"leader":"pg-2","candidate":"pg-1"}"#;
        let (answer, ()) = tokio::join!(leader.ask("POST /switchover", "", body), async {
            requested(&leader).await;
            seen(&leader, |view| view.lock = led_by("pg-1"));
        });
        answer
    };
    asking.spawn(whole);
    let early = tokio::time::timeout(Duration::from_secs(1), asking.join_next()).await;
    assert!(early.is_err(), "it did not wait: {early:?}");
    told.state = State::Running;
    told.postmaster_up = true;
    candidate.board.tell(told);
    let answer = asking.join_next().await.unwrap().unwrap();
    assert_eq!(answer.0, 200, "{answer:?}");
    assert!(clock::now().since(asked) < Duration::from_secs(9));
}

#[tokio::test]
async fn whoever_cannot_take_over_is_no_candidate() {
    let mut forbidden = replica();
    let tags = &mut forbidden.0.tags.0;
    tags.insert("nofailover".to_owned(), true.into());
    let mut stopped = replica();
    stopped.0.state = State::Stopped;
    stopped.0.postmaster_up = false;
    stopped.1 = Err(Silence::NotAsked);
    for candidate in [forbidden, stopped] {
        let (leader, _candidate) = pair(candidate).await;
        for (path, body) in [
            ("switchover", r#"{"leader":"pg-2","candidate":"pg-1"}"#),
            ("failover", r#"{"candidate":"pg-1"}"#),
        ] {
            let answer = leader.ask(&format!("POST /{path}"), "", body).await;
            let text = format!("{path} is not possible: no good candidates have been found");
            assert_eq!(answer, (412, text));
        }
        assert!(leader.requests.0.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_scheduled_switchover_is_written_at_once_and_can_be_taken_back() {
    let (leader, _candidate) = pair(replica()).await;
    let body = r#"{"leader":"pg-2","candidate":"pg-1","scheduled_at":"2126-11-21T10:18:58+02:00"}"#;
    let answer = leader.ask("POST /switchover", "", body).await;
    assert_eq!(answer, (202, "Switchover scheduled".to_owned()));
    let key = requested(&leader).await;
    assert_eq!(
        key,
        r#"{"leader":"pg-2","member":"pg-1","scheduled_at":"2126-11-21T08:18:58+00:00"}"#
    );
    let none = leader.ask("DELETE /switchover", "", "").await;
    assert_eq!(none, (404, "no switchover is scheduled".to_owned()));
    seen(&leader, |view| {
        view.failover = Some(Failover::parse(key.as_bytes()).unwrap());
    });
    let answer = leader.ask("DELETE /switchover", "", "").await;
    assert_eq!(answer, (200, "scheduled switchover deleted".to_owned()));
    assert_eq!(requested_now(&leader), "withdraw 7");
}

fn requested_now(stand: &Stand) -> String {
    stand.requests.0.lock().unwrap().last().unwrap().clone()
}

#[tokio::test]
async fn requests_that_wait_are_few_and_keep_nobody_out() {
    let (told, mut answer) = replica();
    answer.as_mut().unwrap().receiver = None;
    let (leader, _candidate) = pair((told, answer)).await;
    let leader = std::sync::Arc::new(leader);
    let mut asking = JoinSet::new();
    for _ in 0..200 {
        let leader = std::sync::Arc::clone(&leader);
        asking.spawn(async move {
            let body = r#"{"leader":"pg-2"}"#;
            leader.ask("POST /switchover", "", body).await.0
        });
    }
    let first = asking.join_next().await.unwrap().unwrap();
    assert_eq!(first, 503);
    let asked = clock::now();
    assert_eq!(leader.ask("GET /primary", "", "").await.0, 200);
    let took = clock::now().since(asked);
    assert!(took < Duration::from_secs(6), "{took:?}");
    let codes: Vec<u16> = asking.join_all().await;
    let waited = codes.iter().filter(|code| **code == 412).count();
    assert_eq!(waited, 8, "{codes:?}");
}
