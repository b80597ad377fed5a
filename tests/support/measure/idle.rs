//! A router before a quiet cluster: its processor time, and how often it asks the members.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use trunkline_support::patroni::{Node, Settings};
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

    let rest: Vec<SocketAddr> = stand.patroni.nodes().iter().map(Node::rest).collect();
    let (old, mut requests) = (closed_connections(&rest)?, HashSet::new());
    let before = cpu_seconds(pid)?;
    let began = Instant::now();
    throughout(
        "the router runs",
        Duration::from_secs(seconds),
        async || {
            requests.extend(closed_connections(&rest)?);
            router.process().expect_running()
        },
    )
    .await?;
    let elapsed = began.elapsed().as_secs_f64();
    let used = cpu_seconds(pid)? - before;
    println!(
        "idle for {elapsed:.0} s: {used:.2} s of processor time, {:.2} % of one core",
        100.0 * used / elapsed
    );
    let requests = f64::from(u32::try_from(requests.difference(&old).count())?);
    let members = f64::from(u32::try_from(rest.len())?);
    println!(
        "REST requests: {:.3} a member and second",
        requests / members / elapsed
    );
    Ok(())
}

/// User and system time of a process so far.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
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

/// Both ends of the connections with `servers` that were closed within the last minute, for which
/// Linux remembers them. Patroni closes after each answer, so each of them is one request, counted
/// by nobody who might be mistaken about it.
fn closed_connections(servers: &[SocketAddr]) -> Result<HashSet<String>> {
    const TIME_WAIT: &str = "06";
    let names: Vec<String> = servers.iter().filter_map(kernel_name).collect();
    let table = std::fs::read_to_string("/proc/net/tcp").context("reading /proc/net/tcp")?;
    let closed = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, remote, state) = (fields.get(1)?, fields.get(2)?, fields.get(3)?);
        let ours = names.iter().any(|name| name == local || name == remote);
        (ours && *state == TIME_WAIT).then(|| format!("{local} {remote}"))
    });
    Ok(closed.collect())
}

/// An address as /proc/net/tcp writes it.
fn kernel_name(address: &SocketAddr) -> Option<String> {
    match address {
        SocketAddr::V4(address) => {
            let ip = u32::from_le_bytes(address.ip().octets());
            Some(format!("{ip:08X}:{:04X}", address.port()))
        }
        SocketAddr::V6(_) => None,
    }
}
