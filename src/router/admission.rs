//! Who may come in at all: the clients of all doors together, against the descriptors of the process.
//!
//! Core divides the descriptors up; here is counted. What a listener's own `maxconn` says stands with its door.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use trunkline_core::admission::Budget;
use trunkline_core::{MemberName, Moment};
use trunkline_io::clock;

/// How often a state that lasts is told of again.
const TELL_AGAIN: Duration = Duration::from_secs(30);
/// How long the last failure has to be ago for the state to be over.
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
    /// Of what accepting takes.
    incoming: Shortage,
    /// Of what connecting to members takes.
    outgoing: Shortage,
}

/// A want of something that every connection takes, as a state: told when it begins, now and then while it lasts, and
/// when it is over.
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
            incoming: Shortage::default(),
            outgoing: Shortage::default(),
        }
    }

    /// Notes that a connection could not be accepted for want of something every process needs.
    pub fn accept_failed(&self, at: &str, error: &io::Error) {
        if let Some(failures) = self.incoming.failed() {
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
        if let Some(failures) = self.incoming.passed() {
            tracing::info!(failures, "connections are accepted again");
        }
    }

    /// Notes that this machine had nothing left to connect to a member with.
    pub fn connect_failed(&self, at: &str, member: &MemberName, lacking: &str) {
        if let Some(failures) = self.outgoing.failed() {
            tracing::error!(
                at,
                %member,
                failures,
                clients = self.clients.load(Ordering::Relaxed),
                "this machine cannot connect to a member, and the member is not to blame: {lacking}; sessions that \
                 end make room; for ports widen net.ipv4.ip_local_port_range or name more addresses under source:"
            );
        }
    }

    /// Notes that a member was connected to.
    pub fn connected(&self) {
        if let Some(failures) = self.outgoing.passed() {
            tracing::info!(failures, "members can be connected to again");
        }
    }
}

impl Shortage {
    /// How often it was met by now, if it is time to tell.
    fn failed(&self) -> Option<u64> {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let now = nanos(clock::now());
        self.failed.store(now, Ordering::Relaxed);
        let told = self.told.load(Ordering::Relaxed);
        let again = u64::try_from(TELL_AGAIN.as_nanos()).unwrap_or(u64::MAX);
        let due = told == 0 || now.saturating_sub(told) >= again;
        // Of several that meet it at once one tells.
        (due && self.turn(told, now)).then_some(failures)
    }

    /// How often it was met, once it is over: what failed before went well just now.
    fn passed(&self) -> Option<u64> {
        let told = self.told.load(Ordering::Relaxed);
        if told == 0 {
            return None;
        }
        let failed = self.failed.load(Ordering::Relaxed);
        let over = u64::try_from(OVER.as_nanos()).unwrap_or(u64::MAX);
        if nanos(clock::now()).saturating_sub(failed) < over {
            return None;
        }
        let is_ours = self.turn(told, 0);
        is_ours.then(|| self.failures.swap(0, Ordering::Relaxed))
    }

    fn turn(&self, told: u64, now: u64) -> bool {
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        self.told.compare_exchange(told, now, set, get).is_ok()
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
