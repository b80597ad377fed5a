//! The pump, case by case: what stalls, what ends, what is asked of it while it goes on.
//!
//! That bytes are exact whatever comes together is `pump_exact.rs`; what is counted for the whole process is
//! `pump_pipes.rs`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod pump_bench;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use pump_bench::{
    Between, Carrier, Flow, Running, again, has_pipe, on_one_thread, receive, receive_rest, send,
    send_until_full, stands_still, until,
};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;
use trunkline_router::pump::Pump;
use trunkline_router::session::ending::Ending;
use trunkline_router::socket;
use trunkline_router::stream::Stream;

/// A server that has sent until nobody took any more, and the pump that stands there, stopped.
struct Stalled {
    client: Stream,
    server: Stream,
    sent: Flow,
    traffic: std::sync::Arc<trunkline_router::traffic::Traffic>,
    pump: Pump,
}

async fn stalled(client: Carrier, server: Carrier) -> Stalled {
    let Between {
        client,
        mut server,
        traffic,
        pump,
    } = Between::over(client, server).await;
    let running = Running::start(pump);
    let mut sent = Flow::new(1);
    send_until_full(&mut server, &mut sent).await;
    let pump = running.stop().await;
    Stalled {
        client,
        server,
        sent,
        traffic,
        pump,
    }
}

#[test]
fn a_client_that_stalls_with_a_full_pipe_loses_nothing_over_whatever_carries_it() {
    for client in [Carrier::Tcp, Carrier::Unix] {
        for server in [Carrier::Tcp, Carrier::Unix] {
            on_one_thread(async {
                let mut at = stalled(client, server).await;
                let parts = at.pump.take_apart().unwrap();
                assert!(
                    has_pipe(&parts),
                    "{client:?} and {server:?} are not spliced"
                );
                at.pump = Pump::put_together(parts, std::sync::Arc::default()).unwrap();
                let running = Running::start(at.pump);
                let mut heard = Flow::new(1);
                receive(&mut at.client, &mut heard, at.sent.at()).await;
                tokio::join!(
                    send(&mut at.server, &mut at.sent, 3_000_000),
                    receive(&mut at.client, &mut heard, 3_000_000),
                );
                drop(at.server);
                receive_rest(&mut at.client, &mut heard).await.unwrap();
                assert_eq!(heard.at(), at.sent.at());
                drop(at.client);
                assert_eq!(running.ending().await, Ending::ServerClosed);
            });
        }
    }
}

#[test]
fn a_server_that_stalls_with_a_full_pipe_loses_nothing() {
    on_one_thread(async {
        let mut at = Between::tcp().await;
        let running = Running::start(at.pump);
        let mut sent = Flow::new(2);
        send_until_full(&mut at.client, &mut sent).await;
        at.client.shutdown().await.unwrap();
        let mut heard = Flow::new(2);
        receive_rest(&mut at.server, &mut heard).await.unwrap();
        assert_eq!(heard.at(), sent.at());
        assert_eq!(at.traffic.bytes().from_client, sent.at());
        drop(at.server);
        assert_eq!(running.ending().await, Ending::ClientClosed);
    });
}

#[test]
fn an_end_waits_for_what_is_in_the_pipe() {
    on_one_thread(async {
        let mut at = stalled(Carrier::Tcp, Carrier::Tcp).await;
        at.server.shutdown().await.unwrap();
        let running = Running::start(at.pump);
        let mut heard = Flow::new(1);
        receive_rest(&mut at.client, &mut heard).await.unwrap();
        assert_eq!(heard.at(), at.sent.at());
        // The other half still goes.
        let mut question = Flow::new(3);
        send(&mut at.client, &mut question, 10).await;
        receive(&mut at.server, &mut Flow::new(3), 10).await;
        drop(at.client);
        assert_eq!(running.ending().await, Ending::ServerClosed);
    });
}

#[test]
fn a_client_that_resets_ends_the_session_whatever_is_in_the_pipe() {
    on_one_thread(async {
        let mut at = stalled(Carrier::Tcp, Carrier::Tcp).await;
        let running = Running::start(at.pump);
        reset(at.client);
        assert_eq!(running.ending().await, Ending::ClientBroke);
        let server = &mut at.server;
        let _ = receive_rest(server, &mut Flow::new(9)).await;
    });
}

#[test]
fn a_client_that_resets_while_both_directions_are_full_leaves_no_session_behind() {
    on_one_thread(async {
        let mut at = Between::tcp().await;
        let running = Running::start(at.pump);
        send_until_full(&mut at.server, &mut Flow::new(1)).await;
        send_until_full(&mut at.client, &mut Flow::new(2)).await;
        reset(at.client);
        assert_eq!(running.ending().await, Ending::ClientBroke);
    });
}

