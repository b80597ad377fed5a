//! Everything on the machine of our leading agent dies at once.

use anyhow::Result;
use trunkline_support::faults::Fault;

use crate::agents::{on_our_cluster, ready_router, somebody_else_leads};
use crate::shared::{clients, measured_asynchronously};

const FAULT: Fault = Fault::OursNodeKilled;

#[test]
fn a_leader_of_ours_killed_with_its_postgresql_costs_the_rest_of_its_lease_and_comes_back()
-> Result<()> {
    on_our_cluster(async |stand, wire| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let killed = stand.patroni.leader().await?;
        wire.kill(stand.patroni.node(&killed)?.host())?;
        measured_asynchronously(FAULT, clients, stand, &mut router).await?;
        somebody_else_leads(&killed, stand).await?;
        Ok(())
    })
}
