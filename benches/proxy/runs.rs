//! One run: one contender, one workload, one sample of its figures.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::client::bulk::Bulk;
use crate::client::idle::Idle;
use crate::client::round_trips::RoundTrips;
use crate::client::short::Short;
use crate::client::{Load, Outcome, Timing, drive, shares};
use crate::contender::{Contender, Front, cpu};
use crate::pgbench::{self, Script};
use crate::plan::{Metric, Work};
use crate::stand::Stand;
use crate::usage::{Cpu, Memory};

/// What a run yielded.
pub(crate) type Sample = BTreeMap<Metric, f64>;

const GIB: f64 = (1_u64 << 30) as f64;
const MICRO: f64 = 1e6;
/// Sessions that a process has when its memory is looked at for the first time: what the first of all cost, tables and
/// arenas, is no session's.
const FIRST_SESSIONS: usize = 100;
/// Seconds of pgbench: in less, a busy machine may not get beyond the logins.
const SHORTEST_PGBENCH: u64 = 2;
/// How long memory may take to stand still.
const SETTLING: usize = 20;
const SETTLED: Duration = Duration::from_millis(200);

/// How runs are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ways {
    pub(crate) timing: Timing,
    pub(crate) threads: usize,
    pub(crate) idle_sessions: usize,
    pub(crate) idle_time: Duration,
}

/// Works through a front that runs already.
pub(crate) async fn through(
    front: &Front,
    work: Work,
    stand: &Stand,
    ways: Ways,
) -> Result<Sample> {
    let (address, pid) = (front.address, front.pid());
    let threads = ways.threads;
    let outcome = match work {
        Work::Bulk { streams, way } => {
            let open = move |count| Bulk::open(address, count, way);
            load(open, streams, threads, ways.timing, pid).await?
        }
        Work::RoundTrips { sessions, size } => {
            let open = move |count| RoundTrips::open(address, count, size);
            load(open, sessions, threads, ways.timing, pid).await?
        }
        Work::Short { places } => {
            let open = move |count| Ok(Short::new(address, count));
            load(open, places, threads, ways.timing, pid).await?
        }
        Work::Pgbench { script, clients } => {
            return transactions(front, script, clients, stand, ways.timing).await;
        }
        Work::Memory | Work::Idle => anyhow::bail!("idle sessions are measured elsewhere"),
    };
    let is_bulk = matches!(work, Work::Bulk { .. });
    Ok(sample(&outcome, is_bulk, pid.is_some()))
}

async fn load<L: Load + 'static>(
    open: impl Fn(usize) -> Result<L> + Send + 'static,
    count: usize,
    threads: usize,
    timing: Timing,
    pid: Option<u32>,
) -> Result<Outcome> {
    let working = tokio::task::spawn_blocking(move || {
        let parts = shares(count, threads)
            .into_iter()
            .map(open)
            .collect::<Result<Vec<L>>>()?;
        drive(parts, timing, &|| cpu(pid))
    });
    working.await.context("a measurement panicked")?
}

fn sample(outcome: &Outcome, is_bulk: bool, has_proxy: bool) -> Sample {
    let done = outcome.tally.done as f64;
    let (amount, unit) = if is_bulk {
        (done / GIB, 1.0)
    } else {
        (done, MICRO)
    };
    let mut sample = Sample::from([(Metric::Rate, amount / outcome.seconds)]);
    if has_proxy {
        sample.insert(Metric::Cpu, outcome.cpu.as_secs_f64() * unit / amount);
    }
    if !outcome.tally.took.is_empty() {
        for (metric, share) in [
            (Metric::P50, 0.5),
            (Metric::P99, 0.99),
            (Metric::P999, 0.999),
        ] {
            sample.insert(metric, outcome.tally.microseconds_at(share));
        }
    }
    sample
}

async fn transactions(
    front: &Front,
    script: Script,
    clients: usize,
    stand: &Stand,
    timing: Timing,
) -> Result<Sample> {
    // pgbench knows whole seconds only, and logs all its clients in first.
    let seconds = (timing.window.as_secs_f64().ceil() as u64).max(SHORTEST_PGBENCH);
    let before = cpu(front.pid())?;
    let told = pgbench::work(stand, front.address, script, clients, seconds).await?;
    let used = cpu(front.pid())?.since(&before);
    let mut sample = Sample::from([(Metric::Rate, told.per_second)]);
    if front.pid().is_some() {
        let each = used.as_secs_f64() * MICRO / told.transactions;
        sample.insert(Metric::Cpu, each);
    }
    Ok(sample)
}

/// What an idle session costs a proxy that was just started: its memory with so many of them, less its memory after
/// its first few.
pub(crate) async fn memory(
    contender: &Contender,
    number: usize,
    stand: &Stand,
    ways: Ways,
) -> Result<Sample> {
    let front = contender.front(stand, stand.addresses[number]).await?;
    let pid = front.pid().context("a direct connection has no memory")?;
    let first = open_idle(&front, FIRST_SESSIONS.min(ways.idle_sessions)).await?;
    let before = settled(pid).await?;
    let sessions = open_idle(&front, ways.idle_sessions).await?;
    let after = settled(pid).await?;
    check_idle(first).await?;
    check_idle(sessions).await?;
    let each = |after: u64, before: u64| {
        (after as f64 - before as f64) / 1_024.0 / ways.idle_sessions as f64
    };
    Ok(Sample::from([
        (Metric::Dirty, each(after.dirty, before.dirty)),
        (Metric::Resident, each(after.resident, before.resident)),
    ]))
}

/// The share of a processor that each front takes while its sessions wait, all of them in the same time.
pub(crate) async fn idle(fronts: &[Front], ways: Ways) -> Result<Vec<Sample>> {
    let mut sessions = Vec::new();
    for front in fronts {
        sessions.push(open_idle(front, ways.idle_sessions).await?);
    }
    // What opening them left to be done is done.
    for front in fronts {
        settled(front.pid().context("a direct connection is not idle")?).await?;
    }
    let all = || fronts.iter().map(|front| cpu(front.pid()));
    let (before, began) = (
        all().collect::<Result<Vec<_>>>()?,
        std::time::Instant::now(),
    );
    tokio::time::sleep(ways.idle_time).await;
    let (after, elapsed) = (all().collect::<Result<Vec<_>>>()?, began.elapsed());
    for open in sessions {
        check_idle(open).await?;
    }
    let busy = |(after, before): (Cpu, Cpu)| {
        let used = after.since(&before);
        Sample::from([(
            Metric::Busy,
            100.0 * used.as_secs_f64() / elapsed.as_secs_f64(),
        )])
    };
    Ok(after.into_iter().zip(before).map(busy).collect())
}

async fn open_idle(front: &Front, count: usize) -> Result<Idle> {
    let address = front.address;
    let opening = tokio::task::spawn_blocking(move || Idle::open(address, count));
    let opened = opening.await.context("opening idle sessions panicked")?;
    opened.map_err(|failure| front.with_log(&failure))
}

async fn check_idle(mut sessions: Idle) -> Result<()> {
    let checking = tokio::task::spawn_blocking(move || sessions.check());
    checking.await.context("checking idle sessions panicked")?
}

/// Its memory, once it stands still.
async fn settled(pid: u32) -> Result<Memory> {
    let mut last = Memory::of(pid)?;
    for _ in 0..SETTLING {
        tokio::time::sleep(SETTLED).await;
        let now = Memory::of(pid)?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
    // A process that never stands still is measured as it is.
    Ok(last)
}
