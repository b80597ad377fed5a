//! One of three etcd members dies: the one that leads them, whom the others then have to replace.

use std::time::Duration;

use anyhow::Result;

use trunkline_support::faults::Fault;

use crate::shared::{clients, on_the_cluster, ready_router, still_leads, unseen};

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
        unseen(FAULT, clients, stand, &mut router).await?;
        still_leads(&leader, stand).await?;
        stand.etcd.restart(dead).await
    })
    .await
}
