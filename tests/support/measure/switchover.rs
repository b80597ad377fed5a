//! Planned switchovers under steady writers: by libpq's own search for the primary, through the
//! router, and through HAProxy, in alternate runs on one cluster.

use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use trunkline_support::haproxy::HaProxy;
use trunkline_support::patroni::Settings;
use trunkline_support::router::Router;
use trunkline_support::stand::Stand;
use trunkline_support::writer::{self, Crew, Report, Tls, Writers};

use crate::median;

const STEADY: Duration = Duration::from_secs(90);

/// How a writer reaches the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Path {
    /// Several hosts and target_session_attrs=read-write, straight to the nodes.
    Libpq,
    /// Through the router's write port.
    Trunkline,
    /// Through HAProxy with its usual Patroni settings.
    Haproxy,
}

/// One switchover as the writers saw it.
struct Run {
    path: Path,
    report: Report,
    lost: usize,
    answered: Duration,
}

pub(crate) async fn measure(
    binary: &FilePath,
    runs: usize,
    count: usize,
    paths: &[Path],
) -> Result<()> {
    let mut stand = Stand::start(Settings::default()).await?;
    let router = match paths.contains(&Path::Trunkline) {
        true => Some(stand.router(binary).await?),
        false => None,
    };
    let haproxy = match paths.contains(&Path::Haproxy) {
        true => Some(
            HaProxy::start(
                &stand.patroni,
                &stand.parts,
                &*stand.network,
                &stand.workdir,
            )
            .await?,
        ),
        false => None,
    };
    let leader = stand.patroni.leader().await?;
    writer::prepare(stand.patroni.node(&leader)?.postgresql()).await?;

    heading();
    let mut done = Vec::new();
    for number in 0..runs {
        for path in paths {
            let servers = servers(*path, &stand, router.as_ref(), haproxy.as_ref())?;
            let name = format!("{path:?}-{number}").to_lowercase();
            let run = switch_over(*path, &name, &mut stand, &servers, count).await?;
            row(number, &run);
            done.push(run);
        }
    }
    for path in paths {
        summary(*path, &done);
    }
    Ok(())
}

fn servers(
    path: Path,
    stand: &Stand,
    router: Option<&Router>,
    haproxy: Option<&HaProxy>,
) -> Result<Vec<SocketAddr>> {
    Ok(match path {
        Path::Libpq => stand
            .patroni
            .nodes()
            .iter()
            .map(|node| node.postgresql())
            .collect(),
        Path::Trunkline => vec![router.context("no router was started")?.ports().write],
        Path::Haproxy => vec![haproxy.context("no HAProxy was started")?.write()],
    })
}

async fn switch_over(
    path: Path,
    name: &str,
    stand: &mut Stand,
    servers: &[SocketAddr],
    count: usize,
) -> Result<Run> {
    stand.patroni.wait_steady(STEADY).await?;
    let candidate = stand.patroni.candidate().await?;
    let mut writers = Writers::start(
        name,
        servers,
        Crew {
            writers: count,
            idle: 0,
            tls: Tls::Preferred,
        },
        &stand.parts,
        &stand.workdir,
    )
    .await?;
    writers.write_for(Duration::from_secs(2)).await?;
    let answered = stand.patroni.switchover(&candidate).await?;
    writers.all_writing_again(Duration::from_secs(60)).await?;
    writers.write_for(Duration::from_secs(2)).await?;
    let report = writers.stop().await?;
    let primary = stand.patroni.node(&candidate)?.postgresql();
    let lost = writer::lost(name, &report, primary).await?;
    Ok(Run {
        path,
        report,
        lost,
        answered,
    })
}

fn heading() {
    println!(
        "{:<10} {:>3} {:>10} {:>12} {:>8} {:>6} {:>13} {:>10} {:>6} {:>12}",
        "path",
        "run",
        "outage ms",
        "worst writer",
        "refused",
        "held",
        "longest login",
        "read-only",
        "lost",
        "Patroni said"
    );
}

fn row(number: usize, run: &Run) {
    let report = &run.report;
    println!(
        "{:<10} {:>3} {:>10.0} {:>12.0} {:>8} {:>6} {:>10.0} ms {:>10} {:>6} {:>9} ms",
        format!("{:?}", run.path).to_lowercase(),
        number + 1,
        report.outage_ms,
        report.worst_writer_ms(),
        report.logins_refused(),
        report.logins_held,
        report.longest_login_ms,
        report.read_only,
        run.lost,
        run.answered.as_millis(),
    );
    for (text, times) in report.refusals.iter().chain(&report.breaks) {
        println!("{:>14} {times:>4} × {text}", "");
    }
}

fn summary(path: Path, runs: &[Run]) {
    let own: Vec<&Run> = runs.iter().filter(|run| run.path == path).collect();
    let outages: Vec<f64> = own.iter().map(|run| run.report.outage_ms).collect();
    let Some(worst) = outages.iter().copied().max_by(f64::total_cmp) else {
        return;
    };
    let median = median(&outages);
    println!(
        "{}: outage median {median:.0} ms, worst {worst:.0} ms; {} logins refused, {} held, {} \
         writes refused as read-only, {} rows lost in {} switchovers",
        format!("{path:?}").to_lowercase(),
        own.iter()
            .map(|run| run.report.logins_refused())
            .sum::<u64>(),
        own.iter().map(|run| run.report.logins_held).sum::<u64>(),
        own.iter().map(|run| run.report.read_only).sum::<u64>(),
        own.iter().map(|run| run.lost).sum::<usize>(),
        own.len(),
    );
}
