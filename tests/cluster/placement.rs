//! At rest: which port leads to which node.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use trunkline_support::postgres::Sql;

use crate::shared::{LOGIN, on_the_cluster, ready_router};

const LOGINS: usize = 8;

#[tokio::test]
async fn primary_replicas_and_sync_standby_are_where_the_ports_say() -> Result<()> {
    on_the_cluster(async |stand| {
        let router = ready_router(stand).await?;
        let ports = router.ports();
        let primary = BTreeSet::from([stand.patroni.leader().await?]);
        let standby = BTreeSet::from_iter(stand.patroni.streaming("sync_standby").await?);
        let mut replicas = BTreeSet::from_iter(stand.patroni.streaming("replica").await?);
        replicas.extend(standby.iter().cloned());

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
    })
    .await
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
