//! What an operator, a disk or another program may do to a node: a clear sentence, no panic, no data touched, and the
//! node is back when what was wrong is mended.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use trunkline_support::parts::Parts;
use trunkline_support::patroni::Node;
use trunkline_support::postgres::Sql;
use trunkline_support::stand::Stand;
use trunkline_support::wait::{throughout, until};

use crate::agents::{AGENT, SHARED_KEYS, change_file, leader_key, on_our_cluster};
use crate::shared::{LOGIN, STEADY};

/// Five leases of the cluster.
const A_WHILE: Duration = Duration::from_secs(5);

fn data(node: &Node) -> PathBuf {
    node.postmaster_file().with_file_name("")
}

/// Runs a program as whoever runs PostgreSQL; with its complaints where it does not succeed.
fn as_postgres(parts: &Parts, program: &Path, arguments: &[&str], home: &Path) -> Result<String> {
    let mut command: Command = parts.command(program, home);
    if let Some(account) = &parts.account {
        command.uid(account.uid).gid(account.gid);
    }
    let output = command.args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}: {said}", program.display());
    Ok(said)
}

/// The node's log has these words in a line of that level, and no panic.
async fn says(node: &mut Node, level: &str, words: &str) -> Result<()> {
    let (level, mut log) = (format!("{level}: "), String::new());
    let found = until("it says what is wrong", STEADY, async || {
        log = node.log()?;
        // The level stands where tools look for it.
        let mut lines = log.lines().filter_map(|line| line.get(24..));
        ensure!(
            lines.any(|line| line.starts_with(&level) && line.contains(words)),
            "{log}"
        );
        Ok(())
    })
    .await;
    ensure!(!log.contains("panicked"), "{log}");
    found
}

async fn stopped(stand: &mut Stand) -> Result<String> {
    let name = stand.patroni.candidate().await?;
    stand.patroni.node_mut(&name)?.stop(STEADY).await?;
    Ok(name)
}

#[test]
fn a_second_agent_of_one_name_does_not_start() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let name = stand.patroni.candidate().await?;
        let node = stand.patroni.node(&name)?;
        let folder = stand
            .workdir
            .folder("namesake", stand.parts.account.as_ref())?;
        let file = folder.join("patroni.yml");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(node.config_file())?)?;
        config["postgresql"]["data_dir"] = json!(folder.join("data"));
        fs::write(&file, config.to_string())?;
        let mut command = Command::new("timeout");
        let output = command.arg("60").arg(AGENT).arg(&file).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{output:?}");
        let sentence =
            format!("CRITICAL: Can't start; there is already a node named '{name}' running");
        ensure!(
            said.lines()
                .filter_map(|line| line.get(24..))
                .any(|line| line == sentence),
            "{said}"
        );
        ensure!(!folder.join("data").exists(), "it made a data directory");
        stand.patroni.wait_steady(STEADY).await?;
        Ok(())
    })
}

#[test]
fn an_agent_that_finds_another_clusters_data_ends_and_leaves_it_alone() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let name = stopped(stand).await?;
        let parts = stand.parts.clone();
        let node = stand.patroni.node_mut(&name)?;
        let (data, aside) = (data(node), data(node).with_file_name("mine"));
        fs::rename(&data, &aside)?;
        let path = data.to_str().context("a path")?;
        let initdb = parts.postgresql("initdb");
        as_postgres(
            &parts,
            &initdb,
            &["--no-sync", "-A", "trust", path],
            data.parent().context("a home")?,
        )?;
        let control = fs::read(data.join("global/pg_control"))?;
        node.start()?;
        let status = node.patroni()?.wait(STEADY).await?;
        ensure!(status.code() == Some(1), "{status}");
        says(node, "CRITICAL", "belongs to a different cluster").await?;
        ensure!(
            fs::read(data.join("global/pg_control"))? == control,
            "the data was touched"
        );
        fs::remove_dir_all(&data)?;
        fs::rename(&aside, &data)?;
        stand.patroni.wait_steady(STEADY).await?;
        Ok(())
    })
}

