//! What goes wrong in a cluster that is steady, under steady writers.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use trunkline_support::netns::Cut;
use trunkline_support::wait::until;
use trunkline_support::writer::{self, Writers};

use super::bench::{Bench, STEADY};
use super::table::Run;

/// Writing on both sides of what happens.
const CALM: Duration = Duration::from_secs(2);
/// As the service's unit has it.
const RESTART: Duration = Duration::from_secs(1);
/// A lease, and the round of the loop in which it is refreshed.
const REFRESHED: Duration = Duration::from_secs(45);

pub(super) async fn switchover(bench: &mut Bench, name: &str) -> Result<Run> {
    let candidate = bench.stand.patroni.candidate().await?;
    let writers = writing(bench, name).await?;
    bench.stand.patroni.switchover(&candidate).await?;
    over(bench, writers).await
}

pub(super) async fn postgresql_killed(bench: &mut Bench, name: &str) -> Result<Run> {
    let leader = bench.stand.patroni.leader().await?;
    let writers = writing(bench, name).await?;
    bench.stand.patroni.node(&leader)?.kill_postgresql()?;
    over(bench, writers).await
}

pub(super) async fn agent_killed(bench: &mut Bench, name: &str) -> Result<Run> {
    let leader = bench.stand.patroni.leader().await?;
    let mut store = bench.stand.etcd.client().await?;
    let mut writers = writing(bench, name).await?;
    let left = bench.lease_left(&mut store).await?;
    let ends = Instant::now() + Duration::from_secs(left.unsigned_abs());
    bench.stand.patroni.node_mut(&leader)?.kill_agent()?;
    writers.write_for(RESTART).await?;
    bench.stand.patroni.node_mut(&leader)?.start()?;
    // Only when the lease was refreshed by the new one nothing more can come of it.
    until("the lease is refreshed", REFRESHED, async || {
        let left = bench.lease_left(&mut store).await?;
        let now_ends = Instant::now() + Duration::from_secs(left.unsigned_abs());
        ensure!(now_ends > ends + RESTART, "{left} s are left");
        Ok(())
    })
    .await?;
    let run = over(bench, writers).await?;
    let leads = bench.stand.patroni.leader().await?;
    ensure!(leads == leader, "{leads} leads instead of {leader}");
    Ok(run.with_sessions_cut())
}

pub(super) async fn node_killed(bench: &mut Bench, name: &str) -> Result<Run> {
    let leader = bench.stand.patroni.leader().await?;
    let mut store = bench.stand.etcd.client().await?;
    let writers = writing(bench, name).await?;
    let left = bench.lease_left(&mut store).await?;
    let node = bench.stand.patroni.node_mut(&leader)?;
    // The agent first: it must not be the one to give the lock back.
    node.kill_agent()?;
    node.kill_postgresql()?;
    let run = over(bench, writers).await?;
    Ok(run.with(left_then(left)))
}

/// The leader's machine is cut off, with the member of etcd on it, which leads or follows.
pub(super) async fn vanished(bench: &mut Bench, name: &str, etcd_leads: bool) -> Result<Run> {
    let leader = bench.stand.patroni.leader().await?;
    let host = bench.stand.patroni.node(&leader)?.host();
    bench.stand.etcd.have_lead(host, etcd_leads).await?;
    let mut store = bench.stand.etcd.client().await?;
    let writers = writing(bench, name).await?;
    let left = bench.lease_left(&mut store).await?;
    let cut: Cut = bench.wire.silence(host)?;
    let run = over(bench, writers).await;
    cut.mend()?;
    Ok(run?.with(left_then(left)))
}

/// etcd tells whole seconds and leaves out the rest.
fn left_then(left: i64) -> String {
    format!("{left} to {} s of the lease were left", left + 1)
}

/// Writers that have written for a while.
async fn writing(bench: &Bench, name: &str) -> Result<Writers> {
    let mut writers = bench.writers(name).await?;
    writers.write_for(CALM).await?;
    Ok(writers)
}

/// Waits until it is over for all writers, and counts what they saw of it, and which rows are gone where they write now.
pub(super) async fn over(bench: &Bench, mut writers: Writers) -> Result<Run> {
    writers.all_writing_again(STEADY).await?;
    writers.write_for(CALM).await?;
    let name = writers.run().to_owned();
    let report = writers.stop().await?;
    let lost = writer::lost(&name, &report, bench.address()?).await?;
    Ok(Run::suffered(&report, lost))
}
