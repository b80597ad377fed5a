//! A cluster that is not there yet: how long until it is, and what a switchover does to it that comes too early.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use trunkline_support::moments::first_write;
use trunkline_support::patroni::{Node, Seen};
use trunkline_support::postgres::Sql;
use trunkline_support::wait::until;
use trunkline_support::writer;

use super::bench::{Bench, STEADY};
use super::faults::over;
use super::table::Run;

/// Rows that a switchover may lose.
const FIRST_ROWS: Duration = Duration::from_secs(1);
/// One look at a node that may not be up yet.
const LOOK: Duration = Duration::from_secs(2);

/// From the start of three agents on empty directories until a leader takes writes and two replicas stream.
pub(super) async fn from_nothing(bench: &mut Bench) -> Result<Run> {
    let nodes = bench.stand.patroni.nodes_mut();
    let began = Instant::now();
    nodes.iter_mut().try_for_each(Node::start)?;
    let servers: Vec<_> = nodes.iter().map(|node| node.postgresql()).collect();
    let streaming = async {
        until("both replicas stream", STEADY, async || {
            let mut streaming = 0;
            for server in &servers {
                // Who does not take connections does not stream either.
                if let Ok(sql) = Sql::connect(*server, LOOK).await {
                    let receivers: i64 = sql
                        .one("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'")
                        .await?;
                    streaming += receivers;
                }
            }
            ensure!(streaming == 2, "{streaming} stream");
            Ok(())
        })
        .await?;
        Ok(began.elapsed())
    };
    let (written, streaming) = tokio::try_join!(first_write(&servers, STEADY), streaming)?;
    let run = Run::took(written.max(streaming));
    Ok(run.with(format!("first write after {:.1} s", written.as_secs_f64())))
}

/// A switchover as soon as the cluster shows a candidate that runs, whether it streams or not.
pub(super) async fn switchover(bench: &mut Bench, name: &str) -> Result<Run> {
    let nodes = bench.stand.patroni.nodes_mut();
    let began = Instant::now();
    nodes.iter_mut().try_for_each(Node::start)?;
    // The way in comes up beside the cluster: what is asked is asked as early as can be.
    bench.open().await?;
    let leader = until("somebody leads", STEADY, async || {
        let leader = bench.stand.patroni.leader().await?;
        writer::prepare(bench.stand.patroni.node(&leader)?.postgresql()).await?;
        Ok(leader)
    })
    .await?;
    let mut writers = bench.writers(name).await?;
    writers.write_for(FIRST_ROWS).await?;

    let candidate = until("another member runs", STEADY, async || {
        let runs = |seen: &Seen| {
            seen.name != leader && ["running", "streaming"].contains(&seen.state.as_str())
        };
        let seen = bench.stand.patroni.seen().await?;
        seen.into_iter().find(runs).context("there is none yet")
    })
    .await?;
    let asked = began.elapsed().as_secs_f64();
    let answer = match bench.stand.patroni.switchover(&candidate.name).await {
        Ok(_) => "done",
        Err(_refusal) => "refused",
    };
    // Where the candidate had not even the table, the writers would wait for it for ever.
    let again = until("there is a table to write to", STEADY, async || {
        writer::prepare(bench.address()?).await
    });
    again.await?;
    let run = over(bench, writers).await?;
    Ok(run.with(format!(
        "asked {asked:.0} s after the start with the candidate {}: {answer}",
        candidate.state
    )))
}
