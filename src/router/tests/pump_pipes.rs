//! The process's pipes: who has one when, and what becomes of bytes where there is none, or only a small one.
//!
//! These tests count what belongs to the process, so they run one after the other.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod pump_bench;

use std::fs;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use pump_bench::{
    Between, Flow, Running, has_pipe, on_one_thread, receive, receive_rest, send, send_until_full,
    until,
};
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size, pipe};
use rustix::process::{Resource, Rlimit, Uid, getrlimit, getuid, setrlimit};
use rustix::thread::set_thread_uid;
use trunkline_router::pump::Pump;
use trunkline_router::pump::parts::Parts;
use trunkline_router::pump::pipes::{self, Pipes};
use trunkline_router::session::ending::Ending;
use trunkline_router::socket;
use trunkline_router::stream::Stream;

static ALONE: Mutex<()> = Mutex::new(());
const PAGE: usize = 4096;

/// Runs a test alone, on a thread that leaves nothing behind.
fn alone<T: Future<Output = ()>>(test: impl FnOnce() -> T + Send + 'static) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    pipes::allow(64);
    pipes::want(usize::MAX);
    let ran = std::thread::spawn(move || on_one_thread(test())).join();
    let open = pipes::count().open;
    ran.unwrap();
    assert_eq!(open, 0, "pipes outlive their thread");
}

