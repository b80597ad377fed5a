//! Three nodes from nothing: one makes the cluster, the others copy it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trunkline_support::postgres::Sql;
use trunkline_support::wait::until;

use crate::agents::{leader_key, on_our_cluster};
use crate::shared::{LOGIN, STEADY};

#[test]
fn three_agents_make_one_cluster_and_write_down_what_patroni_would() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let leader = stand.patroni.leader().await?;
        let sql = Sql::connect(stand.patroni.node(&leader)?.postgresql(), LOGIN).await?;
        let id: String = sql
            .one("SELECT system_identifier::text FROM pg_control_system()")
            .await?;
        let users: Vec<(String, bool)> = sql
            .pairs(
                "SELECT rolname::text, rolsuper FROM pg_roles WHERE rolcanlogin ORDER BY 1",
                &[],
            )
            .await?;
        // Clients of other tests may have brought users of their own.
        for (made, is_super) in [
            ("postgres", true),
            ("replicator", false),
            ("rewinder", false),
        ] {
            ensure!(users.contains(&(made.to_owned(), is_super)), "{users:?}");
        }

        let mut store = stand.etcd.client().await?;
        let base = leader_key(stand).replace("leader", "");
        let keys: Vec<(String, String)> = store.list(&base).await?;
        let value = |name: &str| {
            let found = keys.iter().find(|(key, _)| *key == format!("{base}{name}"));
            found
                .map(|(_, value)| value.clone())
                .with_context(|| format!("there is no {name}: {keys:?}"))
        };
        ensure!(value("initialize")? == id);
        ensure!(value("leader")? == leader);
        let config: Value = serde_json::from_str(&value("config")?)?;
        ensure!(config["ttl"] == stand.patroni.settings().ttl, "{config}");
        for node in stand.patroni.nodes() {
            let member: Value = serde_json::from_str(&value(&format!("members/{}", node.name()))?)?;
            let role = if node.name() == leader {
                "primary"
            } else {
                "replica"
            };
            ensure!(
                member["role"] == role && member["state"] == "running",
                "{member}"
            );
            ensure!(
                member["api_url"] == format!("http://{}/patroni", node.rest()),
                "{member}"
            );
            ensure!(
                member["version"]
                    .as_str()
                    .is_some_and(|it| it.starts_with("4.1.")),
                "{member}"
            );
        }
        let slots: Vec<(String, bool)> = sql
            .pairs(
                "SELECT slot_name::text, active FROM pg_replication_slots ORDER BY 1",
                &[],
            )
            .await?;
        for node in stand.patroni.nodes() {
            let used = (node.name().replace('-', "_"), true);
            ensure!(node.name() == leader || slots.contains(&used), "{slots:?}");
        }
        Ok(())
    })
}

#[test]
fn a_node_whose_directory_is_gone_comes_back_as_a_copy() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let leader = stand.patroni.leader().await?;
        let replica = stand.patroni.candidate().await?;
        let node = stand.patroni.node_mut(&replica)?;
        node.stop(STEADY).await?;
        let data = node.postmaster_file();
        let data = data.parent().context("a data directory")?;
        std::fs::remove_dir_all(data)?;
        stand.patroni.wait_steady(STEADY).await?;
        ensure!(stand.patroni.leader().await? == leader);
        until("the copy has what the leader has", STEADY, async || {
            let copy = stand.patroni.node(&replica)?.postgresql();
            let sql = Sql::connect(copy, LOGIN).await?;
            let standby: bool = sql.one("SELECT pg_is_in_recovery()").await?;
            ensure!(standby, "it is no standby");
            Ok(())
        })
        .await
    })
}
