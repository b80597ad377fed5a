//! `systemctl stop` of our leading agent: PostgreSQL stops, the lock goes, another leads at once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::writer::Tls;

use crate::agents::{leader_key, on_our_cluster, ready_router, somebody_else_leads};
use crate::shared::{STEADY, clients_with, unharmed};

const FAULT: Fault = Fault::OursStopped;

#[test]
fn stopping_our_leading_agent_hands_over_and_leaves_nothing_in_etcd() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let mut router = ready_router(stand).await?;
        // In clear: nothing announces this stop, so a login may be under way when PostgreSQL begins to refuse.
        let mut clients = clients_with(FAULT, Tls::Never, stand, &router).await?;
        let stopped = stand.patroni.leader().await?;
        let node = stand.patroni.node_mut(&stopped)?;
        node.stop(Duration::from_secs(60)).await?;
        ensure!(node.postmaster().is_err(), "its PostgreSQL still runs");
        // The lease was revoked: nobody waits for the member key to run out.
        let member = leader_key(stand).replace("leader", &format!("members/{stopped}"));
        let gone = stand.etcd.client().await?.get(&member).await?;
        ensure!(gone.is_none(), "it left {gone:?}");
        clients
            .all_writing_again(STEADY)
            .await
            .context("after the stop")?;
        somebody_else_leads(&stopped, stand).await?;
        unharmed(FAULT, clients, stand, &mut router).await?;
        Ok(())
    })
}
