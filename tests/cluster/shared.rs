//! The cluster all tests of this program share, one at a time, and the checks more than one makes.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::sync::Mutex;
use trunkline_support::patroni::Settings;
use trunkline_support::router::Router;
use trunkline_support::stand::Stand;
use trunkline_support::writer::{self, Report, Tls, Writers};

/// The router under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_trunkline");
/// Anything a cluster gets over by itself is over by then.
pub(crate) const STEADY: Duration = Duration::from_secs(120);
/// One login, the longest hold included.
pub(crate) const LOGIN: Duration = Duration::from_secs(45);
pub(crate) const LISTENERS: [&str; 3] = ["write", "read", "sync"];

static CLUSTER: Mutex<Option<Stand>> = Mutex::const_new(None);

/// Runs `test` on the cluster, steady and with all its members up.
///
/// A test that fails takes the cluster with it: the next one starts a fresh one instead of failing
/// over what it did not do.
pub(crate) async fn on_the_cluster(test: impl AsyncFnOnce(&mut Stand) -> Result<()>) -> Result<()> {
    let mut shared = CLUSTER.lock().await;
    let mut stand = match shared.take() {
        Some(stand) => stand,
        None => Stand::start(settings()).await?,
    };
    stand.patroni.wait_steady(STEADY).await?;
    test(&mut stand).await?;
    *shared = Some(stand);
    Ok(())
}

/// Shorter rounds than Patroni's defaults, so that what waits for a round or for the end of a lease
/// does not wait for half a minute.
fn settings() -> Settings {
    Settings {
        ttl: 20,
        loop_wait: 5,
        retry_timeout: 5,
        synchronous_mode: true,
        ssl: true,
        ..Settings::default()
    }
}

/// A router that has found a target for each of its listeners.
pub(crate) async fn ready_router(stand: &Stand) -> Result<Router> {
    let mut router = stand.router(Path::new(BINARY)).await?;
    router.wait_ready(&LISTENERS, STEADY).await?;
    Ok(router)
}

/// Writers through the router's write port, already writing.
pub(crate) async fn writers(run: &str, stand: &Stand, router: &Router) -> Result<Writers> {
    writers_with(run, Tls::Preferred, stand, router).await
}

/// The same, with or without TLS.
pub(crate) async fn writers_with(
    run: &str,
    tls: Tls,
    stand: &Stand,
    router: &Router,
) -> Result<Writers> {
    let leader = stand.patroni.leader().await?;
    writer::prepare(stand.patroni.node(&leader)?.postgresql()).await?;
    let write = [router.ports().write];
    Writers::start(run, &write, 4, tls, &stand.parts, &stand.workdir).await
}

/// Waits until the fault is over for the writers and for the cluster, stops them, and fails if they
/// saw a refused login, a read-only node, or lost a row that had been acknowledged to them.
pub(crate) async fn unharmed(
    mut writers: Writers,
    stand: &mut Stand,
    router: &mut Router,
) -> Result<Report> {
    writers
        .all_writing_again(STEADY)
        .await
        .map_err(|failure| router.with_log(&failure))?;
    let leader = stand.patroni.wait_steady(STEADY).await?;
    let run = writers.run().to_owned();
    let report = writers.stop().await?;
    let lost = writer::lost(&run, &report, stand.patroni.node(&leader)?.postgresql()).await?;
    tell(&run, &report)?;
    let told = || router.with_log(&anyhow::anyhow!("{report:#?}"));
    ensure!(
        report.logins_refused() == 0,
        "logins were refused: {:#}",
        told()
    );
    ensure!(
        report.read_only == 0,
        "writes reached a node that reads only: {:#}",
        told()
    );
    ensure!(
        lost == 0,
        "{lost} acknowledged rows are not on {leader}: {:#}",
        told()
    );
    Ok(report)
}

/// Puts a measured line among the test results; `println!` would be swallowed with a test that
/// passes.
fn tell(run: &str, report: &Report) -> Result<()> {
    writeln!(
        std::io::stdout().lock(),
        "     measured: {run}: longest outage {:.0} ms, {} logins held (longest {:.0} ms), {} rows",
        report.outage_ms,
        report.logins_held,
        report.longest_login_ms,
        report.acknowledged(),
    )?;
    Ok(())
}
