//! A disk that is full under a primary: under the agent's own files the leader goes on and says which could not be
//! written; under the log of PostgreSQL, which cannot go on, somebody else takes over. Neither loses a row.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trunkline_support::postgres::Sql;
use trunkline_support::small_disk::SmallDisk;
use trunkline_support::stand::Stand;
use trunkline_support::wait::{throughout, until};

use crate::agents::{change_file, leader_key, on_our_cluster, somebody_else_leads};
use crate::shared::{LOGIN, STEADY, still_leads};

/// Room for a few times the data of an empty cluster.
const DATA_MIB: u32 = 256;
/// More than PostgreSQL keeps of its log in these clusters, if it can.
const LOG_MIB: u32 = 256;
/// More segments than its disk has room for.
const MOST_SEGMENTS: i64 = 100;
/// Some cycles.
const A_WHILE: Duration = Duration::from_secs(4);
/// A crash, a start in vain, and an election: two seconds on an idle machine.
const TAKEN_OVER: Duration = Duration::from_secs(30);
/// Lines a second that a node may write about what it cannot help, PostgreSQL's own included.
const LINES: usize = 40;

/// A node with its data on one small disk and PostgreSQL's log on another, which leads.
struct Small {
    name: String,
    data: PathBuf,
    data_disk: SmallDisk,
    log_disk: SmallDisk,
    /// What was in its patroni.yml.
    right: Vec<u8>,
}

impl Small {
    async fn leading(stand: &mut Stand) -> Result<Self> {
        let name = stand.patroni.candidate().await?;
        let account = stand.parts.account.clone();
        let owner = account.as_ref();
        let node = stand.patroni.node_mut(&name)?;
        node.stop(STEADY).await?;
        let data = node.postmaster_file().with_file_name("");
        fs::remove_dir_all(&data)?;
        fs::create_dir(&data)?;
        let log = data.with_file_name("log");
        fs::create_dir_all(&log)?;
        let small = Self {
            data_disk: SmallDisk::mount(&data, DATA_MIB, owner)?,
            log_disk: SmallDisk::mount(&log, LOG_MIB, owner)?,
            right: fs::read(node.config_file())?,
            data,
            name: name.clone(),
        };
        change_file(node, |config| {
            config["postgresql"]["basebackup"] = json!([{"waldir": log.join("wal")}]);
        })?;
        stand.patroni.wait_steady(STEADY).await?;
        stand.patroni.switchover(&name).await?;
        stand.patroni.wait_steady(STEADY).await?;
        still_leads(&name, stand).await?;
        Ok(small)
    }

    /// The node gets its old place back, and a new copy.
    async fn give_back(self, stand: &mut Stand) -> Result<()> {
        let node = stand.patroni.node_mut(&self.name)?;
        node.stop(STEADY).await?;
        self.data_disk.unmount()?;
        self.log_disk.unmount()?;
        fs::remove_dir(&self.data)?;
        fs::write(node.config_file(), &self.right)?;
        stand.patroni.wait_steady(STEADY).await?;
        Ok(())
    }

    /// What of this node's files a full disk might have spoiled.
    fn files(&self) -> Result<Vec<Vec<u8>>> {
        let names = [
            "postgresql.conf",
            "postgresql.base.conf",
            "pg_hba.conf",
            "patroni.dynamic.json",
        ];
        let read = |name| fs::read(self.data.join(name)).context(name);
        names.into_iter().map(read).collect()
    }
}

/// How many lines the node's log gets in that time.
async fn lines_within(time: Duration, name: &str, stand: &mut Stand) -> Result<usize> {
    let node = stand.patroni.node_mut(name)?;
    let before = node.log()?.lines().count();
    tokio::time::sleep(time).await;
    let log = node.log()?;
    ensure!(!log.contains("panicked"), "{log}");
    Ok(log.lines().count() - before)
}

#[test]
fn a_full_disk_under_a_primary_spoils_no_file_loses_no_row_and_costs_a_lead_only_if_it_must()
-> Result<()> {
    on_our_cluster(async |stand, _| {
        let small = Small::leading(stand).await?;
        its_own_files(stand, &small)
            .await
            .context("the data's disk")?;
        the_log(stand, &small).await.context("the log's disk")?;
        small.give_back(stand).await
    })
}

