//! `make demo CHECK=1`: a switchover and a killed primary under a steady set of writers, and
//! whether any client saw what none should see. With our agents also a switchover while the cluster is hardly made,
//! a node killed whole, and one that vanishes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trunkline_support::patroni::{Program, streaming};
use trunkline_support::router::Router;
use trunkline_support::stand::Stand;
use trunkline_support::wait::until;
use trunkline_support::writer::{self, Crew, Report, Tls, Writers};

use crate::Verdict;
use crate::vanished::VANISHED;

const CREW: Crew = Crew {
    writers: 8,
    idle: 0,
    tls: Tls::Preferred,
};
const READS: usize = 20;
pub(crate) const STEADY: Duration = Duration::from_secs(120);
const LOGIN: Duration = Duration::from_secs(10);
const CALM: Duration = Duration::from_secs(2);
/// The fault that takes the leader's PostgreSQL and its agent.
const DEAD_NODE: &str = "node killed whole";
/// A cluster that is hardly made takes its first writes.
const FIRST: Duration = Duration::from_secs(60);

/// What was off, as far as one cluster on loopback can show it.
pub(crate) async fn run(stand: &mut Stand, router: &mut Router) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let ours = matches!(stand.patroni.nodes(), [node, ..] if *node.program() != Program::Patroni);
    if ours {
        router.wait_ready(&["write"], FIRST).await?;
        let leader = stand.patroni.leader().await?;
        println!("check: {leader} leads, and nobody has been waited for");
        heading();
        faults.extend(hardly_made(stand, router).await?);
    }

    let leader = steady(stand, router).await?;
    let (how, standby) = match stand.patroni.settings().synchronous_mode {
        true => ("both replicas stream", ", one of them synchronously"),
        false => ("both replicas stream", ""),
    };
    println!("check: {leader} leads, {how}{standby}");
    writer::prepare(stand.patroni.node(&leader)?.postgresql()).await?;
    faults.extend(wrong_reads("at rest", stand, router).await?);

    heading();
    let candidate = stand.patroni.candidate().await?;
    let mut writers = start_writers("switchover", stand, router).await?;
    stand.patroni.switchover(&candidate).await?;
    faults.extend(finish("switchover", &mut writers, stand, router).await?);
    faults.extend(judge("planned switchover", writers, stand).await?);

    let leader = stand.patroni.leader().await?;
    let mut writers = start_writers("kill", stand, router).await?;
    stand.patroni.node(&leader)?.kill_postgresql()?;
    faults.extend(finish("kill", &mut writers, stand, router).await?);
    faults.extend(judge("primary killed", writers, stand).await?);

    if ours {
        let leader = stand.patroni.leader().await?;
        let mut writers = start_writers("node", stand, router).await?;
        let node = stand.patroni.node_mut(&leader)?;
        // The agent first: it must not be the one to give the lock back.
        node.kill_agent()?;
        node.kill_postgresql()?;
        writers.all_writing_again(STEADY).await?;
        faults.extend(finish("dead node", &mut writers, stand, router).await?);
        faults.extend(judge(DEAD_NODE, writers, stand).await?);
    }

    Ok(faults)
}

/// Says how it went.
pub(crate) fn verdict(faults: &[String]) -> Verdict {
    if faults.is_empty() {
        println!("check: nothing refused, nothing lost, nothing on a wrong node");
        return Verdict::Fine;
    }
    for fault in faults {
        println!("check: OFF: {fault}");
    }
    Verdict::Off
}

/// A switchover while the candidates do not stream yet: it waits for one or is refused, and loses nothing.
async fn hardly_made(stand: &mut Stand, router: &mut Router) -> Result<Vec<String>> {
    let leader = stand.patroni.leader().await?;
    writer::prepare(stand.patroni.node(&leader)?.postgresql()).await?;
    let mut writers = start_writers("bootstrap", stand, router).await?;
    let candidate = stand
        .patroni
        .nodes()
        .iter()
        .find(|node| node.name() != leader)
        .map(|node| node.name().to_owned())
        .context("there is one node only")?;
    if let Err(refusal) = stand.patroni.switchover(&candidate).await {
        println!("check: {refusal:#}");
    }
    writers.all_writing_again(STEADY).await?;
    steady(stand, router).await?;
    judge("hardly made", writers, stand).await
}

pub(crate) async fn steady(stand: &mut Stand, router: &mut Router) -> Result<String> {
    let leader = stand.patroni.wait_steady(STEADY).await?;
    let listeners: &[&str] = match stand.patroni.settings().synchronous_mode {
        true => &["write", "read", "sync"],
        false => &["write", "read"],
    };
    router
        .wait_ready(listeners, Duration::from_secs(30))
        .await?;
    Ok(leader)
}