/// PostgreSQL sends none, but what it sent would look complete.
#[test]
fn urgent_data_in_a_stream_does_not_pass_for_its_end() {
    on_one_thread(async {
        let mut at = Between::tcp().await;
        let running = Running::start(at.pump);
        let (mut sent, mut heard) = (Flow::new(1), Flow::new(1));
        for _ in 0..3 {
            tokio::join!(
                send(&mut at.server, &mut sent, 3_000_000),
                receive(&mut at.client, &mut heard, 3_000_000),
            );
        }
        assert_eq!(SockRef::from(&at.server).send_out_of_band(b"!").unwrap(), 1);
        send(&mut at.server, &mut sent, 1000).await;
        at.server.shutdown().await.unwrap();
        receive_rest(&mut at.client, &mut heard).await.unwrap();
        assert_eq!(heard.at(), sent.at());
        drop(running);
    });
}

#[test]
fn what_is_in_a_pipe_that_cannot_be_poured_is_copied() {
    on_one_thread(async {
        let at = stalled(Carrier::Tcp, Carrier::Tcp).await;
        let (mut client, mut server) = (at.client, at.server);
        let parts = at.pump.take_apart().unwrap();
        assert!(has_pipe(&parts));
        // What the kernel splices into nothing: a descriptor that appends.
        let to_client = &parts.descriptors[0];
        let flags = fcntl_getfl(to_client).unwrap() | OFlags::APPEND;
        fcntl_setfl(to_client, flags).unwrap();
        let pump = Pump::put_together(parts, std::sync::Arc::default()).unwrap();
        let running = Running::start(pump);
        server.shutdown().await.unwrap();
        let mut heard = Flow::new(1);
        receive_rest(&mut client, &mut heard).await.unwrap();
        assert_eq!(heard.at(), at.sent.at());
        drop(running);
    });
}

#[test]
fn what_came_before_a_reset_of_the_server_is_a_beginning_of_what_it_sent() {
    on_one_thread(async {
        let mut at = stalled(Carrier::Tcp, Carrier::Tcp).await;
        reset(at.server);
        let running = Running::start(at.pump);
        let mut heard = Flow::new(1);
        let _ = receive_rest(&mut at.client, &mut heard).await;
        assert!(heard.at() > 0 && heard.at() <= at.sent.at());
        drop(at.client);
        assert_eq!(running.ending().await, Ending::ServerBroke);
    });
}

#[test]
fn the_last_words_of_a_server_that_hung_up_on_a_client_that_sends_arrive() {
    on_one_thread(async {
        let mut at = Between::tcp().await;
        let running = Running::start(at.pump);
        // It reads nothing of what comes, so its kernel resets behind its last words.
        send_until_full(&mut at.client, &mut Flow::new(4)).await;
        let mut words = Flow::new(5);
        send(&mut at.server, &mut words, 500).await;
        drop(at.server);
        let mut heard = Flow::new(5);
        let _ = receive_rest(&mut at.client, &mut heard).await;
        assert_eq!(heard.at(), 500);
        assert_eq!(running.ending().await, Ending::ServerBroke);
    });
}

#[test]
fn the_router_knows_of_a_servers_end_before_the_client_does() {
    for resets in [false, true] {
        on_one_thread(async {
            let at = Between::tcp().await;
            let client = SockRef::from(&at.client).try_clone().unwrap();
            let seen = Rc::new(RefCell::new(Vec::new()));
            let see = Rc::clone(&seen);
            let running = Running::start_with(at.pump, move || {
                let mut byte = [std::mem::MaybeUninit::uninit(); 1];
                let outcome = client.peek(&mut byte).map_err(|error| error.kind());
                see.borrow_mut().push(outcome);
            });
            if resets {
                reset(at.server);
            } else {
                drop(at.server);
                let mut client = at.client;
                receive_rest(&mut client, &mut Flow::new(0)).await.unwrap();
                client.shutdown().await.unwrap();
            }
            let ending = running.ending().await;
            assert!(matches!(ending, Ending::ServerClosed | Ending::ServerBroke));
            // Once, and there was nothing to be seen by the client.
            assert_eq!(*seen.borrow(), [Err(io::ErrorKind::WouldBlock)]);
        });
    }
}

