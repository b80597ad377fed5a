//! The end of a killed session: its client hears what the server had said, and then the end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::sync::Arc;
use std::time::Duration;

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
