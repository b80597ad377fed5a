//! Moving a session's bytes, both ways, until one side ends.
//!
//! One session is one task and one poll of it one *turn*: each direction makes steps until it has to wait. A step
//! ([`direction`]) reads what is there and writes it at once, by copying through the thread's buffer or, once a
//! direction has become a stream ([`pace`]), by splicing through a borrowed pipe ([`pipes`]). Whatever way is taken, a
//! session can be stopped between two steps and taken apart ([`parts`]).
//!
//! This file knows both sides and the order in which they learn of each other's end. It does not know how bytes are
//! moved, nor why a session is one.

mod direction;
mod pace;
pub mod parts;
pub mod pipes;
pub mod silence;

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::SockRef;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::session::ending::Ending;
use crate::socket;
use crate::stream::Stream;
use crate::traffic::Traffic;
use direction::{Direction, Side, Step};
use silence::Silence;

/// How long what a server had sent may take to reach a client whose session was killed.
const LAST_BYTES: Duration = Duration::from_millis(100);
/// How long the rest of such a session waits once its client was told: thousands end together, and telling a client
/// is a third of the work.
const OTHERS_FIRST: Duration = Duration::from_millis(100);
/// How many bytes a direction may move before the thread's other sessions have their turn: about a third of a
/// millisecond.
const TURN: usize = 1024 * 1024;

/// A session's two sockets and what is on its way between them.
#[derive(Debug)]
pub struct Pump {
    client: Stream,
    server: Stream,
    up: Direction,
    down: Direction,
    traffic: Arc<Traffic>,
    /// How the side that ended first did so.
    first: Option<First>,
    /// Whether a write has shown that the client is gone.
    is_client_gone: bool,
    /// Whether anything was moved since that was last asked.
    has_moved: bool,
    /// Whether the client took everything that was delivered at the end.
    took_all: bool,
}

/// How the side that ended first did so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum First {
    ClientClosed,
    ClientBroke,
    ServerClosed,
    ServerBroke,
}

/// The two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// Why a direction made no more steps in this turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It waits for a socket, and will be woken.
    Waits,
    /// It could go on, and must not.
    Spent,
    /// It is over; the other one goes on.
    Over,
    /// Its sender's connection broke: nothing is left to be done.
    Broke,
}

impl Pump {
    /// Nothing is on its way yet. What is moved is counted in `traffic`.
    #[must_use]
    pub fn new(client: Stream, server: Stream, traffic: Arc<Traffic>) -> Self {
        let (up, down) = (Direction::default(), Direction::default());
        Self {
            client,
            server,
            up,
            down,
            traffic,
            first: None,
            is_client_gone: false,
            has_moved: false,
            took_all: true,
        }
    }

    /// Pumps until both sides have ended, one breaks, or nothing was moved for as long as `idle` says. Cancel safe:
    /// what was read and not yet written is kept, and a later call goes on with it. `server_ended` is called once if
    /// it is the server that ends first, before the client is told.
    pub async fn run(&mut self, idle: Option<Duration>, server_ended: impl Fn()) -> Ending {
        let mut silence = Silence::new(idle);
        poll_fn(|cx| self.poll(cx, &mut silence, &server_ended)).await
    }

