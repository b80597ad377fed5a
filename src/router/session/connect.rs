//! From a client to a server: pick, connect, pick another; wait where there is none.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use trunkline_core::route::pick::{Draw, Picked, pick};
use trunkline_core::route::{Because, Verdict};
use trunkline_core::{MemberName, Moment};
use trunkline_io::clock;

use super::ending::Ending;
use crate::door::{Counted, Door, Held, SeatTaken};
use crate::published::Seat;
use crate::socket::Unconnected;
use crate::stream::Stream;
use crate::{metrics, socket};

/// How long a member that failed a client is left alone by it.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// How long a client may wait for that even where nobody is held.
const DOUBT: Duration = Duration::from_secs(1);

/// A server, connected.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) stream: Stream,
    pub(super) seat: Arc<Seat>,
    pub(super) taken: Counted<SeatTaken>,
}

/// A client's way to a server. It lives as long as the opening does, so that the hold's bound is one for all tries.
pub(super) struct Search {
    door: Arc<Door>,
    decisions: watch::Receiver<u64>,
    looks: watch::Receiver<u64>,
    /// Since when the client has been waiting, once it is.
    began_to_wait: Option<Moment>,
    held: Option<Counted<Held>>,
    /// Who failed this client a moment ago, and until when they are left alone: a decision is no reason to try
    /// them again, since each failure brings one about.
    failed: Vec<MemberName>,
    rest_until: Moment,
    /// When the client met the doubt it waits out.
    doubt_met: Option<Moment>,
    /// Until when the client was held, once it was.
    pub(super) held_until: Option<Moment>,
    client: Option<std::net::IpAddr>,
}

impl Search {
    pub(super) fn new(door: &Arc<Door>, client: Option<std::net::IpAddr>) -> Self {
        Self {
            decisions: door.follow(),
            looks: door.board.follow_looks(),
            began_to_wait: None,
            door: Arc::clone(door),
            held: None,
            failed: Vec::new(),
            rest_until: Moment::BOOT,
            doubt_met: None,
            held_until: None,
            client,
        }
    }

    /// A server, or why there is none. Cancel safe: what it has noted so far is kept.
    pub(super) async fn run(&mut self) -> Result<Connected, Ending> {
        let time = self.door.config.hold.time;
        loop {
            // Marked as seen before it is read: a decision that comes in between wakes the wait below.
            self.decisions.borrow_and_update();
            self.looks.borrow_and_update();
            let attempt = self.attempt().await;
            if !matches!(attempt, Attempt::Doubted(_)) {
                self.doubt_met = None;
            }
            match attempt {
                Attempt::Connected(connected) => {
                    if self.held.take().is_some() {
                        self.held_until = Some(clock::now());
                    }
                    return Ok(connected);
                }
                Attempt::Refused(because) => return Err(Ending::NoTarget(because)),
                Attempt::NoTarget(because) => {
                    self.hold(Ending::NoTarget(because), time, None).await?;
                }
                Attempt::NotNow(because) => {
                    let ending = Ending::NoTarget(because);
                    self.hold(ending, time, Some(TRY_AGAIN)).await?;
                }
                Attempt::NothingLeft => {
                    self.hold(Ending::NothingLeft, time, Some(TRY_AGAIN))
                        .await?;
                }
                Attempt::Doubted(because) => {
                    let Some(left) = self.left(time.max(DOUBT))? else {
                        return Err(Ending::NoTarget(because));
                    };
                    // It is being asked: its answer makes a look, whatever that decides.
                    let _ = timeout(left, self.looks.changed()).await;
                }
                Attempt::Full => self.queue().await?,
            }
        }
    }

    /// The connection was no good, and the client does not know of it: another is needed, from the same hold.
    pub(super) fn lost(&mut self, seat: &Seat) {
        let now = clock::now();
        if now >= self.rest_until {
            self.failed.clear();
            self.rest_until = now.after(TRY_AGAIN);
        }
        self.failed.push(seat.target.member.clone());
        self.doubt_met = None;
        self.door.doubt(seat);
    }

    /// When this client's reason to doubt the target was there. Whoever waits one out waits for an answer to a question
    /// sent since then, not for one that is younger than every doubt of others: those may never end.
    fn doubted(&mut self, seat: &Seat) -> Moment {
        let doubted = seat.doubted();
        doubted.min(*self.doubt_met.get_or_insert_with(clock::now))
    }

