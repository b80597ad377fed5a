//! Clients of the REST API that are silent, slow, huge or rude, many at once, and a PostgreSQL that stands still beside:
//! balancers are answered in time, and the leader leads.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use trunkline_support::http;
use trunkline_support::wait::throughout;

use crate::agents::{leader_key, on_our_cluster, tenure};

/// HAProxy gives a check two seconds, as people configure it for Patroni; here those who besiege the API take the same
/// processors as those who answer.
const PROMPT: Duration = Duration::from_secs(5);
const SILENT: usize = 200;

/// Sends these bytes, and returns all that is answered within some seconds.
async fn says(address: SocketAddr, bytes: &[u8], hang_up: bool) -> Result<String> {
    let exchange = async {
        let mut client = TcpStream::connect(address).await?;
        // Who has heard enough may reset the connection while there is more to send.
        let sent = client.write_all(bytes).await;
        if hang_up {
            let _closed = client.shutdown().await;
        }
        let mut answer = Vec::new();
        let read = client.read_to_end(&mut answer).await;
        if answer.is_empty() {
            sent.and(read.map(drop))?;
        }
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    timeout(Duration::from_secs(15), exchange)
        .await
        .context("no answer")?
}

/// Keeps connections open that say nothing, half a line, or a byte now and then, and never let the API alone.
fn besiege(address: SocketAddr) -> JoinSet<()> {
    let mut all = JoinSet::new();
    for number in 0..SILENT {
        all.spawn(async move {
            loop {
                let Ok(mut client) = TcpStream::connect(address).await else {
                    sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let begun: &[u8] = match number % 4 {
                    0 => b"",
                    1 => b"GET /prim",
                    2 => b"POST /switchover HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n{",
                    _ => b"GET / HTTP/1.1\r\nX-Slow: ",
                };
                let _sent = client.write_all(begun).await;
                while number % 4 == 3 && client.write_all(b"x").await.is_ok() {
                    sleep(Duration::from_millis(200)).await;
                }
                // Until it is thrown out.
                let _end = client.read_u8().await;
            }
        });
    }
    all
}

/// A balancer's check: the status line, in time.
async fn check(address: SocketAddr, method: &str, path: &str) -> Result<String> {
    let request = format!("{method} {path} HTTP/1.0\r\n\r\n");
    let answer = timeout(PROMPT, says(address, request.as_bytes(), false)).await;
    let late = || format!("{method} {path} took longer than {PROMPT:?}");
    let answer = answer.with_context(late)??;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn rude_clients_and_a_postgresql_that_stands_still_keep_no_check_waiting() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let leader = stand.patroni.leader().await?;
        let node = stand.patroni.node(&leader)?;
        let rest = node.rest();
        let mut store = stand.etcd.client().await?;
        let before = tenure(&mut store, stand).await?;
        let mut crowd = besiege(rest);

        for (what, request, hang_up, expected) in rude() {
            let answer = says(rest, &request, hang_up).await.context(what)?;
            ensure!(answer.starts_with(expected), "{what}: {answer:.300}");
            ensure!(
                answer.matches("HTTP/1.0 ").count() == 1,
                "{what}: {answer:.2000}"
            );
        }
        throughout("checks are answered", Duration::from_secs(3), async || {
            for method in ["GET", "HEAD", "OPTIONS"] {
                let status = check(rest, method, "/primary").await?;
                ensure!(status.contains(" 200 "), "{method}: {status}");
            }
            Ok(())
        })
        .await?;

        let standstill = stand.patroni.node(&leader)?.freeze_postgresql()?;
        throughout("checks are answered", Duration::from_secs(3), async || {
            for path in ["/primary", "/replica", "/patroni", "/liveness", "/metrics"] {
                let status = check(rest, "GET", path).await?;
                ensure!(
                    status.contains(" 200 ") || status.contains(" 503 "),
                    "{path}: {status}"
                );
            }
            Ok(())
        })
        .await?;
        drop(standstill);
        crowd.shutdown().await;

        let status = http::get(rest, "/patroni").await?.json()?;
        ensure!(status["role"] == "primary", "{status}");
        let now = tenure(&mut store, stand).await?;
        ensure!(now == before, "{} was made anew", leader_key(stand));
        Ok(())
    })
}

/// What a client may send, whether it hangs up then, and what it is answered.
fn rude() -> Vec<(&'static str, Vec<u8>, bool, &'static str)> {
    let long = "x".repeat(64 * 1024);
    let many: String = (0..2_000)
        .map(|number| format!("X-{number}: y\r\n"))
        .collect();
    let mut body = b"POST /switchover HTTP/1.1\r\nContent-Length: 10485760\r\n\r\n".to_vec();
    body.resize(body.len() + 10_485_760, b' ');
    let text = |text: String| text.into_bytes();
    vec![
        (
            "a long line",
            text(format!("GET /{long} HTTP/1.1\r\n\r\n")),
            false,
            "HTTP/1.0 414 ",
        ),
        (
            "a long header",
            text(format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n")),
            false,
            "HTTP/1.0 431 ",
        ),
        (
            "many headers",
            text(format!("GET / HTTP/1.1\r\n{many}\r\n")),
            false,
            "HTTP/1.0 431 ",
        ),
        ("10 MB", body, false, "HTTP/1.0 413 "),
        (
            "half closed",
            b"GET /primary HTTP/1.1\r\n\r\n".to_vec(),
            true,
            "HTTP/1.0 200 ",
        ),
        (
            "two at once",
            b"GET /primary HTTP/1.1\r\nHost: a\r\n\r\nGET /replica HTTP/1.1\r\nHost: a\r\n\r\n"
                .to_vec(),
            false,
            "HTTP/1.0 200 ",
        ),
        (
            "no HTTP",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
            false,
            "HTTP/1.0 400 ",
        ),
        (
            "no length",
            b"POST /switchover HTTP/1.1\r\n\r\n".to_vec(),
            false,
            "HTTP/1.0 411 ",
        ),
        (
            "rubbish as a body",
            b"POST /switchover HTTP/1.1\r\nContent-Length: 4\r\n\r\n\xff\xfe[[".to_vec(),
            false,
            "HTTP/1.0 400 ",
        ),
    ]
}
