//! What is told of bytes while sessions come, go and move them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use trunkline_core::MemberName;

use super::account::{Account, Accounts};
use super::{Bytes, Traffic};

const fn bytes(from_client: u64, from_server: u64) -> Bytes {
    Bytes {
        from_client,
        from_server,
    }
}

#[test]
fn bytes_are_seen_while_a_session_runs_and_stay_when_it_has_ended() {
    let account = Arc::new(Account::default());
    let (one, other) = (Arc::new(Traffic::default()), Arc::new(Traffic::default()));
    // What was moved before the session was entered counts as well.
    one.up(1);
    let entry = account.enter(&one);
    let stays = account.enter(&other);
    one.up(10);
    one.down(100);
    other.down(1_000);
    assert_eq!(account.read(), bytes(11, 1_100));
    drop(entry);
    assert_eq!(account.read(), bytes(11, 1_100));
    other.up(5);
    assert_eq!(account.read(), bytes(16, 1_100));
    drop(stays);
    assert_eq!(account.read(), bytes(16, 1_100));
}

#[test]
fn each_member_has_its_own_account_and_those_beyond_a_thousand_share_one() {
    let accounts = Accounts::default();
    let moved = |member: &str, count: u64| {
        let traffic = Arc::new(Traffic::default());
        traffic.down(count);
        drop(accounts.of(&MemberName::from(member)).enter(&traffic));
    };
    moved("a", 1);
    moved("b", 2);
    moved("a", 4);
    let told = accounts.read();
    assert_eq!(told.get(&MemberName::from("a")), Some(&bytes(0, 5)));
    assert_eq!(told.get(&MemberName::from("b")), Some(&bytes(0, 2)));
    for number in 0..2_000 {
        moved(&format!("m{number}"), 1);
    }
    moved("a", 8);
    let told = accounts.read();
    assert_eq!(told.len(), 1_001);
    assert_eq!(told.get(&MemberName::from("a")), Some(&bytes(0, 13)));
    assert_eq!(told.get(&MemberName::from("")), Some(&bytes(0, 1_002)));
    let all: Bytes = told.into_values().sum();
    assert_eq!(all, bytes(0, 15 + 2_000));
}

/// How often each reader reads.
const READS: u32 = 3_000;
/// How many sessions each thread has at once.
const AT_ONCE: usize = 20;

/// Sessions that come, count and go as fast as they can, the oldest first, until it is over. Returns what they moved.
fn sessions(account: &Arc<Account>, seed: u64, is_over: &AtomicBool) -> Bytes {
    let mut running = VecDeque::new();
    let mut moved = Bytes::default();
    while !is_over.load(Ordering::Relaxed) {
        let traffic = Arc::new(Traffic::default());
        running.push_back(account.enter(&traffic));
        let count = bytes(seed, 1_000 / seed);
        traffic.up(count.from_client);
        traffic.down(count.from_server);
        moved += count;
        if running.len() > AT_ONCE {
            running.pop_front();
        }
    }
    moved
}

/// Reads again and again; fails with what went back.
fn watch(account: &Account) -> Result<(), (Bytes, Bytes)> {
    let mut last = Bytes::default();
    for _ in 0..READS {
        let now = account.read();
        if now.from_client < last.from_client || now.from_server < last.from_server {
            return Err((last, now));
        }
        last = now;
    }
    Ok(())
}

#[test]
fn no_reader_ever_sees_bytes_go_back_and_in_the_end_none_is_missing_or_there_twice() {
    let account = &Arc::new(Account::default());
    let is_over = &AtomicBool::new(false);
    let (moved, watched) = thread::scope(|scope| {
        let movers = [1, 2, 3].map(|seed| scope.spawn(move || sessions(account, seed, is_over)));
        let watched = [(); 2].map(|()| scope.spawn(|| watch(account)));
        let watched = watched.map(thread::ScopedJoinHandle::join);
        is_over.store(true, Ordering::Relaxed);
        (movers.map(|mover| mover.join().unwrap()), watched)
    });
    for watched in watched {
        assert_eq!(watched.unwrap(), Ok(()), "it went back");
    }
    assert_eq!(account.read(), moved.into_iter().sum());
}
