//! Everything on the leader's machine dies at once, its agent included: nobody is left to give the lock back.

use anyhow::{Result, ensure};
use trunkline_support::faults::Fault;

use crate::shared::{clients, ready_router, unharmed};
use crate::wire::on_the_wire;

const FAULT: Fault = Fault::NodeKilled;

#[test]
fn a_leader_killed_with_its_agent_costs_its_clients_the_rest_of_its_lease() -> Result<()> {
    on_the_wire(async |stand, wire| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let killed = stand.patroni.leader().await?;
        wire.kill(stand.patroni.node(&killed)?.host())?;
        unharmed(FAULT, clients, stand, &mut router).await?;
        let leader = stand.patroni.leader().await?;
        ensure!(
            leader != killed,
            "{killed} leads again, there was no failover"
        );
        Ok(())
    })
}
