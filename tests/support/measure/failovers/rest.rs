//! What an agent takes while nothing happens.

use std::time::{Duration, Instant};

use anyhow::Result;
use trunkline_support::vitals::{Memory, Vitals};
use trunkline_support::wait::throughout;

use super::bench::Bench;
use super::table::Run;

const WATCHED: Duration = Duration::from_secs(60);

/// The leader's agent and a replica's, over a minute.
pub(super) async fn look(bench: &mut Bench) -> Result<Run> {
    let leader = bench.stand.patroni.leader().await?;
    let replica = bench.stand.patroni.candidate().await?;
    let pids = [
        ("leader", pid(bench, &leader)?),
        ("replica", pid(bench, &replica)?),
    ];
    let before = pids.map(|(_, pid)| Vitals::of(pid));
    let began = Instant::now();
    throughout("the agents run", WATCHED, async || {
        bench
            .stand
            .patroni
            .node_mut(&leader)?
            .patroni()?
            .expect_running()?;
        bench
            .stand
            .patroni
            .node_mut(&replica)?
            .patroni()?
            .expect_running()
    })
    .await?;
    let seconds = began.elapsed().as_secs_f64();
    let mut said = Vec::new();
    for ((role, pid), before) in pids.into_iter().zip(before) {
        let (memory, now) = (Memory::of(pid)?, Vitals::of(pid)?);
        let used = (now.processor - before?.processor).as_secs_f64();
        said.push(format!(
            "{role}: {:.1} MB resident, {:.1} proportional, {:.1} private, {} threads, {:.2} % of a core",
            megabytes(memory.resident_kib),
            megabytes(memory.proportional_kib),
            megabytes(memory.private_kib),
            now.threads,
            100.0 * used / seconds,
        ));
    }
    Ok(Run::said(said.join("; ")))
}

fn pid(bench: &mut Bench, name: &str) -> Result<u32> {
    Ok(bench.stand.patroni.node_mut(name)?.patroni()?.pid())
}

#[expect(clippy::cast_precision_loss, reason = "no process has 2^53 KiB")]
fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}