#[test]
fn a_client_that_ends_first_is_no_reason_to_doubt_the_server() {
    on_one_thread(async {
        let at = Between::tcp().await;
        let doubts = Rc::new(Cell::new(0));
        let doubted = Rc::clone(&doubts);
        let running = Running::start_with(at.pump, move || doubted.set(doubted.get() + 1));
        drop(at.client);
        let mut server = at.server;
        receive_rest(&mut server, &mut Flow::new(0)).await.unwrap();
        drop(server);
        assert_eq!(running.ending().await, Ending::ClientClosed);
        assert_eq!(doubts.get(), 0);
    });
}

#[test]
fn the_counters_move_while_the_session_goes_on() {
    on_one_thread(async {
        let mut at = Between::tcp().await;
        let running = Running::start(at.pump);
        let (mut asked, mut answered) = (Flow::new(6), Flow::new(7));
        for turn in 1..=3 {
            send(&mut at.client, &mut asked, 100).await;
            send(&mut at.server, &mut answered, 1_000_000).await;
            let heard = 1_000_000;
            receive(
                &mut at.client,
                &mut Flow::new(7).from(heard * (turn - 1)),
                heard,
            )
            .await;
            receive(
                &mut at.server,
                &mut Flow::new(6).from(100 * (turn - 1)),
                100,
            )
            .await;
            let traffic = &at.traffic;
            until("the bytes are counted", || {
                let bytes = traffic.bytes();
                (bytes.from_client, bytes.from_server) == (100 * turn, heard * turn)
            })
            .await;
        }
        running.stop().await;
    });
}

#[test]
fn a_session_that_waits_is_not_polled() {
    on_one_thread(async {
        let at = stalled(Carrier::Tcp, Carrier::Tcp).await;
        let mut server = at.server;
        // Stalled, the sender's half closed, and the other direction idle.
        server.shutdown().await.unwrap();
        let running = Running::start(at.pump);
        stands_still(|| at.traffic.bytes().from_server).await;
        let before = running.polls.get();
        sleep(Duration::from_millis(300)).await;
        let more = running.polls.get() - before;
        assert!(more <= 2, "polled {more} times while nothing happened");
        drop(at.client);
        running.ending().await;
    });
}

#[test]
fn a_session_taken_apart_and_put_together_goes_on_where_it_was() {
    on_one_thread(async {
        let mut at = stalled(Carrier::Tcp, Carrier::Tcp).await;
        let mut question = Flow::new(8);
        send(&mut at.client, &mut question, 700).await;
        at.client.shutdown().await.unwrap();
        let (mut heard, mut asked) = (Flow::new(1), Flow::new(8));
        for _ in 0..20 {
            at.pump = again(at.pump, &mut at.traffic);
            let running = Running::start(at.pump);
            receive(&mut at.client, &mut heard, 20_000).await;
            at.pump = running.stop().await;
        }
        let running = Running::start(at.pump);
        receive_rest(&mut at.server, &mut asked).await.unwrap();
        at.pump = running.stop().await;
        at.server.shutdown().await.unwrap();
        at.pump = again(at.pump, &mut at.traffic);
        let running = Running::start(at.pump);
        receive_rest(&mut at.client, &mut heard).await.unwrap();
        // The client closed its half first, in an earlier life of the session.
        assert_eq!(running.ending().await, Ending::ClientClosed);
        assert_eq!((heard.at(), asked.at()), (at.sent.at(), 700));
        let bytes = at.traffic.bytes();
        assert_eq!((bytes.from_server, bytes.from_client), (at.sent.at(), 700));
    });
}

#[test]
fn parts_that_do_not_belong_together_are_refused_by_name() {
    on_one_thread(async {
        let at = stalled(Carrier::Tcp, Carrier::Tcp).await;
        let mut parts = at.pump.take_apart().unwrap();
        let pipe = parts.descriptors.split_off(2);
        let refusal = Pump::put_together(parts, std::sync::Arc::default()).unwrap_err();
        assert!(
            refusal.to_string().contains("4 descriptors, 2 came"),
            "{refusal}"
        );
        drop(pipe);

        let at = stalled(Carrier::Tcp, Carrier::Tcp).await;
        let parts = at.pump.take_apart().unwrap();
        let mut stolen = [0; 5];
        rustix::io::read(&parts.descriptors[2], &mut stolen).unwrap();
        let refusal = Pump::put_together(parts, std::sync::Arc::default()).unwrap_err();
        assert!(
            refusal.to_string().contains("a pipe of it should hold"),
            "{refusal}"
        );
    });
}

#[test]
fn a_session_owns_little_beside_its_sockets() {
    let own = size_of::<Pump>() - 2 * size_of::<Stream>();
    assert!(own <= 128, "{own} bytes");
}

/// Closes so that the other side sees a reset.
fn reset(stream: Stream) {
    socket::reset_on_close(&stream);
    drop(stream);
}
