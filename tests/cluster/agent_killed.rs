//! Our agent dies and its PostgreSQL does not: nobody notices, if it is back within the lease.

use anyhow::{Result, ensure};
use trunkline_support::faults::Fault;

use crate::agents::{on_our_cluster, ready_router, tenure};
use crate::shared::{clients, still_leads, unseen};

const FAULT: Fault = Fault::OursAgentKilled;

#[test]
fn a_leading_agent_killed_and_started_again_goes_on_with_its_tenure_and_its_postgresql()
-> Result<()> {
    on_our_cluster(async |stand, _| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let leader = stand.patroni.leader().await?;
        let mut store = stand.etcd.client().await?;
        let before = tenure(&mut store, stand).await?;
        let node = stand.patroni.node_mut(&leader)?;
        let postmaster = node.postmaster()?;
        node.kill_agent()?;
        node.start()?;
        unseen(FAULT, clients, stand, &mut router).await?;
        still_leads(&leader, stand).await?;
        ensure!(stand.patroni.node(&leader)?.postmaster()? == postmaster);
        ensure!(tenure(&mut store, stand).await? == before);
        Ok(())
    })
}

#[test]
fn a_replicas_agent_killed_and_started_again_finds_its_postgresql_streaming() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let replica = stand.patroni.candidate().await?;
        let node = stand.patroni.node_mut(&replica)?;
        let postmaster = node.postmaster()?;
        node.kill_agent()?;
        stand.patroni.wait_steady(crate::shared::STEADY).await?;
        ensure!(stand.patroni.node(&replica)?.postmaster()? == postmaster);
        Ok(())
    })
}
