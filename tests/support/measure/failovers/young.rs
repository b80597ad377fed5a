//! A cluster that is not there yet: how long until it is, and what a switchover does to it that comes too early.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use trunkline_support::moments::first_write;
use trunkline_support::patroni::{Node, Seen};
use trunkline_support::postgres::Sql;
use trunkline_support::wait::until;
use trunkline_support::writer;

use super::bench::{Bench, STEADY, streaming};
use super::table::Run;

/// Rows that an early switchover may lose, put in as often as it takes until they are acknowledged.
const ROWS: &str = "INSERT INTO trunkline_writes SELECT 'young', 0, generate_series(1, 1000) ON CONFLICT DO NOTHING";
const ACKNOWLEDGED: i64 = 1_000;
/// One look at a node.
const LOOK: Duration = Duration::from_secs(2);

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

/// A switchover as soon as the cluster shows a candidate that runs, whether it streams or not: what of the rows that were
/// acknowledged until then is left. No way in is there yet that could take writers so early.
pub(super) async fn switchover(bench: &mut Bench) -> Result<Run> {
    let patroni = &mut bench.stand.patroni;
    let began = Instant::now();
    patroni.nodes_mut().iter_mut().try_for_each(Node::start)?;
    let leader = until("somebody leads and takes rows", STEADY, async || {
        let leader = patroni.leader().await?;
        let primary = patroni.node(&leader)?.postgresql();
        writer::prepare(primary).await?;
        Sql::connect(primary, LOOK).await?.run(ROWS).await?;
        Ok(leader)
    })
    .await?;
    let candidate = until("another member runs", STEADY, async || {
        let runs = |seen: &Seen| {
            seen.name != leader && ["running", "streaming"].contains(&seen.state.as_str())
        };
        patroni
            .seen()
            .await?
            .into_iter()
            .find(runs)
            .context("there is none yet")
    })
    .await?;
    let asked = began.elapsed().as_secs_f64();
    let (answer, leads) = match patroni.switchover(&candidate.name).await {
        Ok(_) => ("done", &candidate.name),
        Err(_refusal) => ("refused", &leader),
    };
    let kept = until("the leader says what it has", STEADY, async || {
        let leader = patroni.leader().await?;
        ensure!(leader == *leads, "{leader} leads");
        let primary = patroni.node(&leader)?.postgresql();
        // The candidate may not even have the table.
        writer::prepare(primary).await?;
        let sql = Sql::connect(primary, LOOK).await?;
        sql.one::<i64>("SELECT count(*) FROM trunkline_writes WHERE run = 'young'")
            .await
    })
    .await?;
    let lost = ACKNOWLEDGED - kept;
    Ok(Run::said(format!(
        "asked after {asked:.0} s, the candidate {}: {answer}, {lost} of {ACKNOWLEDGED} rows lost",
        candidate.state
    )))
}
