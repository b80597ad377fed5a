//! The dynamic configuration in etcd: applied to PostgreSQL, pending where it takes a restart, and kept beside the data.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trunkline_support::postgres::Sql;
use trunkline_support::wait::until;

use crate::agents::{leader_key, on_our_cluster};
use crate::shared::{LOGIN, STEADY};

#[test]
fn what_changes_in_etcd_is_applied_or_pending_and_remembered_by_every_node() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let key = leader_key(stand).replace("leader", "config");
        let mut store = stand.etcd.client().await?;
        let before = store.get(&key).await?.context("a configuration")?;
        let mut config: Value = serde_json::from_str(&before)?;
        config["postgresql"]["parameters"] =
            json!({"work_mem": "5MB", "max_connections": 90, "colour": "blue"});
        store.put(&key, &config.to_string(), None).await?;
        for node in stand.patroni.nodes() {
            until("the configuration is taken up", STEADY, async || {
                let sql = Sql::connect(node.postgresql(), LOGIN).await?;
                let memory: String = sql.one("SHOW work_mem").await?;
                ensure!(memory == "5MB", "work_mem is {memory}");
                let connections: String = sql.one("SHOW max_connections").await?;
                ensure!(connections == "100", "max_connections is {connections}");
                let status = node.status().await?;
                ensure!(status["pending_restart"] == true, "{status}");
                let reason = &status["pending_restart_reason"]["max_connections"];
                ensure!(
                    *reason == json!({"old_value": "100", "new_value": "90"}),
                    "{status}"
                );
                let kept = node
                    .postmaster_file()
                    .with_file_name("patroni.dynamic.json");
                let kept: Value = serde_json::from_slice(&std::fs::read(kept)?)?;
                ensure!(kept == config, "{kept}");
                Ok(())
            })
            .await
            .map_err(|failure| node.with_log(failure))?;
        }
        store.put(&key, &before, None).await?;
        for node in stand.patroni.nodes() {
            until("nothing is pending any more", STEADY, async || {
                let status = node.status().await?;
                ensure!(status["pending_restart"].is_null(), "{status}");
                Ok(())
            })
            .await
            .map_err(|failure| node.with_log(failure))?;
        }
        Ok(())
    })
}
