//! One GET, one answer, one connection: Patroni's server speaks HTTP/1.0 and closes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::header::{CONNECTION, HOST};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::tls::Material;

/// The largest answer that is read; a status document has a few kB.
const MAX_BODY: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// It took longer than it may.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The connection could not be made or broke.
    #[error("{0}")]
    Connection(#[source] std::io::Error),
    /// TLS did not come about: most of all, a certificate is not to be trusted.
    #[error("TLS: {0}")]
    Tls(#[source] std::io::Error),
    /// What came is not HTTP, or breaks off.
    #[error("{}", with_causes(.0))]
    Http(#[source] hyper::Error),
    /// The body is larger than it may be, or breaks off.
    #[error("reading the body: {0}")]
    Body(String),
}

/// How a server that speaks TLS is met.
#[derive(Clone, Copy, Debug)]
pub struct Secured<'a> {
    /// With which certificates.
    pub material: &'a Material,
    /// What the server's certificate must be for: a name, or an address without brackets.
    pub name: &'a str,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub code: u16,
    /// The body.
    pub body: Bytes,
}

/// Asks `address` for `path`; `host` goes into the Host header. All of it takes no longer than `within`.
///
/// # Errors
/// [`Trouble`], for whatever comes between.
pub async fn get(
    address: SocketAddr,
    host: &str,
    path: &str,
    tls: Option<Secured<'_>>,
    within: Duration,
) -> Result<Answer, Trouble> {
    timeout(within, exchange(address, host, path, tls))
        .await
        .unwrap_or(Err(Trouble::TimedOut(within)))
}

async fn exchange(
    address: SocketAddr,
    host: &str,
    path: &str,
    tls: Option<Secured<'_>>,
) -> Result<Answer, Trouble> {
    let stream = TcpStream::connect(address).await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::ConnectionRefused {
            Trouble::Refused
        } else {
            Trouble::Connection(error)
        }
    })?;
    stream.set_nodelay(true).map_err(Trouble::Connection)?;
    match tls {
        None => ask(stream, host, path).await,
        Some(Secured { material, name }) => {
            // A new connection for every question: what keeps it cheap is that TLS sessions are resumed.
            let stream = material.connect(name, stream).await;
            ask(stream.map_err(Trouble::Tls)?, host, path).await
        }
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    host: &str,
    path: &str,
) -> Result<Answer, Trouble> {
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .map_err(Trouble::Http)?;
    let request = Request::get(path)
        .header(HOST, host)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .unwrap_or_default();
    // The connection is driven here, beside the exchange: no task outlives the deadline.
    let answer = async {
        let response = sender.send_request(request).await.map_err(Trouble::Http)?;
        let code = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body
            .map_err(|error| Trouble::Body(error.to_string()))?
            .to_bytes();
        Ok(Answer { code, body })
    };
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        driven = connection => {
            driven.map_err(Trouble::Http)?;
            answer.await
        }
    }
}

/// hyper's own words name no cause.
fn with_causes(error: &hyper::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}
