//! Our agents in a paused cluster: they look on, whatever becomes of PostgreSQL.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trunkline_support::stand::Stand;
use trunkline_support::wait::until;

use crate::agents::{leader_key, on_our_cluster};
use crate::shared::STEADY;

/// Switches pause on or off as `patronictl` does, but in etcd.
async fn paused(stand: &Stand, on: bool) -> Result<()> {
    let key = leader_key(stand).replace("leader", "config");
    let mut store = stand.etcd.client().await?;
    let config = store.get(&key).await?.context("a configuration")?;
    let mut config: Value = serde_json::from_str(&config)?;
    config["pause"] = Value::from(on);
    store.put(&key, &config.to_string(), None).await
}

#[test]
fn in_pause_a_dead_primary_is_neither_started_nor_succeeded() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let leader = stand.patroni.leader().await?;
        paused(stand, true).await?;
        for node in stand.patroni.nodes() {
            until("the node knows of the pause", STEADY, async || {
                let status = node.status().await?;
                ensure!(status["pause"] == true, "{status}");
                Ok(())
            })
            .await?;
        }
        stand.patroni.node(&leader)?.kill_postgresql()?;
        let node = stand.patroni.node_mut(&leader)?;
        until(
            "the agent has looked on for three cycles",
            STEADY,
            async || {
                let log = node.log()?;
                let looked = log.matches("PAUSE: postgres is not running").count();
                ensure!(looked >= 3, "{looked} times");
                Ok(())
            },
        )
        .await?;
        let store = &mut stand.etcd.client().await?;
        let holder = store.get(&leader_key(stand)).await?;
        ensure!(holder.is_none(), "{holder:?} has the lock");
        for node in stand.patroni.nodes() {
            let status = node.status().await?;
            ensure!(
                status["role"] != "primary" || status["state"] != "running",
                "{status}"
            );
        }
        paused(stand, false).await?;
        stand.patroni.wait_steady(STEADY).await?;
        Ok(())
    })
}
