//! At rest: which port leads to which node.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use trunkline_support::patroni::{Seen, streaming};
use trunkline_support::postgres::Sql;
use trunkline_support::router::Router;
use trunkline_support::stand::Stand;
use trunkline_support::wait::until;

use crate::shared::{LOGIN, STEADY, on_the_cluster, ready_router};

const LOGINS: usize = 8;

#[tokio::test]
async fn primary_replicas_and_sync_standby_are_where_the_ports_say() -> Result<()> {
    on_the_cluster(async |stand| {
        let router = ready_router(stand).await?;
        // Roles may still change hands: Patroni may choose another synchronous standby, say, after what the last
        // test did. What it says is one answer, and it has to be the same after the look at the ports.
        until("every port leads where Patroni says", STEADY, async || {
            let before = stand.patroni.seen().await?;
            look_at_ports(stand, &router, &before).await?;
            let after = stand.patroni.seen().await?;
            ensure!(
                roles(&before) == roles(&after),
                "{before:?}, then {after:?}"
            );
            Ok(())
        })
        .await
    })
    .await
}

/// Compares where each port leads with the roles Patroni gives.
async fn look_at_ports(stand: &Stand, router: &Router, seen: &[Seen]) -> Result<()> {
    let leads = |it: &&Seen| it.role == "leader" && it.state == "running";
    let primary: BTreeSet<_> = seen
        .iter()
        .filter(leads)
        .map(|it| it.name.clone())
        .collect();
    let standby = BTreeSet::from_iter(streaming(seen, "sync_standby"));
    let replicas = &BTreeSet::from_iter(streaming(seen, "replica")) | &standby;
    let ports = router.ports();
    for (port, expected) in [
        (ports.write, primary),
        (ports.read, replicas),
        (ports.sync, standby),
    ] {
        // Sessions that stay open make the balance reach every target.
        let mut sessions = Vec::new();
        let mut landed = BTreeSet::new();
        for _ in 0..LOGINS {
            let sql = Sql::connect(port, LOGIN).await?;
            landed.insert(stand.node_of(&sql).await?);
            sessions.push(sql);
        }
        ensure!(
            landed == expected,
            "{port} leads to {landed:?} instead of {expected:?}"
        );
    }
    Ok(())
}

fn roles(seen: &[Seen]) -> Vec<(&str, &str)> {
    seen.iter()
        .map(|it| (it.name.as_str(), it.role.as_str()))
        .collect()
}

#[tokio::test]
async fn the_stats_page_names_the_leader_and_every_member() -> Result<()> {
    on_the_cluster(async |stand| {
        let router = ready_router(stand).await?;
        let stats = router.stats().await?;
        let cluster = &stats["clusters"][0];
        let leader = stand.patroni.leader().await?;
        ensure!(
            cluster["leader"] == leader.as_str(),
            "{leader} leads, it says {cluster:#}"
        );
        let members = cluster["members"].as_array().map_or(0, Vec::len);
        ensure!(
            members == stand.patroni.nodes().len(),
            "{members} members: {cluster:#}"
        );
        Ok(())
    })
    .await
}
