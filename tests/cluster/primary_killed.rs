//! The primary's PostgreSQL dies without a word, as by the kernel's out-of-memory killer.

use anyhow::Result;

use crate::shared::{on_the_cluster, ready_router, unharmed, writers};

#[tokio::test]
async fn a_killed_primary_costs_its_clients_time_and_nothing_else() -> Result<()> {
    on_the_cluster(async |stand| {
        let mut router = ready_router(stand).await?;
        let writers = writers("primary-killed", stand, &router).await?;
        let leader = stand.patroni.leader().await?;
        stand.patroni.node(&leader)?.kill_postgresql()?;
        unharmed(writers, stand, &mut router).await?;
        Ok(())
    })
    .await
}
