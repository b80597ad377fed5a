//! The REST API of a fake member: one request a connection, HTTP/1.0, as Patroni's does it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::SYSTEM_ID;
use super::switch::{Mode, Switch};

/// What a fake REST API does with `GET /primary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// 200: a running primary with the lock.
    Primary,
    /// 503: a running primary that lost the lock.
    PrimaryWithoutLock,
    /// 503: a running replica that streams.
    Replica,
    /// 503: PostgreSQL is starting.
    Starting,
    /// 200, although PostgreSQL is stopping: Patroni answers so while it holds the lock.
    Stopping,
    /// Accepts, reads, and never answers.
    Silent,
    /// Nobody listens.
    Refused,
    /// A running primary under another member's name.
    ForeignName,
    /// A running primary of another database.
    ForeignSystem,
    /// 200 with a body that is no JSON.
    Garbage,
    /// What a TLS server answers to plain HTTP.
    Tls,
}

impl Mode for Rest {
    fn refuses(self) -> bool {
        self == Self::Refused
    }
}

/// The system identifier of a database that is none of ours.
const ANOTHER: &str = "7000000000000000001";

/// What a REST API behind TLS accepts with; it can be another from one connection to the next.
#[derive(Clone)]
pub(super) struct Acceptor(watch::Sender<TlsAcceptor>);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Acceptor {
    pub(super) fn new(acceptor: TlsAcceptor) -> Self {
        Self(watch::Sender::new(acceptor))
    }

    pub(super) fn turn(&self, acceptor: TlsAcceptor) {
        self.0.send_replace(acceptor);
    }

    fn now(&self) -> TlsAcceptor {
        self.0.borrow().clone()
    }
}

#[derive(Debug)]
pub(super) struct FakeRest {
    pub(super) address: SocketAddr,
    pub(super) mode: Switch<Rest>,
    pub(super) tls: Option<Acceptor>,
    asked: Arc<AtomicU64>,
}

impl FakeRest {
    pub(super) async fn start(
        scope: &str,
        name: &str,
        address: SocketAddr,
        tls: Option<Acceptor>,
    ) -> Result<Self> {
        let asked = Arc::new(AtomicU64::new(0));
        let (count, scope, name) = (Arc::clone(&asked), scope.to_owned(), name.to_owned());
        let acceptor = tls.clone();
        let serve = move |stream, mode| {
            let answer = answer(mode, &scope, &name);
            let acceptor = acceptor.as_ref().map(Acceptor::now);
            tokio::spawn(secured(stream, acceptor, answer, Arc::clone(&count)));
        };
        Ok(Self {
            address,
            mode: Switch::start(address, Rest::Replica, serve).await?,
            tls,
            asked,
        })
    }

    pub(super) const fn scheme(&self) -> &str {
        match self.tls {
            None => "http",
            Some(_) => "https",
        }
    }

    pub(super) fn times_asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The same behind TLS, if there is an acceptor for it.
async fn secured(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    answer: Option<Vec<u8>>,
    asked: Arc<AtomicU64>,
) {
    let Some(acceptor) = acceptor else {
        return reply(stream, answer, asked).await;
    };
    // A client that is refused was told why.
    if let Ok(mut stream) = acceptor.accept(stream).await {
        reply(&mut stream, answer, asked).await;
        drop(stream.shutdown().await);
    }
}

/// Reads one request, answers it, and closes; without an answer it waits for the other to give up.
async fn reply(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Option<Vec<u8>>,
    asked: Arc<AtomicU64>,
) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
    asked.fetch_add(1, Ordering::Relaxed);
    match answer {
        // Who asked may be gone already: that is its business.
        Some(answer) => drop(stream.write_all(&answer).await),
        None => while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {},
    }
}

/// The whole answer; `None` where there is none.
fn answer(mode: Rest, scope: &str, name: &str) -> Option<Vec<u8>> {
    let replica = || document(scope, name, "running", "replica", SYSTEM_ID);
    let primary = || document(scope, name, "running", "primary", SYSTEM_ID);
    let (code, body) = match mode {
        Rest::Primary => (200, primary()),
        Rest::PrimaryWithoutLock => (503, primary()),
        Rest::Replica => (503, replica()),
        Rest::Starting => (503, document(scope, name, "starting", "replica", SYSTEM_ID)),
        Rest::Stopping => (200, document(scope, name, "stopping", "primary", SYSTEM_ID)),
        Rest::ForeignName => (
            200,
            document(scope, "somebody-else", "running", "primary", SYSTEM_ID),
        ),
        Rest::ForeignSystem => (200, document(scope, name, "running", "primary", ANOTHER)),
        Rest::Garbage => (200, "<html>it works!</html>".to_owned()),
        Rest::Silent | Rest::Refused => return None,
        // A fatal alert: handshake failure.
        Rest::Tls => return Some(vec![0x15, 3, 3, 0, 2, 2, 40]),
    };
    let reason = if code == 200 {
        "OK"
    } else {
        "Service Unavailable"
    };
    let head = format!(
        "HTTP/1.0 {code} {reason}\r\nServer: BaseHTTP/0.6 Python/3.11.2\r\n\
         Content-Type: application/json\r\n\r\n"
    );
    Some([head.into_bytes(), body.into_bytes()].concat())
}

fn document(scope: &str, name: &str, state: &str, role: &str, system_id: &str) -> String {
    let xlog = match role {
        "primary" => json!({"location": 67_433_664}),
        _ => {
            json!({"received_location": 67_433_664, "replayed_location": 67_433_664, "paused": false})
        }
    };
    let mut document = json!({
        "state": state,
        "postmaster_start_time": "2026-11-21 08:30:55.763393+00:00",
        "role": role,
        "server_version": 150_020,
        "xlog": xlog,
        "timeline": 7,
        "dcs_last_seen": 1_795_249_913_u64,
        "database_system_identifier": system_id,
        "patroni": {"version": "4.1.5", "scope": scope, "name": name},
    });
    if role == "replica" {
        document["replication_state"] = Value::from("streaming");
    }
    document.to_string()
}
