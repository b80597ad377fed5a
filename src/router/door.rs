//! A listener as its sessions see it: what it was told, where it routes, how many it serves and holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::runtime::Handle;
use tokio::sync::watch;
use trunkline_core::config::router::Listener;
use trunkline_io::clock;
use trunkline_io::shutdown::Tasks;

use crate::admission::{Admission, Everybody};
use crate::control::{Doubts, Running};
use crate::published::{Board, Seat, Snapshot};
use crate::traffic::account::{Account, Accounts};
use crate::worker::OnWorker;

/// One configured listener.
#[derive(Debug)]
pub struct Door {
    /// The cluster's name, for log and metrics.
    pub cluster: String,
    /// What it was told.
    pub config: Listener,
    /// Whether it was taken out of the configuration: nobody is let in, sessions go on until they end.
    pub leaving: bool,
    /// Where the decisions are.
    pub board: Arc<Board>,
    /// Where a member that failed a session is reported.
    pub doubts: Doubts,
    /// How many clients the process may have, over all doors.
    pub admission: Arc<Admission>,
    /// The program's tasks: its ending ends sessions.
    pub tasks: Tasks,
    /// Counters for the page. They go on when the listener is told something else.
    pub count: Arc<Count>,
}

/// What a listener counts.
#[derive(Debug, Default)]
pub struct Count {
    /// Clients that are connected now.
    pub clients: AtomicU32,
    /// Clients that wait for a target now.
    pub held: AtomicU32,
    /// Clients beyond `maxconn` that are being told so now.
    pub refusing: AtomicU32,
    /// Clients that ever came.
    pub accepted: AtomicU64,
    /// Clients that ever waited.
    pub held_total: AtomicU64,
    /// Clients that were told to go away.
    pub refused: AtomicU64,
    /// Sessions that were ended because routing said so.
    pub killed: AtomicU64,
    /// Round robin's turn.
    pub turn: AtomicU64,
    /// The bytes that its clients and the members exchanged.
    pub bytes: Accounts,
}

impl Door {
    /// A listener of a running cluster.
    #[must_use]
    pub fn new(
        running: &Running,
        config: Listener,
        admission: &Arc<Admission>,
        tasks: &Tasks,
    ) -> Self {
        Self {
            cluster: running.cluster.name.clone(),
            config,
            leaving: false,
            board: Arc::clone(&running.board),
            doubts: running.doubts.clone(),
            admission: Arc::clone(admission),
            tasks: tasks.clone(),
            count: Arc::default(),
        }
    }

    /// The same listener, told something else. Sessions that are there keep what they came under.
    #[must_use]
    pub fn told(&self, config: Listener, leaving: bool) -> Self {
        Self {
            cluster: self.cluster.clone(),
            config,
            leaving,
            board: Arc::clone(&self.board),
            doubts: self.doubts.clone(),
            admission: Arc::clone(&self.admission),
            tasks: self.tasks.clone(),
            count: Arc::clone(&self.count),
        }
    }

    /// How many clients it may have.
    #[must_use]
    pub fn maxconn(&self) -> u32 {
        let most = self.admission.budget.sessions;
        self.config.maxconn.map_or(most, |own| own.min(most))
    }

    /// Whether this is the listener of that name in that cluster.
    #[must_use]
    pub fn is_called(&self, cluster: &str, listener: &str) -> bool {
        self.cluster == cluster && self.config.name == listener
    }

    /// Whether nobody is connected, not even to be refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let none = |count: &AtomicU32| count.load(Ordering::Relaxed) == 0;
        none(&self.count.clients) && none(&self.count.refusing)
    }

    /// Whether the process has at most half as many clients as it may.
    #[must_use]
    pub fn is_half_empty(&self) -> bool {
        let clients = self.admission.clients.load(Ordering::Relaxed);
        clients <= self.admission.budget.sessions / 2
    }

    /// The newest decision.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.board.current()
    }

    /// A session had reason to doubt its target: the member is asked at once.
    pub fn doubt(&self, seat: &Seat) {
        seat.doubt(clock::now());
        // A full queue loses nothing: the member is being asked already.
        let _ = self.doubts.try_send(seat.target.member.clone());
    }

    /// Where the bytes of the sessions on `seat` are counted.
    #[must_use]
    pub fn account<'s>(&self, seat: &'s Seat) -> &'s Arc<Account> {
        let account = || self.count.bytes.of(&seat.target.member);
        seat.account.get_or_init(account)
    }

    /// Follows decisions.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.board.follow()
    }
}

/// One of something that is counted now, for as long as this lives.
#[derive(Debug)]
pub struct Counted<T: AsRef<AtomicU32>>(T);

impl<T: AsRef<AtomicU32>> Counted<T> {
    /// Counts one more, unless `limit` are counted already.
    pub fn below(counter: T, limit: u32) -> Option<Self> {
        let counted = Self(counter);
        if counted.0.as_ref().fetch_add(1, Ordering::Relaxed) >= limit {
            return None;
        }
        Some(counted)
    }

    /// What it is counted with.
    pub const fn of(&self) -> &T {
        &self.0
    }
}

impl<T: AsRef<AtomicU32>> Drop for Counted<T> {
    fn drop(&mut self) {
        self.0.as_ref().fetch_sub(1, Ordering::Relaxed);
    }
}

/// The clients of a door, to be counted.
#[derive(Clone, Debug)]
pub struct Clients(pub Arc<Door>);

impl AsRef<AtomicU32> for Clients {
    fn as_ref(&self) -> &AtomicU32 {
        &self.0.count.clients
    }
}

/// A client's place: below the door's limit, below the process's, and on a worker.
#[derive(Debug)]
pub struct Place {
    worker: OnWorker,
    _here: Counted<Clients>,
    _everywhere: Counted<Everybody>,
}

impl Place {
    /// A place, if there is one.
    #[must_use]
    pub fn take(door: &Arc<Door>, worker: OnWorker) -> Option<Self> {
        let admission = &door.admission;
        let most = admission.budget.sessions;
        Some(Self {
            worker,
            _here: Counted::below(Clients(Arc::clone(door)), door.maxconn())?,
            _everywhere: Counted::below(Everybody(Arc::clone(admission)), most)?,
        })
    }

    /// Where the client is to be served.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        self.worker.runtime()
    }
}

/// The held clients of a door, to be counted.
#[derive(Clone, Debug)]
pub struct Held(pub Arc<Door>);

impl AsRef<AtomicU32> for Held {
    fn as_ref(&self) -> &AtomicU32 {
        &self.0.count.held
    }
}

/// The clients a door refuses, to be counted.
#[derive(Clone, Debug)]
pub struct Refused(pub Arc<Door>);

impl AsRef<AtomicU32> for Refused {
    fn as_ref(&self) -> &AtomicU32 {
        &self.0.count.refusing
    }
}

/// The sessions of a seat, to be counted.
#[derive(Clone, Debug)]
pub struct SeatTaken(pub Arc<Seat>);

impl AsRef<AtomicU32> for SeatTaken {
    fn as_ref(&self) -> &AtomicU32 {
        &self.0.sessions
    }
}
