//! How long it takes, counted from the call, until something happens to a client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::postgres::Sql;
use crate::wait::until;

/// Between two attempts to write: what a figure is off by at most.
const PAUSE: Duration = Duration::from_millis(10);
/// What a server that neither takes nor refuses a write may cost.
const ONE_WRITE: Duration = Duration::from_secs(1);

/// Until a session of which nobody asks anything ends.
pub async fn session_ends(session: &Sql, bound: Duration) -> Result<Duration> {
    let began = Instant::now();
    until("the idle session ends", bound, async || {
        ensure!(session.is_closed(), "it stands");
        Ok(())
    })
    .await?;
    Ok(began.elapsed())
}

/// Until one of `servers` takes a write of a client that logs in for each attempt and asks all of them in turn.
pub async fn first_write(servers: &[SocketAddr], bound: Duration) -> Result<Duration> {
    let began = Instant::now();
    let mut last = None;
    while began.elapsed() < bound {
        for server in servers {
            match write(*server, bound).await {
                Ok(()) => return Ok(began.elapsed()),
                Err(failure) => last = Some(failure),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    let last = last.context("there is no server to write to")?;
    Err(last.context(format!("no write within {bound:?}")))
}

/// When within `time` the last write was acknowledged by `server`; `None` if none was.
pub async fn last_write(server: SocketAddr, time: Duration) -> Option<Duration> {
    let began = Instant::now();
    let mut last = None;
    while began.elapsed() < time {
        let bound = time.saturating_sub(began.elapsed()).min(ONE_WRITE);
        if let Ok(Ok(())) = tokio::time::timeout(bound, write(server, bound)).await {
            last = Some(began.elapsed());
        }
        tokio::time::sleep(PAUSE).await;
    }
    last
}

async fn write(server: SocketAddr, bound: Duration) -> Result<()> {
    let sql = Sql::connect(server, bound).await?;
    // A record in the write-ahead log and a commit that waits for it, as of a row, without a table.
    sql.run("SELECT pg_logical_emit_message(true, 'trunkline', 'a first write')")
        .await
}
