//! The primary's PostgreSQL killed under steady writers: straight to its node, where only Patroni's own recovery shows,
//! and through the router, in alternate runs on one cluster.

use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::time::Duration;

use anyhow::Result;
use trunkline_support::patroni::Settings;
use trunkline_support::stand::Stand;
use trunkline_support::writer::{self, Crew, Report, Tls, Writers};

use crate::median;

const STEADY: Duration = Duration::from_secs(90);
/// Writing on both sides of the fault.
const AROUND: Duration = Duration::from_secs(2);

pub(crate) async fn measure(binary: &FilePath, runs: usize, writers: usize) -> Result<()> {
    // Patroni finds a dead PostgreSQL in its next round: short ones keep that from hiding what is to be measured.
    let settings = Settings {
        ttl: 20,
        loop_wait: 1,
        retry_timeout: 3,
        synchronous_mode: true,
        ..Settings::default()
    };
    let mut stand = Stand::start(settings).await?;
    let mut router = stand.router(binary).await?;
    router.wait_ready(&["write"], STEADY).await?;
    let leader = stand.patroni.leader().await?;
    writer::prepare(stand.patroni.node(&leader)?.postgresql()).await?;

    let (mut straight, mut routed) = (Vec::new(), Vec::new());
    for number in 1..=runs {
        let leader = stand.patroni.wait_steady(STEADY).await?;
        let node = stand.patroni.node(&leader)?.postgresql();
        straight.push(kill(&format!("straight-{number}"), node, writers, &mut stand).await?);
        routed.push(
            kill(
                &format!("trunkline-{number}"),
                router.ports().write,
                writers,
                &mut stand,
            )
            .await?,
        );
    }
    let (straight, routed) = (median(&straight), median(&routed));
    println!(
        "primary's PostgreSQL killed: outage straight to the node {straight:.0} ms, through the router {routed:.0} ms \
         (medians of {runs}): {:+.0} ms",
        routed - straight
    );
    Ok(())
}

/// The outage that writers to `server` see, in ms.
async fn kill(run: &str, server: SocketAddr, writers: usize, stand: &mut Stand) -> Result<f64> {
    let leader = stand.patroni.wait_steady(STEADY).await?;
    let crew = Crew {
        writers,
        idle: 0,
        tls: Tls::Preferred,
    };
    let mut writers = Writers::start(run, &[server], crew, &stand.parts, &stand.workdir).await?;
    writers.write_for(AROUND).await?;
    stand.patroni.node(&leader)?.kill_postgresql()?;
    writers.all_writing_again(STEADY).await?;
    writers.write_for(AROUND).await?;
    let report: Report = writers.stop().await?;
    let lost = writer::lost(run, &report, stand.patroni.node(&leader)?.postgresql()).await?;
    println!(
        "{run:<14} outage {:>6.0} ms, worst writer {:>6.0} ms, {} logins refused, {} held, {} rows lost",
        report.outage_ms,
        report.worst_writer_ms(),
        report.logins_refused(),
        report.logins_held,
        lost
    );
    Ok(report.outage_ms)
}
