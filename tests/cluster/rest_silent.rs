//! Patroni's REST API says nothing any more while its loop and PostgreSQL are well.
//!
//! It serves a handful of requests at a time and waits for each without a bound; so a few clients
//! that connect and send nothing silence it, in production as here.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::net::TcpStream;
use trunkline_support::http;
use trunkline_support::postgres::Sql;
use trunkline_support::wait::{throughout, until};

use crate::shared::{LOGIN, on_the_cluster, ready_router};

/// More than Patroni's workers and the queue before them.
const MUTE_CLIENTS: usize = 20;

#[tokio::test]
async fn a_silent_rest_api_costs_no_session_and_new_ones_are_served() -> Result<()> {
    on_the_cluster(async |stand| {
        let router = ready_router(stand).await?;
        let write = router.ports().write;
        let leader = stand.patroni.leader().await?;
        let session = Sql::connect(write, LOGIN).await?;

        let _mute = silence(stand.patroni.node(&leader)?.rest()).await?;
        let longer_than_the_lease =
            Duration::from_secs(u64::from(stand.patroni.settings().ttl) + 5);
        throughout(
            "sessions are kept and made",
            longer_than_the_lease,
            async || {
                let landed = stand.landing(write, LOGIN).await?;
                ensure!(
                    landed == leader,
                    "a login landed on {landed} while {leader} led"
                );
                session.one::<i32>("SELECT 1").await?;
                Ok(())
            },
        )
        .await
        .map_err(|failure| router.with_log(&failure))
    })
    .await
}

/// Takes all of a REST API's workers; dropping the connections gives them back.
async fn silence(rest: SocketAddr) -> Result<Vec<TcpStream>> {
    let mut mute = Vec::new();
    for _ in 0..MUTE_CLIENTS {
        // Once its queue is full too, a connection is not even accepted.
        let connecting = TcpStream::connect(rest);
        match tokio::time::timeout(Duration::from_secs(1), connecting).await {
            Ok(connected) => mute.push(connected?),
            Err(_full) => break,
        }
    }
    until(
        "the REST API is silent",
        Duration::from_secs(30),
        async || match tokio::time::timeout(Duration::from_secs(2), http::get(rest, "/primary"))
            .await
        {
            Ok(Ok(answer)) => bail!("it answered {}", answer.status),
            Ok(Err(_)) | Err(_) => Ok(()),
        },
    )
    .await?;
    Ok(mute)
}
