//! Who may come in at all: the clients of all doors together, against the descriptors of the process.
//!
//! Core divides the descriptors up; here is counted. What a listener's own `maxconn` says stands with its door.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use trunkline_core::Moment;
use trunkline_core::admission::Budget;
use trunkline_io::clock;

/// How often a state that lasts is told of again.
const TELL_AGAIN: Duration = Duration::from_secs(30);
/// How long accepting may have failed last for the state to be over.
const OVER: Duration = Duration::from_secs(5);

/// The process-wide part of admission.
#[derive(Debug)]
pub struct Admission {
    /// What there is to give.
    pub budget: Budget,
    /// Clients of all doors now.
    pub(crate) clients: AtomicU32,
    /// Clients that are being told that there are too many.
    refusing: AtomicU32,
    shortage: Shortage,
}

/// Accepting that fails, as a state: told when it begins, now and then while it lasts, and when it is over.
#[derive(Debug, Default)]
struct Shortage {
    failures: AtomicU64,
    /// When it was told last, in nanoseconds since boot; 0 while there is none.
    told: AtomicU64,
    failed: AtomicU64,
}

impl Admission {
    /// Nobody is in yet.
    #[must_use]
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            clients: AtomicU32::new(0),
            refusing: AtomicU32::new(0),
            shortage: Shortage::default(),
        }
    }

    /// Notes that a connection could not be accepted for want of something every process needs.
    pub fn accept_failed(&self, at: &str, error: &io::Error) {
        let failures = self.shortage.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let now = nanos(clock::now());
        self.shortage.failed.store(now, Ordering::Relaxed);
        let told = self.shortage.told.load(Ordering::Relaxed);
        let again = u64::try_from(TELL_AGAIN.as_nanos()).unwrap_or(u64::MAX);
        let due = told == 0 || now.saturating_sub(told) >= again;
        // Of several listeners one tells.
        let exchange = |told| {
            let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
            self.shortage.told.compare_exchange(told, now, set, get)
        };
        if due && exchange(told).is_ok() {
            tracing::error!(
                at,
                failures,
                clients = self.clients.load(Ordering::Relaxed),
                "no new connection can be accepted: {error}; sessions that end make room, or raise LimitNOFILE="
            );
        }
    }

    /// Notes that a connection was accepted.
    pub fn accepted(&self) {
        let told = self.shortage.told.load(Ordering::Relaxed);
        if told == 0 {
            return;
        }
        let failed = self.shortage.failed.load(Ordering::Relaxed);
        let over = u64::try_from(OVER.as_nanos()).unwrap_or(u64::MAX);
        if nanos(clock::now()).saturating_sub(failed) < over {
            return;
        }
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        if self
            .shortage
            .told
            .compare_exchange(told, 0, set, get)
            .is_ok()
        {
            tracing::info!(
                failures = self.shortage.failures.swap(0, Ordering::Relaxed),
                "connections are accepted again"
            );
        }
    }
}

fn nanos(moment: Moment) -> u64 {
    u64::try_from(moment.since_boot().as_nanos()).unwrap_or(u64::MAX)
}

/// The clients of the process, to be counted.
#[derive(Clone, Debug)]
pub struct Everybody(pub Arc<Admission>);

impl AsRef<AtomicU32> for Everybody {
    fn as_ref(&self) -> &AtomicU32 {
        &self.0.clients
    }
}

/// The clients of all doors that are told to go away, to be counted.
#[derive(Clone, Debug)]
pub struct Refusals(pub Arc<Admission>);

impl AsRef<AtomicU32> for Refusals {
    fn as_ref(&self) -> &AtomicU32 {
        &self.0.refusing
    }
}
