//! A router that starts when nothing is proven yet: its first clients wait, and never meet a wrong
//! node.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::http;
use trunkline_support::patroni::Node;
use trunkline_support::postgres::Sql;
use trunkline_support::router::Router;
use trunkline_support::stand::Stand;
use trunkline_support::wait::{throughout, until};

use crate::shared::{BINARY, LOGIN, STEADY, on_the_cluster};

#[tokio::test]
async fn a_router_started_while_nobody_leads_holds_its_clients_until_somebody_does() -> Result<()> {
    on_the_cluster(async |stand| {
        stop_all_nodes(stand).await?;
        let router = stand.router(Path::new(BINARY)).await?;
        ensure_holding(&router).await?;

        stand
            .patroni
            .nodes_mut()
            .iter_mut()
            .try_for_each(Node::start)?;
        // Were the cluster slower than the hold, a login would be refused, and the next one held.
        until(
            "a login through the write port is served",
            STEADY,
            async || ensure_primary(&router, LOGIN).await,
        )
        .await
        .map_err(|failure| router.with_log(&failure))
    })
    .await
}

#[tokio::test]
async fn a_router_started_while_etcd_is_silent_leads_nowhere_wrong() -> Result<()> {
    on_the_cluster(async |stand| {
        stand.etcd.freeze()?;
        let mut router = stand.router(Path::new(BINARY)).await?;
        // Shorter than Patroni's patience with etcd, so that the primary stays what it is.
        throughout(
            "no login meets a replica",
            Duration::from_secs(3),
            async || match Sql::connect(router.ports().write, Duration::from_millis(500)).await {
                Ok(sql) => ensure_not_recovering(&sql).await,
                Err(_held) => Ok(()),
            },
        )
        .await?;
        stand.etcd.thaw()?;
        router.wait_ready(&["write"], STEADY).await?;
        ensure_primary(&router, LOGIN).await
    })
    .await
}

#[tokio::test]
async fn routers_started_in_the_middle_of_a_switchover_never_lead_to_a_wrong_node() -> Result<()> {
    on_the_cluster(async |stand| {
        let candidate = stand.patroni.candidate().await?;
        let over = std::cell::Cell::new(false);
        let switch = async {
            stand.patroni.switchover(&candidate).await?;
            over.set(true);
            anyhow::Ok(())
        };
        let starts = async {
            let mut routers = 0;
            while !over.get() || routers < 5 {
                routers += 1;
                let router = stand.router(Path::new(BINARY)).await?;
                for _ in 0..5 {
                    let primary = ensure_primary(&router, LOGIN).await;
                    primary.map_err(|failure| router.with_log(&failure))?;
                }
            }
            anyhow::Ok(())
        };
        let (switched, started) = tokio::join!(switch, starts);
        switched.and(started)
    })
    .await
}

/// Replicas first, so that none of them takes over; the leader then gives the lock back.
async fn stop_all_nodes(stand: &mut Stand) -> Result<()> {
    let leader = stand.patroni.leader().await?;
    for node in stand
        .patroni
        .nodes_mut()
        .iter_mut()
        .filter(|node| node.name() != leader)
    {
        node.stop(Duration::from_secs(60)).await?;
    }
    stand
        .patroni
        .node_mut(&leader)?
        .stop(Duration::from_secs(60))
        .await
}

async fn ensure_holding(router: &Router) -> Result<()> {
    let ready = http::get(router.ports().stats, "/ready/write").await?;
    ensure!(
        ready.status == 503,
        "/ready/write says {} while nobody leads",
        ready.status
    );
    let held = Sql::connect(router.ports().write, Duration::from_secs(2)).await;
    let told = held
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(
        told.contains("nothing within"),
        "a login was not held but: {told:?}"
    );
    Ok(())
}

async fn ensure_primary(router: &Router, bound: Duration) -> Result<()> {
    let sql = Sql::connect(router.ports().write, bound).await?;
    ensure_not_recovering(&sql).await
}

async fn ensure_not_recovering(sql: &Sql) -> Result<()> {
    let recovering: bool = sql.one("SELECT pg_is_in_recovery()").await?;
    ensure!(
        !recovering,
        "the write port leads to {}, a replica",
        sql.server_address().await?
    );
    Ok(())
}
