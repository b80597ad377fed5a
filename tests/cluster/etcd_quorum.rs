//! Two of three etcd members die at once: the third answers and cannot decide anything.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::patroni::Node;
use trunkline_support::router::Router;
use trunkline_support::stand::Stand;
use trunkline_support::wait::{throughout, until};
use trunkline_support::writer::Tls;

use crate::shared::{
    LOGIN, STEADY, clients, clients_with, on_the_cluster, ready_router, unharmed, unseen,
};

#[tokio::test]
async fn a_lost_quorum_costs_no_session_before_patroni_gives_its_primary_up() -> Result<()> {
    on_the_cluster(async |stand| {
        let mut router = ready_router(stand).await?;
        // In clear: a primary that Patroni gives up is shut down like one that is restarted, and refuses logins meanwhile.
        let clients = clients_with(Fault::QuorumLost, Tls::Never, stand, &router).await?;
        let leader = stand.patroni.leader().await?;
        let dead = lose_quorum(stand)?;
        until("Patroni gives its primary up", STEADY, async || {
            let killed = killed(&router).await?;
            // Asked later: whoever was killed before was killed while this primary was one.
            if is_primary(stand.patroni.node(&leader)?).await? {
                ensure!(killed == 0, "{killed} sessions were ended before");
                bail!("{leader} is primary");
            }
            Ok(())
        })
        .await
        .map_err(|failure| router.with_log(&failure))?;
        regain_quorum(dead, stand).await?;
        unharmed(Fault::QuorumLost, clients, stand, &mut router).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_lost_quorum_costs_nothing_in_failsafe_mode() -> Result<()> {
    on_the_cluster(async |stand| {
        stand.patroni.failsafe_on().await?;
        let mut router = ready_router(stand).await?;
        let clients = clients(Fault::QuorumLostFailsafe, stand, &router).await?;
        let leader = stand.patroni.leader().await?;
        let write = router.ports().write;
        let dead = lose_quorum(stand)?;
        let lease = Duration::from_secs(u64::from(stand.patroni.settings().ttl));
        throughout("logins are served", lease * 3 / 2, async || {
            let landed = stand.landing(write, LOGIN).await?;
            ensure!(
                landed == leader,
                "a login landed on {landed} while {leader} led"
            );
            Ok(())
        })
        .await
        .map_err(|failure| router.with_log(&failure))?;
        let status = stand.patroni.node(&leader)?.status().await?;
        ensure!(
            status["failsafe_mode_is_active"] == true,
            "no failsafe: {status}"
        );
        regain_quorum(dead, stand).await?;
        unseen(Fault::QuorumLostFailsafe, clients, stand, &mut router).await?;
        stand.patroni.failsafe_off().await
    })
    .await
}

fn lose_quorum(stand: &mut Stand) -> Result<[usize; 2]> {
    let dead = [0, 1];
    for index in dead {
        stand.etcd.kill(index)?;
    }
    Ok(dead)
}

/// The first member that is back makes a quorum with the one that stayed.
async fn regain_quorum(dead: [usize; 2], stand: &mut Stand) -> Result<()> {
    for index in dead {
        stand.etcd.restart(index).await?;
    }
    Ok(())
}

/// Sessions the router ended on the write port.
async fn killed(router: &Router) -> Result<u64> {
    let listener = router.listener("write").await?;
    let killed = listener["counters"]["killed"].as_u64();
    killed.ok_or_else(|| anyhow::anyhow!("it counts none: {listener}"))
}

async fn is_primary(node: &Node) -> Result<bool> {
    let status = node.status().await?;
    Ok(status["role"] == "primary" && status["state"] == "running")
}
