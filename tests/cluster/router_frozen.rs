//! The router itself stands still (a suspended machine, a debugger) while the leader changes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trunkline_support::background::spawn;
use trunkline_support::faults::Fault;
use trunkline_support::postgres::Sql;
use trunkline_support::wait::until;

use crate::shared::{LOGIN, STEADY, clients, on_the_cluster, ready_router, unharmed};

const FAULT: Fault = Fault::RouterFrozen;
/// Logins that wait before the frozen router, for the first thing it does to be routing.
const WAITING: usize = 8;

#[tokio::test]
async fn a_router_that_slept_through_a_switchover_wakes_to_the_new_leader() -> Result<()> {
    on_the_cluster(async |stand| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let candidate = stand.patroni.candidate().await?;
        let write = router.ports().write;

        router.process().freeze()?;
        stand.patroni.switchover(&candidate).await?;
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| spawn(Sql::connect(write, LOGIN)))
            .collect();
        // The old leader too accepts logins again: the router could be wrong if it did not look.
        until("the old leader is a replica", STEADY, async || {
            let streaming = stand.patroni.streaming("sync_standby").await?;
            ensure!(!streaming.is_empty(), "nobody is the synchronous standby");
            let replicas = stand.patroni.streaming("replica").await?.len();
            ensure!(replicas + streaming.len() == 2, "{replicas} others stream");
            Ok(())
        })
        .await?;
        router.process().thaw()?;
        for login in waiting {
            let sql = login.await.context("a login panicked")??;
            let landed = stand.node_of(&sql).await?;
            ensure!(
                landed == candidate,
                "a login that waited landed on {landed}"
            );
        }
        unharmed(FAULT, clients, stand, &mut router).await?;
        let landed = stand.landing(write, Duration::from_secs(5)).await?;
        ensure!(landed == candidate, "the write port leads to {landed}");
        Ok(())
    })
    .await
}
