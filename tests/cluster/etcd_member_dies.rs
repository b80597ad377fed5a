//! One of three etcd members dies: the one that leads them, whom the others then have to replace.

use std::time::Duration;

use anyhow::{Result, ensure};

use trunkline_support::faults::Fault;

use crate::shared::{clients, on_the_cluster, ready_router, told, unharmed};

const FAULT: Fault = Fault::EtcdLeaderDies;

#[tokio::test]
async fn the_death_of_one_etcd_member_breaks_no_session() -> Result<()> {
    on_the_cluster(async |stand| {
        let mut router = ready_router(stand).await?;
        let mut clients = clients(FAULT, stand, &router).await?;
        let leader = stand.patroni.leader().await?;
        let dead = stand.etcd.leader().await?;
        stand.etcd.kill(dead)?;
        // Past the end of the lease that was alive then: by now it was refreshed elsewhere.
        clients
            .write_for(Duration::from_secs(
                u64::from(stand.patroni.settings().ttl) + 5,
            ))
            .await?;
        let cost = unharmed(FAULT, clients, stand, &mut router).await?;
        ensure!(
            cost.sessions_cut() == 0,
            told("sessions were cut", &cost, &router)
        );
        let still = stand.patroni.leader().await?;
        ensure!(still == leader, "{still} leads instead of {leader}");
        stand.etcd.restart(dead).await
    })
    .await
}
