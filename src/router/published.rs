//! What listeners route by: the last decision with its kill switches, published whole.
//!
//! A session keeps the [`Seat`] it found in the snapshot: the target, the switch that ends its sessions, their
//! count. A table that changes between the choice and the connection fires that very switch, so there is no
//! window in which a session could be forgotten and no registry to look in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trunkline_core::cluster::ClusterView;
use trunkline_core::follow::Trouble;
use trunkline_core::probe::Probe;
use trunkline_core::route::change::{Change, Event};
use trunkline_core::route::ledger::Known;
use trunkline_core::route::{Because, Pool, Residence, Table, Target};
use trunkline_core::{MemberName, Moment, Observed};

use crate::traffic::account::Account;

/// A target of one listener, as its sessions hold it.
#[derive(Debug)]
pub struct Seat {
    /// Where it is.
    pub target: Target,
    /// Sessions on it now, connecting ones included.
    pub sessions: AtomicU32,
    /// Sessions it ever had.
    pub total: AtomicU64,
    /// When a session last had reason to doubt the target, in nanoseconds since boot.
    doubted: AtomicU64,
    /// Until when nobody connects, since this machine has nothing left to connect with; in nanoseconds since boot.
    rests: AtomicU64,
    /// Where its sessions' bytes are counted: looked up once, so that sessions do not queue for it.
    pub(crate) account: OnceLock<Arc<Account>>,
    /// Fires when its sessions are to end: because routing says so, or because the program ends. One switch, since a
    /// session that waits for two has twice the waiting in it.
    over: CancellationToken,
    because: OnceLock<Because>,
}

impl Seat {
    fn new(target: Target, ending: &CancellationToken) -> Self {
        Self {
            target,
            sessions: AtomicU32::new(0),
            total: AtomicU64::new(0),
            doubted: AtomicU64::new(0),
            rests: AtomicU64::new(0),
            account: OnceLock::new(),
            over: ending.child_token(),
            because: OnceLock::new(),
        }
    }

    /// Notes that a session had reason to doubt the target just now.
    pub fn doubt(&self, now: Moment) {
        self.doubted.fetch_max(nanos(now), Ordering::Relaxed);
    }

    /// Has nobody connect until then. It costs the kernel a look at every port to find that none is left: that is done now
    /// and then, not by every client who waits for one.
    pub fn rest(&self, until: Moment) {
        self.rests.fetch_max(nanos(until), Ordering::Relaxed);
    }

    /// Whether nobody is to connect now.
    #[must_use]
    pub fn rests(&self, now: Moment) -> bool {
        self.rests.load(Ordering::Relaxed) > nanos(now)
    }

    /// When a session last had reason to doubt the target; at boot, if never.
    #[must_use]
    pub fn doubted(&self) -> Moment {
        Moment::from_boot(Duration::from_nanos(self.doubted.load(Ordering::Relaxed)))
    }

    /// Fires when the sessions here are to end, or the program is.
    #[must_use]
    pub const fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// Why they are to, where routing says so.
    #[must_use]
    pub fn because(&self) -> Option<&Because> {
        self.because.get()
    }

    fn kill(&self, because: Because) {
        // The first reason stands.
        let _ = self.because.set(because);
        self.over.cancel();
    }
}

fn nanos(moment: Moment) -> u64 {
    u64::try_from(moment.since_boot().as_nanos()).unwrap_or(u64::MAX)
}

/// A pool with its seats.
#[derive(Debug)]
pub struct Lane {
    /// The decision.
    pub pool: Pool,
    /// The targets' seats, in the order of `pool.targets`.
    pub targets: Vec<Arc<Seat>>,
    /// The seats of every target whose sessions may live, the pool's targets among them.
    pub residents: Vec<Arc<Seat>>,
}

/// Everything that was decided in one look, and what it was decided from.
#[derive(Debug)]
pub struct Snapshot {
    /// When it was made.
    pub at: Moment,
    /// The decision.
    pub table: Table,
    /// Its pools with their seats, in the order of the configured listeners.
    pub lanes: Vec<Lane>,
    /// What etcd said.
    pub view: Observed<ClusterView, Trouble>,
    /// Which etcd endpoint is asked.
    pub endpoint: String,
    /// When the last proof of the lock was asked for, and when it ends.
    pub proof: Option<(Moment, Moment)>,
    /// The members as they are remembered.
    pub members: BTreeMap<MemberName, Known>,
    /// What they said.
    pub probes: BTreeMap<MemberName, Probe>,
}

