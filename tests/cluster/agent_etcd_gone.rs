//! All of etcd stands still: the leader cannot prove its lock, and takes no write when its lease may be over.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::moments::last_write;
use trunkline_support::postgres::Sql;
use trunkline_support::wait::until;

use crate::agents::{on_our_cluster, ready_router};
use crate::shared::{LOGIN, STEADY, clients, measured};

const FAULT: Fault = Fault::OursEtcdFrozen;
/// Until an agent that was started knows what runs there: a fraction of a second on an idle machine.
const START: Duration = Duration::from_secs(10);

#[test]
fn without_etcd_the_last_write_is_acknowledged_before_the_lease_can_end() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let leader = stand.patroni.leader().await?;
        let primary = stand.patroni.node(&leader)?.postgresql();
        let lease = stand.patroni.settings().lease();

        stand.etcd.freeze()?;
        let last = last_write(primary, lease + Duration::from_secs(2)).await;
        let last = last.context("it took no write")?;
        ensure!(
            last < lease,
            "a write was taken {last:?} after the last word of etcd, the lease is {lease:?}"
        );
        // Nor is it given up much earlier than it has to be.
        ensure!(last > lease / 4, "the last write was taken after {last:?}");
        until("it serves reads again", STEADY, async || {
            let sql = Sql::connect(primary, LOGIN).await?;
            let standby: bool = sql.one("SELECT pg_is_in_recovery()").await?;
            ensure!(standby, "{leader} takes writes again");
            Ok(())
        })
        .await?;
        stand.etcd.thaw()?;
        stand.patroni.wait_steady(STEADY).await?;
        measured(FAULT, clients, stand, &mut router).await?;
        Ok(())
    })
}

#[test]
fn an_agent_that_starts_without_etcd_does_not_leave_a_primary_running_that_it_finds() -> Result<()>
{
    on_our_cluster(async |stand, _| {
        let leader = stand.patroni.leader().await?;
        let lease = stand.patroni.settings().lease();
        stand.etcd.freeze()?;
        let node = stand.patroni.node_mut(&leader)?;
        node.kill_agent()?;
        node.start()?;
        let primary = stand.patroni.node(&leader)?.postgresql();
        let last = last_write(primary, lease + STEADY).await;
        let last = last.context("it took no write")?;
        ensure!(
            last < lease + START,
            "a write was taken {last:?} after the agent was started, the lease is {lease:?}"
        );
        stand.etcd.thaw()?;
        stand.patroni.wait_steady(STEADY).await?;
        Ok(())
    })
}
