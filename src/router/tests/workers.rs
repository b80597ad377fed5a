//! The threads that sessions run on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::collections::BTreeSet;
use std::future::pending;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use trunkline_io::processors;
use trunkline_io::shutdown::Tasks;
use trunkline_router::worker::{OnWorker, Workers};

const SOON: Duration = Duration::from_secs(20);

/// What `ask` answers on the worker of that number.
async fn asked<T: Send + 'static>(
    workers: &Workers,
    number: usize,
    ask: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (tell, told) = oneshot::channel();
    let task = async move {
        let _ = tell.send(ask());
    };
    Tasks::new().spawn_on(&workers.nth(number).runtime, "question", task);
    timeout(SOON, told).await.unwrap().unwrap()
}

#[test]
fn a_session_goes_to_the_emptiest_worker_and_stays_where_it_was_accepted_if_none_is_emptier() {
    let workers = Workers::start(Some(3)).unwrap();
    let mut places: Vec<OnWorker> = (0..5).map(|_| workers.place(1)).collect();
    let numbers: Vec<usize> = places.iter().map(OnWorker::number).collect();
    assert_eq!(numbers, [1, 2, 0, 1, 2]);
    // Two sessions of worker 1 end: one less than worker 0 has, two less than worker 2.
    places.retain(|place| place.number() != 1);
    assert_eq!(workers.place(2).number(), 1);
}

#[tokio::test]
async fn each_worker_is_a_thread_of_its_own_that_can_be_told_by_its_name() {
    let workers = Workers::start(Some(3)).unwrap();
    for number in 0..3 {
        let name = || thread::current().name().map(str::to_owned);
        let name = asked(&workers, number, name).await;
        assert_eq!(name, Some(format!("worker-{number}")));
    }
}

#[tokio::test]
async fn workers_are_kept_to_a_processor_each_only_where_there_are_as_many() {
    let all = processors::allowed();
    let workers = Workers::start(u32::try_from(all.len()).ok()).unwrap();
    let mut seen = BTreeSet::new();
    for number in 0..all.len() {
        let own = asked(&workers, number, processors::allowed).await;
        assert_eq!(own.len(), 1);
        seen.extend(own);
    }
    assert!(seen.iter().eq(&all), "{seen:?} of {all:?}");

    let more = Workers::start(u32::try_from(all.len() + 1).ok()).unwrap();
    assert_eq!(asked(&more, 0, processors::allowed).await, all);
}

#[tokio::test]
async fn a_session_that_panics_takes_nobody_with_it() {
    let workers = Workers::start(Some(1)).unwrap();
    let panicking = async { assert!(thread::current().name().is_none(), "on purpose") };
    Tasks::new().spawn_on(&workers.nth(0).runtime, "session", panicking);
    assert_eq!(asked(&workers, 0, || 7).await, 7);
}

#[tokio::test]
async fn a_worker_ends_and_drops_what_still_runs_on_it() {
    let workers = Workers::start(Some(2)).unwrap();
    let (held, dropped) = oneshot::channel::<()>();
    let task = async move {
        let _held = held;
        pending::<()>().await;
    };
    Tasks::new().spawn_on(&workers.nth(1).runtime, "session", task);
    assert!(workers.end(SOON).await, "some have not ended");
    assert!(timeout(SOON, dropped).await.unwrap().is_err());
}

#[tokio::test]
async fn a_worker_that_does_not_end_is_not_waited_for_without_a_bound() {
    let workers = Workers::start(Some(1)).unwrap();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (begin, began) = oneshot::channel();
    let task = async move {
        let _ = begin.send(());
        let _ = wait.recv_timeout(SOON);
    };
    Tasks::new().spawn_on(&workers.nth(0).runtime, "session", task);
    timeout(SOON, began).await.unwrap().unwrap();
    assert!(!workers.end(Duration::from_millis(50)).await);
    drop(go);
}