/// Where control puts snapshots and everybody else finds the newest.
#[derive(Debug)]
pub struct Board {
    current: ArcSwap<Snapshot>,
    generation: watch::Sender<u64>,
    looks: watch::Sender<u64>,
}

impl Snapshot {
    /// The lane of the listener of that name; `None` if the decision knows no such listener.
    #[must_use]
    pub fn lane(&self, listener: &str) -> Option<&Lane> {
        let mut lanes = self.lanes.iter();
        lanes.find(|lane| lane.pool.listener == listener)
    }
}

impl Board {
    /// A board that shows `first`.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        Self {
            current: ArcSwap::from_pointee(first),
            generation: watch::Sender::new(0),
            looks: watch::Sender::new(0),
        }
    }

    /// The newest snapshot.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Follows decisions: changes when a listener does something else with new clients than before. Held clients
    /// wait for that; a snapshot that only dates the same decision anew wakes nobody.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Follows every look, also those that decide the same anew: for the few who wait for an answer of a member that
    /// is asked already.
    #[must_use]
    pub fn follow_looks(&self) -> watch::Receiver<u64> {
        self.looks.subscribe()
    }

    fn publish(&self, snapshot: Snapshot, is_news: bool) {
        self.current.store(Arc::new(snapshot));
        self.looks.send_modify(|looks| *looks += 1);
        if is_news {
            self.generation.send_modify(|generation| *generation += 1);
        }
    }
}

/// The seats of a cluster, kept by control alone.
#[derive(Debug, Default)]
pub struct Seats {
    seats: BTreeMap<(String, Target), Arc<Seat>>,
    ending: CancellationToken,
}

impl Seats {
    /// None yet. Those that come are over when `ending` fires.
    #[must_use]
    pub const fn new(ending: CancellationToken) -> Self {
        Self {
            seats: BTreeMap::new(),
            ending,
        }
    }

    /// The lanes of `table`, with the seats that are there already and new ones for new targets.
    pub fn lanes(&mut self, table: &Table) -> Vec<Lane> {
        table
            .pools
            .iter()
            .map(|pool| {
                let mut seat = |target: &Target| {
                    let key = (pool.listener.clone(), target.clone());
                    let seat = self
                        .seats
                        .entry(key)
                        .or_insert_with(|| Arc::new(Seat::new(target.clone(), &self.ending)));
                    Arc::clone(seat)
                };
                let targets = pool.targets.iter().map(&mut seat).collect();
                let may_live = pool
                    .residents
                    .iter()
                    .filter(|(_, stay)| **stay != Residence::End);
                let residents = may_live.map(|(target, _)| seat(target)).collect();
                Lane {
                    pool: pool.clone(),
                    targets,
                    residents,
                }
            })
            .collect()
    }

    /// Publishes `snapshot` on `board`, and only then ends the sessions that `change` names. Returns how many.
    ///
    /// In this order, a session that chose by the old snapshot finds its switch fired; in the other, it could
    /// choose a seat whose switch nobody will fire again.
    pub fn publish(&mut self, board: &Board, snapshot: Snapshot, change: &Change) -> u64 {
        let listeners: BTreeSet<String> = (snapshot.table.pools.iter())
            .map(|pool| pool.listener.clone())
            .collect();
        let is_news = change
            .events
            .iter()
            .any(|event| matches!(event, Event::Verdict { .. }));
        board.publish(snapshot, is_news);
        let mut ended = 0;
        for end in &change.ends {
            if let Some(seat) = self
                .seats
                .remove(&(end.listener.clone(), end.target.clone()))
            {
                ended += u64::from(seat.sessions.load(Ordering::Relaxed));
                seat.kill(end.because.clone());
            }
        }
        // A listener goes when its last session has: a session that nothing decides on any more must not be.
        self.seats.retain(|(listener, _), seat| {
            let stays = listeners.contains(listener);
            if !stays {
                seat.over.cancel();
            }
            stays
        });
        ended
    }
}
