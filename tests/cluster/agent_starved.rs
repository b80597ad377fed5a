//! A primary that was restarted with more of a parameter than its standby has: PostgreSQL stops replay there and waits, and
//! our agent starts it again with as much.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trunkline_support::patroni::Settings;
use trunkline_support::postgres::Sql;
use trunkline_support::stand::Stand;
use trunkline_support::wait::until;

use crate::agents::{leader_key, settings};
use crate::shared::{CLUSTER, LOGIN, STEADY};

const CONNECTIONS: &str = "SELECT current_setting('max_connections')";

#[tokio::test]
async fn a_standby_whose_primary_has_more_connections_is_restarted_and_goes_on_replaying()
-> Result<()> {
    let _quiet = CLUSTER.lock().await;
    let two = Settings {
        nodes: 2,
        ..settings()
    };
    let mut stand = Stand::start(two).await?;
    let (leader, standby) = (
        stand.patroni.leader().await?,
        stand.patroni.candidate().await?,
    );
    let mut store = stand.etcd.client().await?;
    let key = leader_key(&stand).replace("leader", "config");
    let mut config: Value = serde_json::from_str(&store.get(&key).await?.context("no config")?)?;
    config["postgresql"]["parameters"] = json!({"max_connections": 150});
    store.put(&key, &config.to_string(), None).await?;
    for name in [&leader, &standby] {
        let node = stand.patroni.node(name)?;
        until("it waits for a restart", STEADY, async || {
            let status = node.status().await?;
            ensure!(status["pending_restart"] == true, "{name}: {status}");
            Ok(())
        })
        .await?;
    }
    // The primary alone is started again, by what a crash makes its agent do.
    stand.patroni.node(&leader)?.kill_postgresql()?;
    let address = stand.patroni.node(&leader)?.postgresql();
    let at_leader = until("the primary is back with more", STEADY, async || {
        let sql = Sql::connect(address, LOGIN).await?;
        let has: String = sql.one(CONNECTIONS).await?;
        ensure!(has == "150", "it has {has}");
        Ok(sql)
    })
    .await?;
    at_leader.run("CREATE TABLE later AS SELECT 1 AS a").await?;
    let node = stand.patroni.node(&standby)?;
    until("the standby replays what came later", STEADY, async || {
        let sql = Sql::connect(node.postgresql(), LOGIN).await?;
        let there: bool = sql.one("SELECT to_regclass('later') IS NOT NULL").await?;
        let paused: bool = sql.one("SELECT pg_is_wal_replay_paused()").await?;
        let has: String = sql.one(CONNECTIONS).await?;
        ensure!(there && !paused && has == "150", "{there} {paused} {has}");
        Ok(())
    })
    .await
    .map_err(|failure| node.with_log(failure))?;
    ensure!(
        stand.patroni.leader().await? == leader,
        "there was a failover"
    );
    let log = stand.patroni.node_mut(&standby)?.log()?;
    let said = "replay is paused because the primary has more of a parameter";
    ensure!(
        log.contains(said),
        "it was started again for another reason: {log}"
    );
    Ok(())
}