pub(crate) async fn start_writers(run: &str, stand: &Stand, router: &Router) -> Result<Writers> {
    let write = [router.ports().write];
    let mut writers = Writers::start(run, &write, CREW, &stand.parts, &stand.workdir).await?;
    writers.write_for(CALM).await?;
    Ok(writers)
}

/// Waits until the fault is over for the writers and the cluster, and looks at the reads.
pub(crate) async fn finish(
    phase: &str,
    writers: &mut Writers,
    stand: &mut Stand,
    router: &mut Router,
) -> Result<Vec<String>> {
    writers.all_writing_again(STEADY).await?;
    steady(stand, router).await?;
    let wrong = wrong_reads(&format!("after the {phase}"), stand, router).await?;
    writers.write_for(CALM).await?;
    Ok(wrong)
}

/// Stops the writers, prints what they saw, and returns what they should not have seen.
pub(crate) async fn judge(phase: &str, writers: Writers, stand: &Stand) -> Result<Vec<String>> {
    let run = writers.run().to_owned();
    let report = writers.stop().await?;
    let leader = stand.patroni.leader().await?;
    let lost = writer::lost(&run, &report, stand.patroni.node(&leader)?.postgresql()).await?;
    row(phase, &report, lost);
    let mut faults = Vec::new();
    for (text, times) in &report.refusals {
        faults.push(format!("{phase}: {times} logins refused: {text}"));
    }
    if report.read_only > 0 {
        faults.push(format!(
            "{phase}: {} writes reached a node that reads only",
            report.read_only
        ));
    }
    // Without a synchronous standby nobody promised the rows that were on their way when the node died.
    if lost > 0 && ![DEAD_NODE, VANISHED].contains(&phase) {
        faults.push(format!(
            "{phase}: {lost} acknowledged rows are not on {leader}"
        ));
    }
    Ok(faults)
}

fn heading() {
    println!(
        "{:<20} {:>14} {:>15} {:>11} {:>14} {:>17} {:>9}",
        "phase",
        "longest outage",
        "logins refused",
        "logins held",
        "longest login",
        "refused read-only",
        "rows lost"
    );
}

fn row(phase: &str, report: &Report, lost: usize) {
    println!(
        "{phase:<20} {:>11.0} ms {:>15} {:>11} {:>11.0} ms {:>17} {lost:>9}",
        report.outage_ms,
        report.logins_refused(),
        report.logins_held,
        report.longest_login_ms,
        report.read_only,
    );
}

/// Reads that landed elsewhere than on a replica (read port) or the synchronous standby (sync
/// port), while the cluster is steady.
async fn wrong_reads(when: &str, stand: &Stand, router: &Router) -> Result<Vec<String>> {
    let ports = router.ports();
    let synchronous = stand.patroni.settings().synchronous_mode;
    // Which replica is the synchronous one is told by etcd a moment after the cluster is steady, and Patroni may still
    // choose another: what it says has to be the same before and after the look.
    let what = "the ports lead to the replicas there are, and these stay the same";
    until(what, Duration::from_secs(15), async || {
        let before = stand.patroni.seen().await?;
        let (replicas, standbys) = (
            streaming(&before, "replica"),
            streaming(&before, "sync_standby"),
        );
        let replicas = [replicas, standbys.clone()].concat();
        // A member says once a round how it is: one that was seen between two WAL receivers says so until the next.
        ensure!(
            replicas.len() + 1 == stand.patroni.nodes().len(),
            "only {replicas:?} say that they stream"
        );
        let mut looks = vec![(ports.read, replicas)];
        if synchronous {
            let landed = stand.landing(ports.sync, LOGIN).await?;
            ensure!(
                standbys.contains(&landed),
                "it leads to {landed}, not to {standbys:?}"
            );
            looks.push((ports.sync, standbys.clone()));
        }
        let mut wrong = Vec::new();
        for (port, allowed) in looks {
            for _ in 0..READS {
                let landed = stand.landing(port, LOGIN).await?;
                if !allowed.contains(&landed) {
                    wrong.push(format!("{when}: a read through {port} landed on {landed}"));
                }
            }
        }
        let after = stand.patroni.seen().await?;
        ensure!(
            streaming(&after, "sync_standby") == standbys,
            "it was {standbys:?} before"
        );
        Ok(wrong)
    })
    .await
}
