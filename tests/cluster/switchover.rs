//! The leader's place changes because somebody asked for it.

use anyhow::{Result, ensure};

use trunkline_support::faults::Fault;

use crate::shared::{clients, on_the_cluster, ready_router, unharmed};

const FAULT: Fault = Fault::Switchover;

#[tokio::test]
async fn a_planned_switchover_refuses_no_login_and_loses_no_row() -> Result<()> {
    on_the_cluster(async |stand| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let candidate = stand.patroni.candidate().await?;
        stand.patroni.switchover(&candidate).await?;
        unharmed(FAULT, clients, stand, &mut router).await?;
        let leader = stand.patroni.leader().await?;
        ensure!(leader == candidate, "{leader} leads instead of {candidate}");
        Ok(())
    })
    .await
}