    async fn attempt(&mut self) -> Attempt {
        if clock::now() >= self.rest_until {
            self.failed.clear();
        }
        let snapshot = self.door.snapshot();
        let Some(lane) = snapshot.lane(&self.door.config.name) else {
            return Attempt::NoTarget(Because::EmptyPool);
        };
        match &lane.pool.verdict {
            Verdict::Hold(because) => return Attempt::NoTarget(because.clone()),
            Verdict::Refuse(because) => return Attempt::Refused(because.clone()),
            Verdict::Route if clock::now() > lane.pool.valid_until => {
                return Attempt::NotNow(snapshot.table.primary.because());
            }
            Verdict::Route => {}
        }
        let now = clock::now();
        let mut nothing_left = lane.targets.iter().any(|seat| seat.rests(now));
        let is_left_alone = |seat: &Seat| self.failed.contains(&seat.target.member);
        let places = lane.targets.iter().enumerate();
        let mut tried: Vec<usize> = places
            .filter(|(_, seat)| is_left_alone(seat) || seat.rests(now))
            .map(|(place, _)| place)
            .collect();
        for _ in 0..=self.door.config.retries {
            let loads: Vec<u32> = lane
                .targets
                .iter()
                .map(|seat| seat.sessions.load(Ordering::Relaxed))
                .collect();
            let draw = Draw {
                loads: &loads,
                turn: self.door.count.turn.fetch_add(1, Ordering::Relaxed),
                chance: u64::from(clock::now().since_boot().subsec_nanos())
                    .wrapping_mul(2_654_435_761)
                    >> 7,
                client: self.client,
                tried: &tried,
            };
            let place = match pick(&self.door.config, &lane.pool.targets, draw) {
                Picked::Target(place) => place,
                Picked::Full => return Attempt::Full,
                Picked::Nobody => break,
            };
            let Some(seat) = lane.targets.get(place) else {
                break;
            };
            if lane.pool.waits_for_evidence(self.doubted(seat)) {
                return Attempt::Doubted(snapshot.table.primary.because());
            }
            match self.connect(seat).await {
                // Connecting takes time, and a router may be frozen meanwhile: what was proven then is looked up now.
                Tried::Connected(_) if !self.is_routed_to(seat) => {
                    return Attempt::NotNow(snapshot.table.primary.because());
                }
                Tried::Connected(connected) => return Attempt::Connected(connected),
                Tried::Failed => self.lost(seat),
                // There may be enough for another member: ports are counted for each.
                Tried::NothingLeft => {
                    seat.rest(clock::now().after(TRY_AGAIN));
                    nothing_left = true;
                }
            }
            tried.push(place);
        }
        if nothing_left {
            return Attempt::NothingLeft;
        }
        Attempt::NotNow(Because::EmptyPool)
    }

    /// Whether the newest decision routes to this very seat, and still holds.
    fn is_routed_to(&self, seat: &Arc<Seat>) -> bool {
        let snapshot = self.door.snapshot();
        snapshot.lane(&self.door.config.name).is_some_and(|lane| {
            lane.pool.verdict == Verdict::Route
                && clock::now() <= lane.pool.valid_until
                && lane.targets.iter().any(|target| Arc::ptr_eq(target, seat))
        })
    }

    async fn connect(&self, seat: &Arc<Seat>) -> Tried {
        let Some(taken) = Counted::below(SeatTaken(Arc::clone(seat)), u32::MAX) else {
            return Tried::Failed;
        };
        let began = clock::now();
        let connecting = timeout(
            self.door.config.connect_timeout,
            socket::connect(&seat.target.address, &self.door.config),
        );
        let outcome = tokio::select! {
            biased;
            () = seat.over().cancelled() => return Tried::Failed,
            outcome = connecting => outcome,
        };
        let (tried, because) = match outcome {
            Ok(Ok(stream)) => {
                metrics::connected(&self.door, clock::now().since(began));
                self.door.admission.connected();
                seat.total.fetch_add(1, Ordering::Relaxed);
                return Tried::Connected(Connected {
                    stream,
                    seat: Arc::clone(seat),
                    taken,
                });
            }
            Ok(Err(Unconnected::Lacking(what))) => {
                let (at, member) = (&self.door.config.name, &seat.target.member);
                self.door.admission.connect_failed(at, member, &what);
                (Tried::NothingLeft, what)
            }
            Ok(Err(Unconnected::Failed(error))) => (Tried::Failed, error.to_string()),
            Err(_) => {
                let within = self.door.config.connect_timeout;
                (Tried::Failed, format!("no connection within {within:?}"))
            }
        };
        metrics::connect_failed(&self.door);
        tracing::debug!(listener = self.door.config.name, member = %seat.target.member, address = %seat.target.address, "connecting failed: {because}");
        tried
    }

    /// Holds the client until there is another decision, or for `pause`; no longer than `longest` in all, which is its
    /// `ending`.
    async fn hold(
        &mut self,
        ending: Ending,
        longest: Duration,
        pause: Option<Duration>,
    ) -> Result<(), Ending> {
        let Some(left) = self.left(longest)? else {
            return Err(ending);
        };
        // Members that failed are tried again when their rest is over; a decision wakes at once.
        let rest = self.rest_until.since(clock::now());
        let pause = pause.map_or(left, |pause| if rest.is_zero() { pause } else { rest });
        let _ = timeout(left.min(pause), self.decisions.changed()).await;
        Ok(())
    }

    /// Waits for a place below `server_maxconn`.
    async fn queue(&mut self) -> Result<(), Ending> {
        let Some(left) = self.left(self.door.config.queue_timeout)? else {
            return Err(Ending::TooManySessions);
        };
        let _ = timeout(left.min(TRY_AGAIN), self.decisions.changed()).await;
        Ok(())
    }

    /// Counts the client as held; returns how long it may wait on, `None` when its time is over.
    fn left(&mut self, longest: Duration) -> Result<Option<Duration>, Ending> {
        if self.held.is_none() {
            let limit = self.door.config.hold.number;
            let held = Counted::below(Held(Arc::clone(&self.door)), limit);
            self.held = Some(held.ok_or(Ending::TooManyHeld)?);
            self.door.count.held_total.fetch_add(1, Ordering::Relaxed);
        }
        let now = clock::now();
        let began = *self.began_to_wait.get_or_insert(now);
        let left = began.after(longest).since(now);
        Ok((!left.is_zero()).then_some(left))
    }
}

/// What came of one connection.
enum Tried {
    Connected(Connected),
    /// The member did not take it, or its sessions were ended.
    Failed,
    /// This machine has nothing left to connect to it with.
    NothingLeft,
}

enum Attempt {
    Connected(Connected),
    /// There is no target; a decision will say when there is one.
    NoTarget(Because),
    /// There are targets, but none took the client.
    NotNow(Because),
    /// A session was ended by the only target, and it has not answered since.
    Doubted(Because),
    /// Every target has as many sessions as it may.
    Full,
    /// This machine has nothing left to connect to any target with.
    NothingLeft,
    /// There will be no target.
    Refused(Because),
}
