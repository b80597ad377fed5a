//! A paused cluster: Patroni looks on while somebody else takes care of PostgreSQL.

use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::writer::Tls;

use crate::shared::{LOGIN, clients_with, on_the_cluster, ready_router, unharmed};

const FAULT: Fault = Fault::RestartedInPause;

#[tokio::test]
async fn a_primary_restarted_in_pause_gets_its_clients_back() -> Result<()> {
    on_the_cluster(async |stand| {
        let mut router = ready_router(stand).await?;
        stand.patroni.pause().await?;
        // In clear: this restart is announced to nobody, so a login may be under way when PostgreSQL begins to refuse,
        // and only what is said in clear can be kept from the client.
        let clients = clients_with(FAULT, Tls::Never, stand, &router).await?;
        let leader = stand.patroni.leader().await?;
        let node = stand.patroni.node(&leader)?;
        node.restart_postgresql(Duration::from_secs(60)).await?;
        unharmed(FAULT, clients, stand, &mut router).await?;
        let landed = stand.landing(router.ports().write, LOGIN).await?;
        ensure!(
            landed == leader,
            "the write port leads to {landed} instead of {leader}"
        );
        stand.patroni.resume().await
    })
    .await
}
