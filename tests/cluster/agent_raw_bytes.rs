//! Any bytes in etcd: what makes no sense is named once and left out, what the leader may mend it mends, and nobody loses
//! a lead over it but by the leader key itself.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trunkline_support::etcd::Store;
use trunkline_support::http;
use trunkline_support::postgres::Sql;
use trunkline_support::stand::Stand;
use trunkline_support::wait::{throughout, until};

use crate::agents::{SHARED_KEYS, leader_key, on_our_cluster};
use crate::shared::{LOGIN, STEADY};

/// Three cycles.
const A_WHILE: Duration = Duration::from_secs(3);
/// The view is read anew from a listing every ten seconds or so.
const LISTED_AGAIN: Duration = Duration::from_secs(12);
/// What nobody but a test writes.
const STRANGE: [&[u8]; 4] = [
    b"members/pg-9",
    b"members/\xff\xfe",
    b"nothing/known",
    b"two\n2026-11-22 00:00:00,000 ERROR: lines",
];
/// What else the cluster writes, but for the leader key.
const KNOWN: [&str; 3] = ["optime/leader", "initialize", "members/pg-1"];

fn rubbish() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("no text", b"\x00\xff\xfe{\"leader\": \xc3".to_vec()),
        ("nothing", Vec::new()),
        ("a deep nest", b"[".repeat(100_000)),
        ("another deep nest", b"{\"ttl\":".repeat(100_000)),
        ("one long word", b"a".repeat(1 << 20)),
    ]
}

/// Puts these bytes wherever the cluster looks, and where it does not.
async fn spoil(store: &mut Store, base: &str, bytes: &[u8]) -> Result<()> {
    let known = SHARED_KEYS.iter().chain(&KNOWN).map(|key| key.as_bytes());
    for key in known.chain(STRANGE) {
        store
            .put_bytes(&[base.as_bytes(), key].concat(), bytes)
            .await?;
    }
    Ok(())
}

async fn clean(store: &mut Store, base: &str) -> Result<()> {
    for key in STRANGE {
        store.delete([base.as_bytes(), key].concat()).await?;
    }
    for key in ["sync", "failsafe", "failover", "history", "optime/leader"] {
        store.delete(format!("{base}{key}")).await?;
    }
    Ok(())
}

/// Everybody's REST API answers.
async fn answers(stand: &Stand) -> Result<()> {
    for node in stand.patroni.nodes() {
        for path in ["/patroni", "/cluster", "/metrics", "/history", "/config"] {
            let answer = http::get(node.rest(), path).await?;
            ensure!(
                [200, 502, 503].contains(&answer.status),
                "{path}: {}",
                answer.status
            );
        }
    }
    Ok(())
}

/// No panic, no line that nobody can read, and no second line that looks like one of ours.
fn sane(stand: &mut Stand) -> Result<()> {
    for node in stand.patroni.nodes_mut() {
        let log = node.log()?;
        for words in [
            "panicked",
            "report it as a BUG",
            "a fault of trunkline-agent",
        ] {
            ensure!(!log.contains(words), "{words}: {}", node.name());
        }
        let long = log.lines().find(|line| line.len() > 8_000);
        ensure!(
            long.is_none(),
            "{}: {:.300}",
            node.name(),
            long.unwrap_or_default()
        );
        let forged = |line: &str| line.starts_with("2026-11-22 00:00:00,000 ERROR: lines");
        ensure!(
            !log.lines().any(forged),
            "a key's name made a line of {}",
            node.name()
        );
    }
    Ok(())
}

/// What is the leader's to mend is as it was.
async fn mended(store: &mut Store, base: &str, id: &str, config: &str) -> Result<()> {
    let before: Value = serde_json::from_str(config)?;
    until(
        "identifier and configuration are back",
        STEADY,
        async || {
            let now = store.get(&format!("{base}initialize")).await?;
            ensure!(now.as_deref() == Some(id), "{now:.60?}");
            let now = store.get(&format!("{base}config")).await?;
            let now: Value = serde_json::from_str(&now.unwrap_or_default())?;
            ensure!(now == before, "{now}");
            Ok(())
        },
    )
    .await
}

