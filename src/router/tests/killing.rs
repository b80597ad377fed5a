//! The end of a killed session: its client hears what the server had said, and then the end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod pump_bench;

use std::sync::Arc;
use std::time::Duration;

use pump_bench::{Between, Flow, Running, has_pipe, on_one_thread, receive_rest, send_until_full};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use trunkline_router::pump::Pump;
use trunkline_router::stream::Stream;
use trunkline_router::traffic::Traffic;

const SOON: Duration = Duration::from_secs(20);

/// Both ends of a connection.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (connected, accepted) = tokio::join!(connecting, listener.accept());
    (connected.unwrap(), accepted.unwrap().0)
}

#[tokio::test]
async fn what_the_server_had_said_comes_before_the_end() {
    let (mut client, front) = connection().await;
    let (back, mut server) = connection().await;
    let said = b"FATAL: terminating connection due to administrator command".repeat(1_000);
    server.write_all(&said).await.unwrap();
    let traffic = Arc::new(Traffic::default());
    let mut pump = Pump::new(Stream::Tcp(front), Stream::Tcp(back), Arc::clone(&traffic));
    let mut heard = Vec::new();
    let hearing = timeout(SOON, client.read_to_end(&mut heard));
    let telling = async {
        pump.deliver().await;
        pump.close()
    };
    let (_remains, heard_all) = tokio::join!(telling, hearing);
    heard_all.unwrap().unwrap();
    assert!(heard == said, "{} of {} bytes", heard.len(), said.len());
    assert_eq!(traffic.bytes().from_server, said.len() as u64);
}

#[test]
fn what_was_on_its_way_through_a_pipe_is_delivered_too() {
    on_one_thread(async {
        let mut at = Between::tcp().await;
        let running = Running::start(at.pump);
        send_until_full(&mut at.server, &mut Flow::new(1)).await;
        let parts = running.stop().await.take_apart().unwrap();
        assert!(has_pipe(&parts));
        let held = rustix::io::ioctl_fionread(&parts.descriptors[2]).unwrap();
        let counted = parts.state.bytes().from_server;
        let mut pump = Pump::put_together(parts, Arc::default()).unwrap();
        let telling = async {
            pump.deliver().await;
            pump.close()
        };
        let mut heard = Flow::new(1);
        let hearing = receive_rest(&mut at.client, &mut heard);
        let (_remains, _) = tokio::join!(telling, hearing);
        let (least, heard) = (counted + held, heard.at());
        assert!(heard >= least, "{heard} bytes, not even {least}");
    });
}

#[tokio::test]
async fn the_client_hears_the_end_before_the_session_is_cleared_away() {
    let (mut client, front) = connection().await;
    let (back, mut server) = connection().await;
    let remains = Pump::new(Stream::Tcp(front), Stream::Tcp(back), Arc::default()).close();
    let mut byte = [0; 1];
    let end = timeout(SOON, client.read(&mut byte)).await;
    assert_eq!(end.unwrap().unwrap(), 0);
    remains.clear_away().await;
    let end = timeout(SOON, server.read(&mut byte)).await;
    assert_eq!(end.unwrap().unwrap(), 0);
}
