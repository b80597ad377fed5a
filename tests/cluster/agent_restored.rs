//! A new cluster from a backup, as users of pgBackRest and WAL-G make it: `bootstrap.method` names their own program, and
//! what it restores recovers to a point in time before anybody is let in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trunkline_support::etcd::Etcd;
use trunkline_support::parts::Parts;
use trunkline_support::patroni::{Node, Patroni, Settings};
use trunkline_support::ports::Loopback;
use trunkline_support::postgres::Sql;
use trunkline_support::workdir::WorkDir;

use crate::agents::{change_file, settings};
use crate::shared::{CLUSTER, LOGIN, STEADY};

/// Whatever tells of the agent's own trust while it recovers.
const OWN_TRUST: &str = "local all postgres trust\n";

/// A cluster of one node, and a backup of it. Its fields end in the order they stand in.
struct Source {
    first: Patroni,
    etcd: Etcd,
    network: Loopback,
    parts: Parts,
    folder: PathBuf,
}

impl Source {
    /// One row was there when the backup was made, one came after it, and one after the point to recover to.
    async fn start() -> Result<Self> {
        let (parts, network) = (Parts::find()?, Loopback::lease()?);
        let workdir = Arc::new(WorkDir::new()?);
        let etcd = Etcd::start(1, &parts, &network, &workdir).await?;
        let one = Settings {
            nodes: 1,
            ..settings()
        };
        let first = Patroni::start(one, &etcd.endpoints(), &parts, &network, &workdir).await?;
        let source = Self {
            folder: workdir.folder("backups", parts.account.as_ref())?,
            first,
            etcd,
            network,
            parts,
        };
        let sql = Sql::connect(source.node().postgresql(), LOGIN).await?;
        sql.run("CREATE TABLE t AS SELECT 1 AS a").await?;
        source.back_up()?;
        sql.run("INSERT INTO t VALUES (2)").await?;
        sql.run("SELECT pg_create_restore_point('here')").await?;
        sql.run("INSERT INTO t VALUES (3); SELECT pg_switch_wal()")
            .await?;
        Ok(source)
    }

    fn node(&self) -> &Node {
        &self.first.nodes()[0]
    }

    fn data(&self) -> PathBuf {
        self.node().postmaster_file().with_file_name("")
    }

    fn backup(&self) -> PathBuf {
        self.folder.join("backup")
    }

    fn back_up(&self) -> Result<()> {
        let program = self.parts.postgresql("pg_basebackup");
        let mut command: Command = self.parts.command(&program, &self.folder);
        if let Some(account) = &self.parts.account {
            command.uid(account.uid).gid(account.gid);
        }
        let server = self.node().postgresql();
        let output = command
            .args([
                "--checkpoint=fast",
                "--wal-method=stream",
                "-U",
                "replicator",
            ])
            .arg(format!("--host={}", server.ip()))
            .arg(format!("--port={}", server.port()))
            .arg("--pgdata")
            .arg(self.backup())
            .output()?;
        ensure!(output.status.success(), "pg_basebackup: {output:?}");
        Ok(())
    }

    /// How a file of the log comes from the archive.
    fn restore_command(&self) -> String {
        format!("cp {}/pg_wal/%f %p", self.data().display())
    }

    /// A script that the agents can run.
    fn script(&self, name: &str, text: &str) -> Result<String> {
        let path = self.folder.join(name);
        fs::write(&path, format!("#!/bin/sh -e\n{text}\n"))?;
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// A method that copies the backup to where it is told, tells what it was told, and does `more` there.
    fn restores(&self, more: &str) -> Result<String> {
        let text = format!(
            r#"echo "$@" > {folder}/told
            for word; do case "$word" in --datadir=*) data="${{word#--datadir=}}";; esac; done
            cp -a "$1" "$data"
            cd "$data"
            {more}"#,
            folder = self.folder.display()
        );
        let script = self.script("restore", &text)?;
        Ok(format!("{script} {}", self.backup().display()))
    }

    /// Another cluster in the same store, which is made by this method: not started.
    fn second(&self, nodes: u8, method: &Value) -> Result<(Patroni, Arc<WorkDir>)> {
        let workdir = Arc::new(WorkDir::new()?);
        let settings = Settings {
            scope: "second".to_owned(),
            nodes,
            ..settings()
        };
        let (etcd, network) = (self.etcd.endpoints(), &self.network);
        let mut second = Patroni::prepare(settings, &etcd, &self.parts, network, &workdir)?;
        for node in second.nodes_mut() {
            // The first cluster's node has the address that the first of these would have.
            node.move_to(network, 50 + number(node), (5432, 8008))?;
            let data = node.postmaster_file().with_file_name("");
            let seen = self.folder.join("hba-while-it-recovers");
            let post_init = format!("cp {}/pg_hba.conf {}", data.display(), seen.display());
            let post_init = self.script(&format!("post-init-{}", node.name()), &post_init)?;
            change_file(node, |config| {
                let hba = config["postgresql"]["pg_hba"].take();
                config["bootstrap"]["pg_hba"] = hba;
                config["bootstrap"]["method"] = json!("backup");
                config["bootstrap"]["backup"] = method.clone();
                config["bootstrap"]["post_init"] = json!(post_init);
                config["bootstrap"]["dcs"]["postgresql"]["parameters"] =
                    json!({"max_connections": 50});
            })?;
        }
        Ok((second, workdir))
    }