/// No file of the agent's can be written: it says so, and leads on.
async fn its_own_files(stand: &mut Stand, small: &Small) -> Result<()> {
    let sql = Sql::connect(stand.patroni.node(&small.name)?.postgresql(), LOGIN).await?;
    sql.run("CREATE TABLE IF NOT EXISTS full_disk (id int PRIMARY KEY); DROP TABLE IF EXISTS full_count; \
             CREATE TABLE full_count (n int) WITH (fillfactor = 10); INSERT INTO full_count VALUES (0); CHECKPOINT")
        .await?;
    let key = leader_key(stand).replace("leader", "config");
    let mut store = stand.etcd.client().await?;
    let before = store.get(&key).await?.context("a configuration")?;
    let files = small.files()?;
    small.data_disk.fill()?;

    let mut config: Value = serde_json::from_str(&before)?;
    config["postgresql"]["parameters"] = json!({"work_mem": "7MB"});
    store.put(&key, &config.to_string(), None).await?;
    until("both files are named, and what to do", STEADY, async || {
        let log = stand.patroni.node_mut(&small.name)?.log()?;
        for name in ["postgresql.conf", "patroni.dynamic.json: "] {
            let said =
                |line: &str| line.contains(name) && line.contains("make room on this file system");
            ensure!(log.lines().any(said), "{name}: {log}");
        }
        Ok(())
    })
    .await?;
    throughout("the leader leads and takes writes", A_WHILE, async || {
        sql.run("UPDATE full_count SET n = n + 1").await?;
        let leads = store.get(&leader_key(stand)).await?;
        ensure!(leads.as_deref() == Some(&*small.name), "{leads:?} leads");
        Ok(())
    })
    .await?;
    ensure!(small.files()? == files, "a file was spoilt");
    let lines = lines_within(A_WHILE, &small.name, stand).await?;
    ensure!(lines <= LINES * 4, "{lines} lines in {A_WHILE:?}");

    small.data_disk.make_room()?;
    until("what could not be written is", STEADY, async || {
        let memory: String = sql.one("SHOW work_mem").await?;
        ensure!(memory == "7MB", "work_mem is {memory}");
        let kept = fs::read_to_string(small.data.join("patroni.dynamic.json"))?;
        ensure!(kept.contains("7MB"), "{kept}");
        Ok(())
    })
    .await?;
    let left =
        fs::read_dir(&small.data)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let left: Vec<String> = left.filter(|name| name.contains("trunkline")).collect();
    ensure!(left.is_empty(), "{left:?}");
    store.put(&key, &before, None).await
}

/// PostgreSQL has no room for its log: it ends, and cannot be started.
async fn the_log(stand: &mut Stand, small: &Small) -> Result<()> {
    let sql = Sql::connect(stand.patroni.node(&small.name)?.postgresql(), LOGIN).await?;
    small.log_disk.fill()?;
    let mut acknowledged: i64 = 0;
    while sql
        .run(&format!("INSERT INTO full_disk VALUES ({acknowledged})"))
        .await
        .is_ok()
    {
        acknowledged += 1;
        ensure!(
            acknowledged < MOST_SEGMENTS,
            "the log found room for {acknowledged} segments"
        );
        // Each into a segment of its own: what there is of them is soon used up.
        let _full = sql.run("SELECT pg_switch_wal()").await;
        arrived(&sql).await?;
    }
    ensure!(acknowledged > 0, "it took no row");
    let leader = until("somebody else leads", TAKEN_OVER, async || {
        somebody_else_leads(&small.name, stand).await
    })
    .await;
    let leader = match leader {
        Ok(leader) => leader,
        Err(failure) => return Err(stand.patroni.node(&small.name)?.with_log(failure)),
    };
    let sql = Sql::connect(stand.patroni.node(&leader)?.postgresql(), LOGIN).await?;
    let rows: i64 = sql.one("SELECT count(*) FROM full_disk").await?;
    // Without a synchronous standby the last one may still have been on its way.
    ensure!(
        rows + 1 >= acknowledged,
        "{rows} of {acknowledged} rows are left"
    );

    let lines = lines_within(A_WHILE, &small.name, stand).await?;
    ensure!(lines <= LINES * 4, "{lines} lines in {A_WHILE:?}");
    let status = stand.patroni.node(&small.name)?.status().await?;
    ensure!(status["role"] != "primary", "{status}");
    small.log_disk.make_room()?;
    let leads = stand.patroni.wait_steady(STEADY).await?;
    ensure!(leads == leader, "{leads} leads instead of {leader}");
    sql.run("DROP TABLE full_disk, full_count").await
}

/// Waits until every standby has what was written, or PostgreSQL is gone: they may be some segments behind, and what has
/// not arrived when it ends is lost.
async fn arrived(sql: &Sql) -> Result<()> {
    const BEHIND: &str =
        "SELECT count(*) FROM pg_stat_replication WHERE flush_lsn < pg_current_wal_flush_lsn()";
    until("nobody is behind", STEADY, async || {
        let behind: i64 = sql.one(BEHIND).await.unwrap_or(0);
        ensure!(behind == 0, "{behind} are");
        Ok(())
    })
    .await
}
