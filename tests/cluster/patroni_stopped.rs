//! `systemctl stop patroni` on the leader: its REST API goes first, then its PostgreSQL, then it
//! gives the lock away.

use std::time::Duration;

use anyhow::{Result, ensure};

use trunkline_support::faults::Fault;
use trunkline_support::writer::Tls;

use crate::shared::{clients_with, on_the_cluster, ready_router, unharmed};

const FAULT: Fault = Fault::PatroniStopped;

#[tokio::test]
async fn stopping_the_leaders_patroni_moves_its_clients_to_another_node() -> Result<()> {
    on_the_cluster(async |stand| {
        let mut router = ready_router(stand).await?;
        // In clear: nothing announces this stop, so a login may be under way when PostgreSQL begins to refuse, and
        // only what is said in clear can be kept from the client.
        let mut clients = clients_with(FAULT, Tls::Never, stand, &router).await?;
        let stopped = stand.patroni.leader().await?;
        stand
            .patroni
            .node_mut(&stopped)?
            .stop(Duration::from_secs(60))
            .await?;
        clients.all_writing_again(Duration::from_secs(60)).await?;
        let landed = stand
            .landing(router.ports().write, Duration::from_secs(40))
            .await?;
        ensure!(landed != stopped, "the write port still leads to {stopped}");
        unharmed(FAULT, clients, stand, &mut router).await?;
        Ok(())
    })
    .await
}
