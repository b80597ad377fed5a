//! The cluster all tests of this program share, one at a time, and the checks more than one makes.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::sync::Mutex;
use trunkline_support::faults::{Fault, Record};
use trunkline_support::patroni::Settings;
use trunkline_support::router::Router;
use trunkline_support::stand::Stand;
use trunkline_support::writer::{self, Crew, Tls, Writers};

/// The router under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_trunkline");
/// Where `make test` finds what each fault cost.
const FAULTS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/faults");
/// Anything a cluster gets over by itself is over by then.
pub(crate) const STEADY: Duration = Duration::from_secs(120);
/// One login, the longest hold included.
pub(crate) const LOGIN: Duration = Duration::from_secs(45);
/// Clients of a measured fault, and how many of them say nothing.
const WRITERS: usize = 4;
const IDLE: usize = 8;
pub(crate) const CLIENTS: u64 = 12;
pub(crate) const LISTENERS: [&str; 3] = ["write", "read", "sync"];

pub(crate) static CLUSTER: Mutex<Option<Stand>> = Mutex::const_new(None);

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

/// Runs `test` on a cluster of its own, whose etcd and REST APIs ask for certificates, while nobody else's is busy.
pub(crate) async fn on_a_cluster_with_tls(
    test: impl AsyncFnOnce(&mut Stand) -> Result<()>,
) -> Result<()> {
    let _quiet = CLUSTER.lock().await;
    let mut stand = Stand::start_with_tls(settings()).await?;
    test(&mut stand).await
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

/// Clients through the router's write port: some already writing, some idle.
pub(crate) async fn clients(fault: Fault, stand: &Stand, router: &Router) -> Result<Writers> {
    clients_with(fault, Tls::Preferred, stand, router).await
}

/// The same, with or without TLS.
pub(crate) async fn clients_with(
    fault: Fault,
    tls: Tls,
    stand: &Stand,
    router: &Router,
) -> Result<Writers> {
    start_clients(fault, tls, stand, &[router.ports().write]).await
}

/// Clients with a list of routers to try, by their write ports.
pub(crate) async fn clients_of(
    fault: Fault,
    stand: &Stand,
    routers: &[SocketAddr],
) -> Result<Writers> {
    start_clients(fault, Tls::Preferred, stand, routers).await
}

async fn start_clients(
    fault: Fault,
    tls: Tls,
    stand: &Stand,
    servers: &[SocketAddr],
) -> Result<Writers> {
    let leader = stand.patroni.leader().await?;
    writer::prepare(stand.patroni.node(&leader)?.postgresql()).await?;
    let crew = Crew {
        writers: WRITERS,
        idle: IDLE,
        tls,
    };
    Writers::start(&fault.name(), servers, crew, &stand.parts, &stand.workdir).await
}

/// Waits until the fault is over for the writers and for the cluster, stops them, keeps what the fault cost for
/// the table, and fails if it cost what no fault may: a session on a wrong node, writes taken by two nodes, a
/// row that had been acknowledged.
pub(crate) async fn measured(
    fault: Fault,
    writers: Writers,
    stand: &mut Stand,
    router: &mut Router,
) -> Result<Record> {
    let record = recorded(fault, writers, stand, router).await?;
    let lost = record.lost == 0;
    ensure!(lost, told("rows were lost", &record, router));
    Ok(record)
}

/// The same where nobody promised the rows that were on their way when the leader died: without a synchronous standby
/// each writer may lose the last few. It fails if it cost more.
pub(crate) async fn measured_asynchronously(
    fault: Fault,
    writers: Writers,
    stand: &mut Stand,
    router: &mut Router,
) -> Result<Record> {
    const ON_THEIR_WAY: u64 = 5 * WRITERS as u64;
    let record = recorded(fault, writers, stand, router).await?;
    let few = record.lost <= ON_THEIR_WAY;
    ensure!(
        few,
        told(
            "more rows were lost than were on their way",
            &record,
            router
        )
    );
    let refused = !record.logins_refused.is_empty() || !record.writes_refused.is_empty();
    ensure!(!refused, told("somebody was refused", &record, router));
    Ok(record)
}

async fn recorded(
    fault: Fault,
    mut writers: Writers,
    stand: &mut Stand,
    router: &mut Router,
) -> Result<Record> {
    writers
        .all_writing_again(STEADY)
        .await
        .map_err(|failure| router.with_log(&failure))?;
    let leader = stand.patroni.wait_steady(STEADY).await?;
    // Before the clients end their sessions, which can look as if PostgreSQL did.
    let log = router.process().log()?;
    let run = writers.run().to_owned();
    let report = writers.stop().await?;
    let lost = writer::lost(&run, &report, stand.patroni.node(&leader)?.postgresql()).await?;
    let record = Record::new(fault, &report, lost, &log)?;
    record.keep(Path::new(FAULTS))?;
    let harmless = record.wrong_sessions.is_empty() && record.two_timelines.is_empty();
    ensure!(
        harmless,
        told("sessions or writes went astray", &record, router)
    );
    Ok(record)
}

/// Adds to what a fault cost.
pub(crate) fn note(mut record: Record, note: String) -> Result<()> {
    record.notes.push(note);
    record.keep(Path::new(FAULTS))
}

/// The same, and fails if a client was refused anything: a fault costs time and sessions only.
pub(crate) async fn unharmed(
    fault: Fault,
    writers: Writers,
    stand: &mut Stand,
    router: &mut Router,
) -> Result<Record> {
    let record = measured(fault, writers, stand, router).await?;
    let refused = !record.logins_refused.is_empty() || !record.writes_refused.is_empty();
    ensure!(!refused, told("somebody was refused", &record, router));
    Ok(record)
}

/// The same, and fails if a session was cut: there is nothing of the fault that a client could see.
pub(crate) async fn unseen(
    fault: Fault,
    writers: Writers,
    stand: &mut Stand,
    router: &mut Router,
) -> Result<()> {
    let cost = unharmed(fault, writers, stand, router).await?;
    let cut = cost.sessions_cut();
    ensure!(cut == 0, told("sessions were cut", &cost, router));
    Ok(())
}

/// Fails unless `leader` leads.
pub(crate) async fn still_leads(leader: &str, stand: &Stand) -> Result<()> {
    let leads = stand.patroni.leader().await?;
    ensure!(leads == leader, "{leads} leads instead of {leader}");
    Ok(())
}

/// The failure of a test by what its fault cost, with what the router decided meanwhile.
pub(crate) fn told(what: &str, cost: &Record, router: &Router) -> anyhow::Error {
    let failure = anyhow::anyhow!("{what}: {cost:#?}");
    router.with_events(&failure).unwrap_or(failure)
}