/// How many descriptors this process has open.
fn descriptors() -> usize {
    // The listing has one itself.
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// What happened since.
fn since(before: Pipes) -> Pipes {
    let now = pipes::count();
    Pipes {
        open: now.open,
        denied: now.denied - before.denied,
        shrunk: now.shrunk - before.shrunk,
    }
}

/// Streams some megabytes to the client, and all of it arrives.
async fn stream(server: &mut Stream, client: &mut Stream, sent: &mut Flow) {
    let mut heard = *sent;
    for _ in 0..3 {
        tokio::join!(
            send(server, sent, 3_000_000),
            receive(client, &mut heard, 3_000_000),
        );
    }
}

#[test]
fn sessions_that_are_idle_after_a_stream_own_nothing_but_their_sockets() {
    alone(|| async {
        let (before, mut sessions) = (descriptors(), Vec::new());
        for _ in 0..20 {
            let mut at = Between::tcp().await;
            let running = Running::start(at.pump);
            stream(&mut at.server, &mut at.client, &mut Flow::new(1)).await;
            sessions.push((running, at.client, at.server));
        }
        // One is enough for all of them; it waits for the next.
        until("the pipes come back", || pipes::count().open <= 1).await;
        assert_eq!(pipes::count().open, 1, "nothing was spliced");
        assert_eq!(descriptors(), before + 4 * sessions.len() + 2);
    });
}

#[test]
fn a_pipe_with_bytes_in_it_is_closed_with_its_session() {
    alone(|| async {
        let mut at = Between::tcp().await;
        let running = Running::start(at.pump);
        send_until_full(&mut at.server, &mut Flow::new(1)).await;
        assert_eq!(pipes::count().open, 1);
        socket::reset_on_close(&at.client);
        drop(at.client);
        running.ending().await;
        assert_eq!(pipes::count().open, 0);
    });
}

#[test]
fn a_stream_without_a_pipe_is_copied() {
    alone(|| async {
        pipes::allow(0);
        let before = pipes::count();
        let mut at = Between::tcp().await;
        let running = Running::start(at.pump);
        let mut sent = Flow::new(1);
        stream(&mut at.server, &mut at.client, &mut sent).await;
        let denied = since(before).denied;
        assert!(denied > 0, "none was wanted");
        assert!(denied < 20, "asked again and again: {denied} times");
        drop(at.server);
        receive_rest(&mut at.client, &mut sent).await.unwrap();
        drop(at.client);
        assert_eq!(running.ending().await, Ending::ServerClosed);
    });
}

#[test]
fn a_stream_arrives_where_a_pipe_has_no_more_than_a_page() {
    alone(|| async {
        pipes::want(PAGE);
        let mut at = Between::tcp().await;
        let running = Running::start(at.pump);
        stream(&mut at.server, &mut at.client, &mut Flow::new(1)).await;
        assert_eq!(pipes::count().open, 1);
        drop((at.server, at.client));
        running.ending().await;
    });
}

#[test]
fn the_last_pipe_goes_to_who_wants_it_first_and_the_others_copy() {
    alone(|| async {
        pipes::allow(1);
        let mut stalled = Vec::new();
        for key in 1..=3 {
            let mut at = Between::tcp().await;
            let running = Running::start(at.pump);
            let mut sent = Flow::new(key);
            send_until_full(&mut at.server, &mut sent).await;
            assert_eq!(pipes::count().open, 1);
            stalled.push((running, sent, at.client, at.server));
        }
        let mut with_pipe = Vec::new();
        for (key, (running, sent, mut client, server)) in (1..).zip(stalled) {
            let parts = running.stop().await.take_apart().unwrap();
            with_pipe.push(has_pipe(&parts));
            let pump = Pump::put_together(parts, Arc::default()).unwrap();
            let running = Running::start(pump);
            drop(server);
            let mut heard = Flow::new(key);
            receive_rest(&mut client, &mut heard).await.unwrap();
            assert_eq!(heard.at(), sent.at());
            drop(client);
            running.ending().await;
        }
        assert_eq!(with_pipe, [true, false, false]);
    });
}

#[test]
fn a_stream_is_copied_while_the_process_has_no_descriptor_left() {
    alone(|| async {
        let mut at = Between::tcp().await;
        let running = Running::start(at.pump);
        let (mut sent, before) = (Flow::new(1), pipes::count());
        let limits = getrlimit(Resource::Nofile);
        let full = Rlimit {
            current: Some(0),
            ..limits
        };
        // What is open stays so.
        setrlimit(Resource::Nofile, full).unwrap();
        let refused = pipe().is_err();
        stream(&mut at.server, &mut at.client, &mut sent).await;
        setrlimit(Resource::Nofile, limits).unwrap();
        assert!(refused, "there were descriptors left");
        let during = since(before);
        assert!(during.denied > 0 && during.open == 0, "{during:?}");
        // And spliced again once there are some.
        for _ in 0..5 {
            stream(&mut at.server, &mut at.client, &mut sent).await;
        }
        assert_eq!(pipes::count().open, 1);
        drop((at.server, at.client));
        running.ending().await;
    });
}

#[test]
fn pipes_that_the_kernel_makes_smaller_are_counted_and_used_while_they_are_worth_it() {
    alone(|| async {
        become_a_user_with_a_limit();
        let pages: usize = fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft")
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        assert!(
            pages > 0,
            "this machine does not limit pipes: set fs.pipe-user-pages-soft"
        );
        // Half of a large pipe is left, then next to nothing.
        let mut eaten = Vec::new();
        eat(&mut eaten, 128);
        drop(eaten.pop());
        let (before, parts) = (pipes::count(), stalled().await);
        let during = since(before);
        assert!(has_pipe(&parts) && during.shrunk == 1, "{during:?}");
        let granted = fcntl_getpipe_size(&parts.descriptors[2]).unwrap();
        assert!((64 * 1024..1024 * 1024).contains(&granted), "{granted}");
        drop(parts);

        eat(&mut eaten, 16);
        let (before, parts) = (pipes::count(), stalled().await);
        let during = since(before);
        assert!(!has_pipe(&parts), "a pipe of a page or two is no use");
        assert!(
            during.shrunk > 0 && during.denied > 0 && during.open == 0,
            "{during:?}"
        );
    });
}

/// A session whose client reads nothing, taken apart.
async fn stalled() -> Parts {
    let mut at = Between::tcp().await;
    let running = Running::start(at.pump);
    send_until_full(&mut at.server, &mut Flow::new(1)).await;
    running.stop().await.take_apart().unwrap()
}

/// This thread's user from now on; root has no limit. Its number is nobody's, so that nobody else has pipes.
fn become_a_user_with_a_limit() {
    if getuid().is_root() {
        set_thread_uid(Uid::from_raw(1_000_000_000 + std::process::id())).unwrap();
    }
}

/// Makes pipes of so many pages each, until this user may have no more.
fn eat(eaten: &mut Vec<(OwnedFd, OwnedFd)>, pages: usize) {
    loop {
        let pipe = pipe().unwrap();
        if fcntl_setpipe_size(&pipe.1, pages * PAGE).is_err() {
            return;
        }
        eaten.push(pipe);
    }
}
