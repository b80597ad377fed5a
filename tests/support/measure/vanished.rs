//! The leader's machine gone from the network: when the next leader takes a write, asked straight at the nodes and
//! through the router at the same time.

use std::path::Path as FilePath;
use std::time::Duration;

use anyhow::Result;
use trunkline_support::moments::first_write;
use trunkline_support::netns::Wire;
use trunkline_support::patroni::Settings;
use trunkline_support::stand::Stand;

use crate::median;

const STEADY: Duration = Duration::from_secs(90);
/// A lease, an election, a promotion.
const FAILOVER: Duration = Duration::from_secs(60);

pub(crate) fn measure(binary: &FilePath, runs: usize) -> Result<()> {
    let wire = Wire::lay()?;
    wire.run(async || on_the_wire(&wire, binary, runs).await)
}

async fn on_the_wire(wire: &Wire, binary: &FilePath, runs: usize) -> Result<()> {
    let settings = Settings {
        ttl: 20,
        loop_wait: 1,
        retry_timeout: 3,
        synchronous_mode: true,
        ..Settings::default()
    };
    let mut stand = Stand::start_on(Box::new(wire.clone()), settings).await?;
    let mut router = stand.router(binary).await?;
    let mut later = Vec::new();
    for number in 1..=runs {
        let vanished = stand.patroni.wait_steady(STEADY).await?;
        router.wait_ready(&["write"], STEADY).await?;
        let others = stand.patroni.others(&vanished);
        let write = [router.ports().write];
        let cut = wire.silence(stand.patroni.node(&vanished)?.host())?;
        let (straight, routed) = tokio::try_join!(
            first_write(&others, FAILOVER),
            first_write(&write, FAILOVER)
        )?;
        cut.mend()?;
        let [straight, routed] = [straight, routed].map(|took| took.as_secs_f64() * 1000.0);
        later.push(routed - straight);
        println!(
            "run {number}: first write straight at the next leader after {straight:.0} ms, through the router after \
             {routed:.0} ms: {:+.0} ms",
            routed - straight
        );
    }
    println!(
        "leader's machine vanished: through the router {:+.0} ms later (median of {runs})",
        median(&later)
    );
    Ok(())
}
