//! The primary's PostgreSQL dies without a word, as by the kernel's out-of-memory killer.

use anyhow::Result;

use trunkline_support::faults::Fault;

use crate::shared::{clients, on_the_cluster, ready_router, unharmed};

const FAULT: Fault = Fault::PostgresqlKilled;

#[tokio::test]
async fn a_killed_primary_costs_its_clients_time_and_nothing_else() -> Result<()> {
    on_the_cluster(async |stand| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let leader = stand.patroni.leader().await?;
        stand.patroni.node(&leader)?.kill_postgresql()?;
        unharmed(FAULT, clients, stand, &mut router).await?;
        Ok(())
    })
    .await
}
