//! `patronictl restart`: the leader's PostgreSQL goes and comes back, the lock stays where it is.

use anyhow::{Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::writer::Tls;

use crate::shared::{LOGIN, clients_with, on_the_cluster, ready_router, unharmed};

const FAULT: Fault = Fault::Restarted;

#[tokio::test]
async fn a_restart_by_the_leader_is_one_gap_and_moves_nobody() -> Result<()> {
    on_the_cluster(async |stand| {
        let mut router = ready_router(stand).await?;
        // In clear: this restart is announced to nobody, so a login may be under way when PostgreSQL begins to refuse,
        // and only what is said in clear can be kept from the client.
        let clients = clients_with(FAULT, Tls::Never, stand, &router).await?;
        let leader = stand.patroni.leader().await?;
        stand.patroni.restart(&leader).await?;
        let cost = unharmed(FAULT, clients, stand, &mut router).await?;
        // Every client had one session, lost it once, and had another one on the same node.
        ensure!(cost.nodes.len() == 1, "rows were taken by {:?}", cost.nodes);
        let sessions = cost.sessions_cut();
        ensure!(
            sessions <= crate::shared::CLIENTS,
            "{sessions} sessions were cut"
        );
        let landed = stand.landing(router.ports().write, LOGIN).await?;
        ensure!(
            landed == leader,
            "the write port leads to {landed} instead of {leader}"
        );
        Ok(())
    })
    .await
}