#[test]
fn whatever_bytes_are_in_etcd_the_leader_leads_and_says_once_what_makes_no_sense() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let leader = stand.patroni.leader().await?;
        let base = leader_key(stand).replace("leader", "");
        let mut store = stand.etcd.client().await?;
        let id = store
            .get(&format!("{base}initialize"))
            .await?
            .context("no identifier")?;
        let before = store
            .get(&format!("{base}config"))
            .await?
            .context("no configuration")?;
        let sql = Sql::connect(stand.patroni.node(&leader)?.postgresql(), LOGIN).await?;
        // One that has only just won the lock is still being promoted.
        until("it takes writes", STEADY, async || {
            sql.run("CREATE TABLE IF NOT EXISTS raw_bytes (at timestamptz)")
                .await
        })
        .await?;
        let replica = stand.patroni.candidate().await?;
        let begun = stand.patroni.node_mut(&replica)?.log()?.len();

        for (what, bytes) in rubbish() {
            spoil(&mut store, &base, &bytes).await.context(what)?;
            let huge = bytes.len() == 1 << 20;
            if huge {
                // It starts with more before it than an answer of gRPC may have.
                let node = stand.patroni.node_mut(&replica)?;
                node.kill_agent()?;
                node.start()?;
            }
            let time = if huge { LISTED_AGAIN } else { A_WHILE };
            let leading = throughout("the leader leads and takes writes", time, async || {
                sql.run("INSERT INTO raw_bytes VALUES (now())").await?;
                let leads = store.get(&format!("{base}leader")).await?;
                ensure!(leads.as_deref() == Some(&*leader), "{leads:?} leads");
                if !huge {
                    answers(stand).await?;
                }
                Ok(())
            });
            leading.await.context(what)?;
            mended(&mut store, &base, &id, &before)
                .await
                .context(what)?;
            answers(stand).await.context(what)?;
        }
        let log = stand.patroni.node_mut(&replica)?.log()?;
        let log = log.get(begun..).unwrap_or_default();
        for (key, why) in [("failsafe", "it is not UTF-8"), ("sync", "it is not UTF-8")] {
            let key = format!("{base}{key}\"");
            let said = |line: &&str| line.contains(&key) && line.contains(why);
            let times = log.lines().filter(said).count();
            ensure!(times == 1, "{key} was named {times} times: {log}");
        }

        clean(&mut store, &base).await?;
        stand.patroni.wait_steady(STEADY).await?;
        sane(stand)?;
        let leads = stand.patroni.leader().await?;
        ensure!(leads == leader, "{leads} leads instead of {leader}");
        Ok(())
    })
}

#[test]
fn a_leader_key_that_names_nobody_stops_the_primary_and_keeps_everybody_out_until_it_is_deleted()
-> Result<()> {
    on_our_cluster(async |stand, _| {
        let base = leader_key(stand).replace("leader", "");
        let mut store = stand.etcd.client().await?;
        let key = leader_key(stand);
        let id = store
            .get(&format!("{base}initialize"))
            .await?
            .context("no identifier")?;
        for bytes in [b"\xff\xfe\x00".to_vec(), b"a/b".repeat(1 << 18)] {
            store.put_bytes(key.as_bytes(), &bytes).await?;
            until("nobody is a primary", STEADY, async || {
                for node in stand.patroni.nodes() {
                    let answer = http::get(node.rest(), "/primary").await?;
                    ensure!(answer.status == 503, "{}: {}", node.name(), answer.status);
                    let sql = Sql::connect(node.postgresql(), LOGIN).await?;
                    let standby: bool = sql.one("SELECT pg_is_in_recovery()").await?;
                    ensure!(standby, "{} takes writes", node.name());
                }
                Ok(())
            })
            .await?;
        }

        // Nor does who starts now find anything that it could use.
        let bytes = b"\x80{".to_vec();
        store.put_bytes(key.as_bytes(), &bytes).await?;
        spoil(&mut store, &base, &bytes).await?;
        // A replica that finds no identifier at its first look does not know whose it is, and ends (contract 5.1).
        let initialize = format!("{base}initialize");
        store.put(&initialize, &id, None).await?;
        for node in stand.patroni.nodes_mut() {
            node.kill_agent()?;
            node.start()?;
        }
        until("they have started and say what to do", STEADY, async || {
            answers(stand).await?;
            for node in stand.patroni.nodes_mut() {
                let log = node.log()?;
                let last = log.lines().last().unwrap_or_default();
                ensure!(
                    last.contains("the leader key names nobody: delete it by hand"),
                    "{last}"
                );
                ensure!(node.is_running()?, "{} ended", node.name());
            }
            Ok(())
        })
        .await?;
        store.delete(&key).await?;
        until("somebody leads", STEADY, async || {
            for node in stand.patroni.nodes() {
                if http::get(node.rest(), "/primary").await?.status == 200 {
                    return Ok(());
                }
            }
            anyhow::bail!("nobody leads")
        })
        .await?;
        clean(&mut store, &base).await?;
        stand.patroni.wait_steady(STEADY).await?;
        sane(stand)?;
        Ok(())
    })
}