    /// The same for whoever has more to wait for. The same `silence` every time.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        silence: &mut Silence,
        server_ended: &impl Fn(),
    ) -> Poll<Ending> {
        if let Poll::Ready(ending) = self.poll_turn(cx, server_ended) {
            return Poll::Ready(ending);
        }
        let has_moved = std::mem::take(&mut self.has_moved);
        let too_long = silence.poll_too_long(cx, has_moved, self.first.is_some());
        too_long.map(|()| Ending::Idle)
    }

    /// One turn: what can be moved now, within bounds. Ready when the session is over.
    pub fn poll_turn(&mut self, cx: &mut Context<'_>, server_ended: &impl Fn()) -> Poll<Ending> {
        let mut is_server_full = false;
        for way in [Way::Up, Way::Down] {
            match self.drive(way, cx, server_ended) {
                Stop::Waits => is_server_full |= way == Way::Up && !self.up.is_empty(),
                Stop::Over => {}
                Stop::Spent => come_back(cx),
                Stop::Broke => return self.ending(),
            }
        }
        // A server that is full may be so because it waits for the client to read. That will never be.
        if self.is_client_gone && is_server_full {
            return self.ending();
        }
        if self.up.is_over() && self.down.is_over() {
            return self.ending();
        }
        Poll::Pending
    }

    /// Makes steps in one direction until it has to wait.
    fn drive(&mut self, way: Way, cx: &mut Context<'_>, server_ended: &impl Fn()) -> Stop {
        let mut left = TURN;
        loop {
            let (direction, from, to) = match way {
                Way::Up => (&mut self.up, &self.client, &self.server),
                Way::Down => (&mut self.down, &self.server, &self.client),
            };
            if direction.is_over() {
                return Stop::Over;
            }
            match direction.poll_step(cx, from, to) {
                Poll::Pending => return Stop::Waits,
                // Not now after all, and now that is known: the next step waits.
                Poll::Ready(Ok(Step::Nothing)) => {}
                Poll::Ready(Ok(Step::Moved(bytes))) => {
                    self.moved(way, bytes);
                    left = left.saturating_sub(bytes);
                    if left == 0 {
                        return Stop::Spent;
                    }
                }
                Poll::Ready(Ok(Step::End)) => {
                    self.ended(way.sender_closed(), server_ended);
                    self.tell_end(way);
                }
                Poll::Ready(Err(Side::From)) => {
                    self.ended(way.sender_broke(), server_ended);
                    return Stop::Broke;
                }
                // Whoever takes no more may still have said something before: its last words (PostgreSQL's reason
                // for hanging up, say) are read to their end.
                Poll::Ready(Err(Side::To)) => {
                    direction.abandon();
                    self.is_client_gone |= way == Way::Down;
                    self.ended(way.receiver_broke(), server_ended);
                }
            }
        }
    }

    fn moved(&mut self, way: Way, bytes: usize) {
        self.has_moved |= bytes > 0;
        match way {
            Way::Up => self.traffic.up(bytes as u64),
            Way::Down => self.traffic.down(bytes as u64),
        }
    }

    /// Notes how a side ended, if it is the first; the other one must not know yet.
    fn ended(&mut self, how: First, server_ended: &impl Fn()) {
        self.has_moved = true;
        if self.first.is_some() {
            return;
        }
        self.first = Some(how);
        match how {
            First::ServerClosed | First::ServerBroke => server_ended(),
            First::ClientClosed | First::ClientBroke => {}
        }
    }

    /// Tells the receiver that nothing more will come; it may still send. One that is gone already knows.
    fn tell_end(&self, way: Way) {
        let _ = match way {
            Way::Up => shutdown(&self.server),
            Way::Down => shutdown(&self.client),
        };
    }

    fn ending(&self) -> Poll<Ending> {
        self.first.map_or(Poll::Pending, |first| {
            Poll::Ready(match first {
                First::ClientClosed => Ending::ClientClosed,
                First::ClientBroke => Ending::ClientBroke,
                First::ServerClosed => Ending::ServerClosed,
                First::ServerBroke => Ending::ServerBroke,
            })
        })
    }

    /// The last of a killed session: nothing more from the client; what the server had already sent is delivered,
    /// for a tenth of a second.
    pub async fn deliver(&mut self) {
        let deliver = poll_fn(|cx| self.poll_deliver(cx));
        let in_time = timeout(LAST_BYTES, deliver).await.is_ok();
        self.took_all = in_time && self.down.is_empty();
    }

    /// Ready when nothing is left to be delivered, or the client takes no more.
    fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut left = TURN;
        while left > 0 {
            match self.down.poll_last_step(cx, &self.server, &self.client) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Step::Moved(bytes))) => {
                    self.moved(Way::Down, bytes);
                    left = left.saturating_sub(bytes);
                }
                Poll::Ready(Ok(Step::Nothing | Step::End) | Err(_)) => return Poll::Ready(()),
            }
        }
        // Where neither side ever waits, the deadline is to be looked at all the same.
        come_back(cx);
        Poll::Pending
    }

    /// The client sees the end: in order, or by reset if it did not take what was delivered.
    pub fn close(self) -> Remains {
        let client = if self.took_all {
            // A client that is gone already need not be told.
            let _ = shutdown(&self.client);
            Some(self.client)
        } else {
            socket::reset_on_close(&self.client);
            None
        };
        Remains {
            _client: client,
            _server: self.server,
        }
    }
}

impl Way {
    const fn sender_closed(self) -> First {
        match self {
            Self::Up => First::ClientClosed,
            Self::Down => First::ServerClosed,
        }
    }

    const fn sender_broke(self) -> First {
        match self {
            Self::Up => First::ClientBroke,
            Self::Down => First::ServerBroke,
        }
    }

    const fn receiver_broke(self) -> First {
        match self {
            Self::Up => First::ServerBroke,
            Self::Down => First::ClientBroke,
        }
    }
}

/// What is left of a session whose client was told that it is over.
#[derive(Debug)]
#[must_use]
pub struct Remains {
    _client: Option<Stream>,
    _server: Stream,
}

impl Remains {
    /// Clears it away, in a while.
    pub async fn clear_away(self) {
        sleep(OTHERS_FIRST).await;
    }
}

/// Has the task polled again when the thread's other tasks and the kernel's news have had their turn. (Waking it
/// here would put it before the news.)
fn come_back(cx: &mut Context<'_>) {
    // The runtime has noted it when this was polled; the future need not be kept for it.
    let _ = pin!(yield_now()).poll(cx);
}

fn shutdown(stream: &Stream) -> io::Result<()> {
    SockRef::from(stream).shutdown(Shutdown::Write)
}
