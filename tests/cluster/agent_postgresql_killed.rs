//! The primary's PostgreSQL dies without a word, under one of our agents.

use anyhow::Result;
use trunkline_support::faults::Fault;

use crate::agents::{on_our_cluster, ready_router};
use crate::shared::{clients, unharmed};

const FAULT: Fault = Fault::OursPostgresqlKilled;

#[test]
fn a_primary_killed_under_our_agent_costs_its_clients_time_and_nothing_else() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let leader = stand.patroni.leader().await?;
        stand.patroni.node(&leader)?.kill_postgresql()?;
        unharmed(FAULT, clients, stand, &mut router).await?;
        Ok(())
    })
}
