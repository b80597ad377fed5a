//! A cluster that is not there yet: how long until it is, and what a switchover does to it that comes too early.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use trunkline_support::moments::first_write;
use trunkline_support::patroni::Node;
use trunkline_support::postgres::Sql;
use trunkline_support::wait::until;
use trunkline_support::writer;

use super::bench::{Bench, LOOK, STEADY, streaming, streams};
use super::table::Run;

/// Rows that an early switchover may lose.
const ROWS: &str = "INSERT INTO trunkline_writes SELECT 'young', 0, generate_series(1, 1000)";
const ACKNOWLEDGED: i64 = 1_000;

/// From the start of three agents on empty directories until a leader takes writes and two replicas stream.
pub(super) async fn from_nothing(bench: &mut Bench) -> Result<Run> {
    let nodes = bench.stand.patroni.nodes_mut();
    let began = Instant::now();
    nodes.iter_mut().try_for_each(Node::start)?;
    let servers: Vec<_> = nodes.iter().map(|node| node.postgresql()).collect();
    let streaming = async {
        until("both replicas stream", STEADY, async || {
            let streaming = streaming(&servers).await?;
            ensure!(streaming == 2, "{streaming} stream");
            Ok(())
        })
        .await?;
        Ok(began.elapsed())
    };
    let (written, streaming) = tokio::try_join!(first_write(&servers, STEADY), streaming)?;
    let run = Run::took(written.max(streaming));
    Ok(run.part("first write after ", written))
}

/// A switchover of a cluster that is seconds old, to a replica that takes connections and does not stream yet, if there
/// is one before all of them stream: what is left of rows that were acknowledged right before. No way in is up so early
/// that could take writers; they go straight to the primary.
pub(super) async fn switchover(bench: &mut Bench) -> Result<Run> {
    let patroni = &mut bench.stand.patroni;
    patroni.nodes_mut().iter_mut().try_for_each(Node::start)?;
    let leader = until("somebody leads and takes a table", STEADY, async || {
        let leader = patroni.leader().await?;
        writer::prepare(patroni.node(&leader)?.postgresql()).await?;
        Ok(leader)
    })
    .await?;
    let primary = Sql::connect(patroni.node(&leader)?.postgresql(), LOOK).await?;
    let replicas = patroni.nodes().iter().filter(|node| node.name() != leader);
    let replicas: Vec<&Node> = replicas.collect();
    let (candidate, state) = until("there is a candidate", STEADY, async || {
        let mut streaming = Vec::new();
        for replica in &replicas {
            if let Ok(sql) = Sql::connect(replica.postgresql(), LOOK).await {
                if !streams(&sql).await? {
                    return Ok((replica.name(), "did not stream yet"));
                }
                streaming.push(replica.name());
            }
        }
        match streaming[..] {
            [first, _] => Ok((first, "streamed")),
            _ => bail!("{streaming:?} stream, the others take no connections"),
        }
    })
    .await?;
    primary.run(ROWS).await?;
    let answer = match patroni.switchover(candidate).await {
        Ok(_) => "done",
        Err(_refusal) => "refused",
    };
    let kept = until("the leader says what it has", STEADY, async || {
        let leader = patroni.leader().await?;
        let primary = patroni.node(&leader)?.postgresql();
        // It may not even have the table.
        writer::prepare(primary).await?;
        let sql = Sql::connect(primary, LOOK).await?;
        sql.one::<i64>("SELECT count(*) FROM trunkline_writes")
            .await
    })
    .await?;
    Ok(Run::said(format!(
        "{answer}, {} of {ACKNOWLEDGED} rows lost where the candidate {state}",
        ACKNOWLEDGED - kept
    )))
}
