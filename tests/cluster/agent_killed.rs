//! Our agent dies and its PostgreSQL does not: nobody notices, if it is back within the lease.

use anyhow::{Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::wait::until;

use crate::agents::{on_our_cluster, ready_router, tenure};
use crate::shared::{STEADY, clients, still_leads, unseen};

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
        stand.patroni.wait_steady(STEADY).await?;
        ensure!(stand.patroni.node(&replica)?.postmaster()? == postmaster);
        Ok(())
    })
}

#[test]
fn an_agent_that_is_back_finds_a_primary_that_its_lock_file_does_not_name() -> Result<()> {
    on_our_cluster(async |stand, _| {
        // PostgreSQL looks at the file once a minute, so that a primary which has just been started does not meanwhile.
        let leader = stand.patroni.candidate().await?;
        let node = stand.patroni.node_mut(&leader)?;
        node.stop(STEADY).await?;
        node.start()?;
        stand.patroni.wait_steady(STEADY).await?;
        stand.patroni.switchover(&leader).await?;
        stand.patroni.wait_steady(STEADY).await?;
        let mut store = stand.etcd.client().await?;
        let before = tenure(&mut store, stand).await?;
        let node = stand.patroni.node_mut(&leader)?;
        let (postmaster, file) = (node.postmaster()?, node.postmaster_file());
        let right = std::fs::read(&file)?;
        node.kill_agent()?;
        std::fs::write(&file, "1\n/elsewhere\n1000\n")?;
        node.start()?;
        until("it finds what runs there", STEADY, async || {
            let log = node.log()?;
            ensure!(
                log.contains("that its postmaster.pid does not name"),
                "{log}"
            );
            Ok(())
        })
        .await?;
        // Before PostgreSQL looks at the file again and ends itself.
        std::fs::write(&file, right)?;
        stand.patroni.wait_steady(STEADY).await?;
        still_leads(&leader, stand).await?;
        ensure!(stand.patroni.node(&leader)?.postmaster()? == postmaster);
        ensure!(tenure(&mut store, stand).await? == before);
        Ok(())
    })
}
