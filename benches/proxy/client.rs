//! The client of every contender: the same code, a few threads with an epoll each, and one window of time in which
//! what is done is counted and the proxy's processor time is taken.
//!
//! Any error ends the measurement: nothing is counted away.

pub(crate) mod bulk;
pub(crate) mod idle;
pub(crate) mod round_trips;
pub(crate) mod short;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use hdrhistogram::Histogram;

use crate::usage::Cpu;
use crate::wire::{WELCOME, Work};

/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The longest time a histogram can hold, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;
/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// How long is waited before, and how long is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

/// The window that counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

impl Span {
    pub(crate) fn holds(&self, moment: Instant) -> bool {
        (self.from..self.until).contains(&moment)
    }
}

/// What was done within the window: bytes that moved in it, and what began in it and was waited for.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Round trips, sessions or bytes.
    pub(crate) done: u64,
    /// How long each took, in nanoseconds; empty where nothing has a duration.
    pub(crate) took: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Result<Self> {
        let took = Histogram::new_with_bounds(1, LONGEST, DIGITS).context("making a histogram")?;
        Ok(Self { done: 0, took })
    }

    pub(crate) fn note(&mut self, took: Duration) {
        self.done += 1;
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(LONGEST);
        self.took.saturating_record(nanoseconds);
    }

    /// The time that this share of them took at most, in microseconds.
    pub(crate) fn microseconds_at(&self, share: f64) -> f64 {
        self.took.value_at_quantile(share) as f64 / 1_000.0
    }
}

/// One thread's share of the work.
pub(crate) trait Load: Send {
    /// Works from now to the end of the window, ends its sessions in order and says what it did.
    fn run(self, span: Span) -> Result<Tally>;
}

/// What a window showed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) seconds: f64,
    /// The processor time the proxy used meanwhile.
    pub(crate) cpu: Duration,
}

/// Has all shares work at once; `cpu` tells the processor time the proxy has used so far.
pub(crate) fn drive<L: Load>(
    shares: Vec<L>,
    timing: Timing,
    cpu: &(dyn Fn() -> Result<Cpu> + Sync),
) -> Result<Outcome> {
    let from = Instant::now() + timing.warm_up;
    let until = from + timing.window;
    let span = Span { from, until };
    std::thread::scope(|scope| {
        let running: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || share.run(span)))
            .collect();
        let (began, before) = sample(from, cpu)?;
        let (ended, after) = sample(until, cpu)?;
        // A thread that was woken late saw another length of time than the clients counted for.
        let share = timing.window.as_secs_f64() / (ended - began).as_secs_f64();
        let mut tally = Tally::new()?;
        for thread in running {
            let ended = thread.join();
            let part = ended.map_err(|_panic| anyhow!("a thread of the client panicked"))??;
            tally.done += part.done;
            tally.took.add(&part.took).context("adding up histograms")?;
        }
        Ok(Outcome {
            tally,
            seconds: timing.window.as_secs_f64(),
            cpu: after.since(&before).mul_f64(share),
        })
    })
}

fn sample(at: Instant, cpu: &(dyn Fn() -> Result<Cpu> + Sync)) -> Result<(Instant, Cpu)> {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
    Ok((Instant::now(), cpu()?))
}

/// A session that was welcomed.
pub(crate) fn log_in(address: SocketAddr, work: Work) -> Result<TcpStream> {
    let talk = || -> Result<TcpStream> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&work.startup())?;
        let mut welcome = [0; WELCOME.len()];
        stream.read_exact(&mut welcome)?;
        ensure!(welcome == WELCOME, "it was welcomed with {welcome:?}");
        Ok(stream)
    };
    talk().with_context(|| format!("logging in at {address}"))
}

/// The same, never to be waited for again.
pub(crate) fn log_in_nonblocking(address: SocketAddr, work: Work) -> Result<TcpStream> {
    let stream = log_in(address, work)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Deals `count` out to at most `threads`: how many each of them has.
pub(crate) fn shares(count: usize, threads: usize) -> Vec<usize> {
    let threads = threads.clamp(1, count.max(1));
    (0..threads)
        .map(|thread| count / threads + usize::from(thread < count % threads))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_dealt_out_evenly_and_wholly() {
        assert_eq!(shares(16, 2), [8, 8]);
        assert_eq!(shares(5, 2), [3, 2]);
        assert_eq!(shares(1, 2), [1]);
        assert_eq!(shares(257, 4).iter().sum::<usize>(), 257);
    }

    #[test]
    fn the_time_a_share_took_is_told_in_microseconds() {
        let mut tally = Tally::new().unwrap();
        for microseconds in 1..=1_000 {
            tally.note(Duration::from_micros(microseconds));
        }
        assert_eq!(tally.done, 1_000);
        let near = |told: f64, true_one: f64| (told / true_one - 1.0).abs() < 0.002;
        assert!(near(tally.microseconds_at(0.5), 500.0));
        assert!(near(tally.microseconds_at(0.99), 990.0));
    }

    #[test]
    fn a_longer_time_than_fits_is_kept_as_the_longest() {
        let mut tally = Tally::new().unwrap();
        tally.note(Duration::from_secs(3_600));
        assert!(tally.microseconds_at(1.0) >= 60_000_000.0);
    }
}
