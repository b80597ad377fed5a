//! Routers started one after another while the cluster switches over, each asked at once: on which
//! node do the first logins land?

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use trunkline_support::patroni::Settings;
use trunkline_support::postgres::Sql;
use trunkline_support::router::Router;
use trunkline_support::stand::Stand;
use trunkline_support::wait::until;

const STEADY: Duration = Duration::from_secs(90);
/// Past the router's own bound on holding, so that its answer is seen and not our impatience.
const LOGIN: Duration = Duration::from_secs(40);

#[derive(Debug, Default)]
struct Landings {
    primary: usize,
    wrong: usize,
    refused: usize,
    longest: Duration,
}

pub(crate) async fn measure(binary: &Path, routers: usize, logins: usize) -> Result<()> {
    let mut stand = Stand::start(Settings::default()).await?;
    let mut started = 0;
    let mut switchovers = 0;
    let mut all = Landings::default();
    while started < routers {
        stand.patroni.wait_steady(STEADY).await?;
        let candidate = stand.patroni.candidate().await?;
        switchovers += 1;
        let before = started;
        let switch = stand.patroni.switchover(&candidate);
        let starts = async {
            let began = Instant::now();
            // As many as fit while the leader changes; then the next switchover.
            while started < routers && began.elapsed() < Duration::from_secs(6) {
                started += 1;
                let router = stand.launch_router(binary)?;
                land(router, logins, &mut all).await?;
            }
            anyhow::Ok(())
        };
        let (switched, landed) = tokio::join!(switch, starts);
        switched?;
        landed?;
        println!(
            "switchover {switchovers}: {} routers started, so far {all:?}",
            started - before
        );
    }
    println!(
        "{routers} routers started over {switchovers} switchovers, {logins} logins each: {} on the \
         primary, {} on a wrong node, {} refused; the longest login took {} ms",
        all.primary,
        all.wrong,
        all.refused,
        all.longest.as_millis()
    );
    Ok(())
}

async fn land(mut router: Router, logins: usize, landings: &mut Landings) -> Result<()> {
    let write = router.ports().write;
    // Not /healthz: the first moment at which a client can get in is the one to look at.
    until(
        "the write port accepts",
        Duration::from_secs(10),
        async || {
            router.process().expect_running()?;
            tokio::net::TcpStream::connect(write).await?;
            Ok(())
        },
    )
    .await?;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..logins {
        asked.spawn(log_in(write));
    }
    while let Some(answer) = asked.join_next().await {
        let (landing, took) = answer?;
        landings.longest = landings.longest.max(took);
        match landing {
            Ok(false) => landings.primary += 1,
            Ok(true) => landings.wrong += 1,
            Err(_refused) => landings.refused += 1,
        }
    }
    let status = router.stop(Duration::from_secs(10)).await?;
    ensure!(status.success(), "the router ended with {status}");
    Ok(())
}

/// Whether the node behind the write port is in recovery, and how long the login took.
async fn log_in(write: SocketAddr) -> (Result<bool>, Duration) {
    let began = Instant::now();
    let sql = match Sql::connect(write, LOGIN).await {
        Ok(sql) => sql,
        Err(refused) => return (Err(refused), began.elapsed()),
    };
    let took = began.elapsed();
    (sql.one("SELECT pg_is_in_recovery()").await, took)
}
