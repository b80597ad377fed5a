//! All of etcd stands still until every lease is over, and then forgets leader and members at once.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::postgres::Sql;
use trunkline_support::stand::Stand;
use trunkline_support::wait::{throughout, until};

use crate::shared::{LOGIN, STEADY, clients, on_the_cluster, ready_router, unseen};

const FAULT: Fault = Fault::EtcdFrozen;
/// Enough for every replica to get one, as the fewest sessions win.
const READERS: usize = 4;

#[tokio::test]
async fn keys_that_expire_all_at_once_cost_no_session_and_no_replica() -> Result<()> {
    on_the_cluster(async |stand| {
        stand.patroni.failsafe_on().await?;
        let mut router = ready_router(stand).await?;
        let mut clients = clients(FAULT, stand, &router).await?;
        let leader = stand.patroni.leader().await?;
        let key = format!("/service/{}/leader", stand.patroni.settings().scope);
        let made = stand.etcd.client().await?.made_at(&key).await?;

        stand.etcd.freeze()?;
        let lease = Duration::from_secs(u64::from(stand.patroni.settings().ttl));
        clients.write_for(lease + Duration::from_secs(5)).await?;
        stand.etcd.thaw()?;
        let ports = router.ports();
        throughout("both ports serve", Duration::from_secs(5), async || {
            let landed = stand.landing(ports.write, LOGIN).await?;
            ensure!(
                landed == leader,
                "a login landed on {landed} while {leader} led"
            );
            let readers = readers(stand, ports.read).await?;
            ensure!(
                readers.len() == 2 && !readers.contains(&leader),
                "readers: {readers:?}"
            );
            Ok(())
        })
        .await
        .map_err(|failure| router.with_log(&failure))?;
        until("the leader key is another one", STEADY, async || {
            let now = stand.etcd.client().await?.made_at(&key).await?;
            ensure!(
                now.context("it is gone")? > made.context("there was none")?,
                "it is the same"
            );
            Ok(())
        })
        .await?;
        unseen(FAULT, clients, stand, &mut router).await?;
        stand.patroni.failsafe_off().await
    })
    .await
}

/// On which nodes a few sessions of the read port land.
async fn readers(stand: &Stand, read: std::net::SocketAddr) -> Result<BTreeSet<String>> {
    let mut sessions = Vec::new();
    let mut nodes = BTreeSet::new();
    for _ in 0..READERS {
        let sql = Sql::connect(read, LOGIN).await?;
        nodes.insert(stand.node_of(&sql).await?);
        sessions.push(sql);
    }
    Ok(nodes)
}
