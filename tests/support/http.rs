//! One HTTP request and its answer: enough for Patroni's REST API and the router's stats port.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::ca::Tls;

/// Long enough for a loaded machine, short enough that a frozen server is noticed.
const ORDINARY: Duration = Duration::from_secs(5);

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The whole body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body)
            .with_context(|| format!("not JSON ({}): {}", self.status, self.body))
    }
}

/// GET `path`, whatever the status.
pub async fn get(server: SocketAddr, path: &str) -> Result<Answer> {
    request("GET", server, path, None, ORDINARY).await
}

/// GET `path` as JSON; a status other than 200 is a failure.
pub async fn get_json(server: SocketAddr, path: &str) -> Result<Value> {
    let answer = get(server, path).await?;
    ensure!(
        answer.status == 200,
        "GET {server}{path}: {} {}",
        answer.status,
        answer.body
    );
    answer.json()
}

/// Sends `body` as JSON and waits up to `bound` for the answer.
pub async fn send_json(
    method: &str,
    server: SocketAddr,
    path: &str,
    body: &Value,
    bound: Duration,
) -> Result<Answer> {
    request(method, server, path, Some(body), bound).await
}

/// A server that may be met over TLS.
#[derive(Clone, Copy, Debug)]
pub struct Server<'t> {
    /// Where it is.
    pub address: SocketAddr,
    /// How to get in, where it speaks TLS.
    pub tls: Option<&'t Tls>,
}

impl Server<'_> {
    /// GET `path` as JSON; a status other than 200 is a failure.
    pub async fn get_json(self, path: &str) -> Result<Value> {
        let answer = request_of("GET", self, path, None, ORDINARY).await?;
        let status = answer.status;
        ensure!(status == 200, "GET {path}: {status} {}", answer.body);
        answer.json()
    }

    /// Posts `body` as JSON and waits up to `bound` for the answer.
    pub async fn post(self, path: &str, body: &Value, bound: Duration) -> Result<Answer> {
        request_of("POST", self, path, Some(body), bound).await
    }
}

async fn request(
    method: &str,
    address: SocketAddr,
    path: &str,
    body: Option<&Value>,
    bound: Duration,
) -> Result<Answer> {
    let server = Server { address, tls: None };
    request_of(method, server, path, body, bound).await
}

async fn request_of(
    method: &str,
    server: Server<'_>,
    path: &str,
    body: Option<&Value>,
    bound: Duration,
) -> Result<Answer> {
    let asked = async {
        let stream = TcpStream::connect(server.address)
            .await
            .context("connecting")?;
        match server.tls {
            None => exchange(stream, method, server.address, path, body).await,
            Some(tls) => {
                let to = ServerName::from(server.address.ip());
                let stream = tls.connector()?.connect(to, stream).await?;
                exchange(stream, method, server.address, path, body).await
            }
        }
    };
    tokio::time::timeout(bound, asked)
        .await
        .with_context(|| format!("no answer within {bound:?}"))
        .flatten()
        .with_context(|| format!("{method} {}{path}", server.address))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: &str,
    server: SocketAddr,
    path: &str,
    body: Option<&Value>,
) -> Result<Answer> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer; a failure of it is also one of `send_request`.
    tokio::spawn(connection);
    let body = body.map_or_else(String::new, Value::to_string);
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("Host", server.to_string())
        .header("Content-Type", "application/json")
        .header("Connection", "close")
        .body(Full::new(Bytes::from(body)))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status().as_u16();
    let bytes = answer
        .into_body()
        .collect()
        .await
        .context("reading the answer")?
        .to_bytes();
    Ok(Answer {
        status,
        body: String::from_utf8_lossy(&bytes).into_owned(),
    })
}