    /// The cluster has what there was at the point to recover to, and is as configured.
    async fn was_restored(&self, second: &Patroni) -> Result<()> {
        let leader = second.leader().await?;
        let sql = Sql::connect(second.node(&leader)?.postgresql(), LOGIN).await?;
        let rows: String = sql
            .one("SELECT string_agg(a::text, ' ' ORDER BY a) FROM t")
            .await?;
        ensure!(rows == "1 2", "it has {rows}");
        for (setting, wanted) in [("max_connections", "50"), ("hot_standby", "on")] {
            let is: String = sql
                .one(&format!("SELECT current_setting('{setting}')"))
                .await?;
            ensure!(is == wanted, "{setting} is {is}");
        }
        let seen = fs::read_to_string(self.folder.join("hba-while-it-recovers"))?;
        ensure!(seen.contains(OWN_TRUST), "{seen}");
        let lines = seen.lines().filter(|line| line.starts_with("host all all"));
        ensure!(lines.count() == 0, "others were let in: {seen}");
        let data = second.node(&leader)?.postmaster_file().with_file_name("");
        let backup = fs::read_to_string(self.backup().join("pg_hba.conf"))?;
        let hba = fs::read_to_string(data.join("pg_hba.conf"))?;
        ensure!(
            hba.starts_with(&backup) && hba.len() > backup.len(),
            "{hba}"
        );
        ensure!(!hba.contains(OWN_TRUST), "{hba}");
        for left in ["recovery.signal", "standby.signal"] {
            ensure!(!data.join(left).exists(), "{left} is still there");
        }
        let auto = fs::read_to_string(data.join("postgresql.auto.conf"))?;
        ensure!(!auto.contains("\nrestore_command"), "{auto}");
        Ok(())
    }
}

fn number(node: &Node) -> u8 {
    node.name().bytes().last().map_or(0, |digit| digit - b'0')
}

async fn quietly(test: impl AsyncFnOnce(Source) -> Result<()>) -> Result<()> {
    let _quiet = CLUSTER.lock().await;
    test(Source::start().await?).await
}

#[tokio::test]
async fn a_cluster_made_from_a_backup_ends_where_recovery_conf_says() -> Result<()> {
    quietly(async |source| {
        let method = json!({
            "command": source.restores("")?,
            "stanza": "demo",
            "recovery_conf": {
                "restore_command": source.restore_command(),
                "recovery_target_name": "here",
                "recovery_target_action": "promote",
            },
        });
        let (mut second, _workdir) = source.second(2, &method)?;
        let leader = second.wait_steady(STEADY).await?;
        source.was_restored(&second).await?;
        let data = second.node(&leader)?.postmaster_file().with_file_name("");
        let told = fs::read_to_string(source.folder.join("told"))?;
        let wanted = format!(
            "{} --scope=second --datadir={} --stanza=demo\n",
            source.backup().display(),
            path(&data)?,
        );
        ensure!(told == wanted, "{told}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_method_may_bring_its_own_recovery_configuration() -> Result<()> {
    quietly(async |source| {
        let more = format!(
            "touch recovery.signal\n\
             echo \"restore_command = '{}'\" >> postgresql.auto.conf\n\
             echo \"recovery_target_name = 'here'\" >> postgresql.auto.conf\n\
             echo \"recovery_target_action = 'promote'\" >> postgresql.auto.conf",
            source.restore_command()
        );
        let method = json!({
            "command": source.restores(&more)?,
            "keep_existing_recovery_conf": true,
        });
        let (mut second, _workdir) = source.second(1, &method)?;
        second.wait_steady(STEADY).await?;
        source.was_restored(&second).await
    })
    .await
}

#[tokio::test]
async fn a_method_that_fails_or_makes_nothing_ends_the_agent_with_its_name() -> Result<()> {
    quietly(async |source| {
        for (command, words) in [
            (
                "sh -c 'echo the repository is away >&2; exit 3' sh",
                "the repository is away",
            ),
            (
                "true",
                "bootstrap.backup.command reports success, and there is no data directory",
            ),
        ] {
            let (mut second, _workdir) = source.second(1, &json!({"command": command}))?;
            let node = &mut second.nodes_mut()[0];
            node.start()?;
            let status = node.patroni()?.wait(STEADY).await?;
            let log = node.log()?;
            ensure!(status.code() == Some(1), "{status}: {log}");
            ensure!(
                log.contains(words) && log.contains("bootstrap.backup.command"),
                "{log}"
            );
            ensure!(!log.contains("panicked"), "{log}");
            let mut store = source.etcd.client().await?;
            let claim = store.get("/service/second/initialize").await?;
            ensure!(claim.is_none(), "the claim is still there: {claim:?}");
        }
        Ok(())
    })
    .await
}

fn path(directory: &Path) -> Result<&str> {
    let text = directory.to_str().context("a path that is no text")?;
    Ok(text.trim_end_matches('/'))
}
