//! The leader's place changes because somebody asked for it.

use anyhow::{Result, ensure};

use crate::shared::{on_the_cluster, ready_router, unharmed, writers};

#[tokio::test]
async fn a_planned_switchover_refuses_no_login_and_loses_no_row() -> Result<()> {
    on_the_cluster(async |stand| {
        let mut router = ready_router(stand).await?;
        let writers = writers("switchover", stand, &router).await?;
        let candidate = stand.patroni.candidate().await?;
        stand.patroni.switchover(&candidate).await?;
        unharmed(writers, stand, &mut router).await?;
        let leader = stand.patroni.leader().await?;
        ensure!(leader == candidate, "{leader} leads instead of {candidate}");
        Ok(())
    })
    .await
}
