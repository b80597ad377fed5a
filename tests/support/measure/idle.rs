//! A router before a quiet cluster: its processor time, and how often it asks the members.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use trunkline_support::patroni::Settings;
use trunkline_support::stand::Stand;
use trunkline_support::wait::throughout;

pub(crate) async fn measure(binary: &Path, seconds: u64) -> Result<()> {
    let settings = Settings {
        synchronous_mode: true,
        ..Settings::default()
    };
    let stand = Stand::start(settings).await?;
    let mut router = stand.router(binary).await?;
    router
        .wait_ready(&["write", "read", "sync"], Duration::from_secs(30))
        .await?;
    let pid = router.process().pid();

    let (before, asked_before) = (cpu_seconds(pid)?, probes(&router.metrics().await?));
    let began = Instant::now();
    throughout(
        "the router runs",
        Duration::from_secs(seconds),
        async || router.process().expect_running(),
    )
    .await?;
    let elapsed = began.elapsed().as_secs_f64();
    let used = cpu_seconds(pid)? - before;
    println!(
        "idle for {elapsed:.0} s: {used:.2} s of processor time, {:.2} % of one core",
        100.0 * used / elapsed
    );
    let members = stand.patroni.nodes().len();
    match (asked_before, probes(&router.metrics().await?)) {
        (Some(before), Some(after)) => println!(
            "REST requests: {:.2} a member and second",
            (after - before) / elapsed / f64::from(u32::try_from(members)?)
        ),
        _ => println!("REST requests: /metrics has no trunkline_probes_total"),
    }
    Ok(())
}

/// User and system time of a process so far.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let fields = stat.rsplit_once(')').map_or("", |(_name, fields)| fields);
    let ticks = |number: usize| -> Result<f64> {
        let field = fields
            .split_whitespace()
            .nth(number)
            .context("it is short")?;
        field.parse().with_context(|| format!("{path}: {field:?}"))
    };
    // utime and stime, fields 14 and 15 of all; a tick is 10 ms on every Linux there is.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// The sum of the router's counter of REST requests, over all members.
fn probes(metrics: &str) -> Option<f64> {
    let values: Vec<f64> = metrics
        .lines()
        .filter(|line| line.starts_with("trunkline_probes_total"))
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}
