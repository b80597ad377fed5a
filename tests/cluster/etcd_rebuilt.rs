//! etcd loses everything it stored and is set up anew, with the cluster paused as runbooks say.

use anyhow::{Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::wait::until;

use crate::shared::{STEADY, clients, on_the_cluster, ready_router, still_leads, unseen};

const FAULT: Fault = Fault::EtcdRebuilt;

#[tokio::test]
async fn a_store_rebuilt_in_pause_is_an_alarm_and_costs_no_session() -> Result<()> {
    on_the_cluster(async |stand| {
        let mut router = ready_router(stand).await?;
        stand.patroni.pause().await?;
        let clients = clients(FAULT, stand, &router).await?;
        let leader = stand.patroni.leader().await?;
        stand.etcd.wipe().await?;
        until("the router tells of it", STEADY, async || {
            let alarms = router.stats().await?["clusters"][0]["alarms"].to_string();
            ensure!(alarms.contains("rebuilt"), "its alarms: {alarms}");
            Ok(())
        })
        .await
        .map_err(|failure| router.with_log(&failure))?;
        unseen(FAULT, clients, stand, &mut router).await?;
        still_leads(&leader, stand).await?;
        stand.patroni.resume().await
    })
    .await
}