#[test]
fn a_data_directory_that_cannot_be_read_is_waited_for() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let name = stopped(stand).await?;
        let node = stand.patroni.node_mut(&name)?;
        let data = data(node);
        let rights = fs::metadata(&data)?.permissions();
        fs::set_permissions(&data, PermissionsExt::from_mode(0o000))?;
        node.start()?;
        says(node, "INFO", "data directory is not accessible: ").await?;
        ensure!(node.is_running()?, "it ended");
        fs::set_permissions(&data, rights)?;
        stand.patroni.wait_steady(STEADY).await?;
        Ok(())
    })
}

#[test]
fn rubbish_in_postmaster_pid_is_postgresqls_to_refuse_and_told() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let name = stopped(stand).await?;
        let owner = stand.parts.account.clone();
        let node = stand.patroni.node_mut(&name)?;
        let file = node.postmaster_file();
        fs::write(&file, b"\xff\xfe-99999999999999999999\n\0")?;
        if let Some(owner) = owner {
            chown(&file, Some(owner.uid), Some(owner.gid))?;
        }
        node.start()?;
        says(node, "ERROR", "PostgreSQL ended while it was starting").await?;
        ensure!(node.is_running()?, "it ended");
        until("the REST API says so", STEADY, async || {
            let status = node.status().await?;
            ensure!(status["state"] == "start failed", "{status}");
            Ok(())
        })
        .await?;
        fs::remove_file(&file)?;
        stand.patroni.wait_steady(STEADY).await?;
        Ok(())
    })
}

#[test]
fn programs_that_are_missing_are_named() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let name = stopped(stand).await?;
        let node = stand.patroni.node_mut(&name)?;
        let right = fs::read(node.config_file())?;
        change_file(node, |config| {
            config["postgresql"]["bin_dir"] = json!("/nowhere")
        })?;
        node.start()?;
        says(
            node,
            "INFO",
            "data directory is not accessible: running /nowhere/",
        )
        .await?;
        ensure!(node.is_running()?, "it ended");
        node.stop(STEADY).await?;
        fs::write(node.config_file(), right)?;
        stand.patroni.wait_steady(STEADY).await?;
        Ok(())
    })
}

#[test]
fn rubbish_in_etcd_changes_no_leader_and_stops_no_write() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let leader = stand.patroni.leader().await?;
        let base = leader_key(stand).replace("leader", "");
        let mut store = stand.etcd.client().await?;
        let config = format!("{base}config");
        let before = store.get(&config).await?.context("a configuration")?;
        let rubbish = [
            "\u{0}\u{fffd}{[\"",
            "[]",
            "\"\"",
            "{\"ttl\": {}, \"leader\": 7, \"members\": null}",
        ];
        let primary = stand.patroni.node(&leader)?.postgresql();
        let sql = Sql::connect(primary, LOGIN).await?;
        // One that has only just won the lock is still being promoted.
        until("it takes writes", STEADY, async || {
            sql.run("CREATE TABLE IF NOT EXISTS rubbish (at timestamptz)")
                .await
        })
        .await?;
        for text in rubbish {
            for key in SHARED_KEYS.iter().chain(&["members/pg-9", "nothing/known"]) {
                store.put(&format!("{base}{key}"), text, None).await?;
            }
            throughout("the leader leads and takes writes", A_WHILE, async || {
                sql.run("INSERT INTO rubbish VALUES (now())").await?;
                let leads = store.get(&format!("{base}leader")).await?;
                ensure!(leads.as_deref() == Some(&*leader), "{leads:?} leads");
                Ok(())
            })
            .await?;
        }
        for key in [
            "sync",
            "failsafe",
            "members/pg-9",
            "nothing/known",
            "failover",
        ] {
            store.delete(&format!("{base}{key}")).await?;
        }
        store.put(&config, &before, None).await?;
        stand.patroni.wait_steady(STEADY).await?;
        for node in stand.patroni.nodes_mut() {
            let log = node.log()?;
            ensure!(
                !log.contains("panicked") && !log.contains("report it as a BUG"),
                "{log}"
            );
        }
        ensure!(
            stand.patroni.leader().await? == leader,
            "somebody else leads"
        );
        Ok(())
    })
}
