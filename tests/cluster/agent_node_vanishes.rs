//! The machine of our leading agent is gone from the network: no packet comes back from it.

use std::time::Duration;

use anyhow::Result;
use trunkline_support::faults::Fault;
use trunkline_support::moments::first_write;

use crate::agents::{on_our_cluster, ready_router, somebody_else_leads};
use crate::shared::{clients, measured_asynchronously, note};

const FAULT: Fault = Fault::OursNodeVanishes;
/// A lease, an election, a promotion.
const FAILOVER: Duration = Duration::from_secs(60);

#[test]
fn a_vanished_leader_of_ours_is_replaced_after_its_lease_and_gives_up_before_that() -> Result<()> {
    on_our_cluster(async |stand, wire| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let vanished = stand.patroni.leader().await?;
        let host = stand.patroni.node(&vanished)?.host();
        let others = stand.patroni.others(&vanished);
        let cut = wire.silence(host)?;
        let write = [router.ports().write];
        let (straight, routed) = tokio::try_join!(
            first_write(&others, FAILOVER),
            first_write(&write, FAILOVER),
        )
        .map_err(|failure| router.with_log(&failure))?;
        cut.mend()?;
        let record = measured_asynchronously(FAULT, clients, stand, &mut router).await?;
        somebody_else_leads(&vanished, stand).await?;
        let [straight, routed] = [straight, routed].map(|took| took.as_secs_f64());
        note(
            record,
            format!(
                "first write straight at a node after {straight:.2} s, through the router after {routed:.2} s"
            ),
        )
    })
}
