//! Moving a session's bytes, both ways, until one side ends.
//!
//! The interface is made for more than one way of moving them: a direction is read and written by readiness, owns
//! no buffer while it is idle, and can be stopped between two system calls.

mod copy;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::session::ending::Ending;
use crate::socket;
use crate::stream::Stream;
use crate::traffic::Traffic;
use copy::Direction;

/// How long what a server had sent may take to reach a client whose session was killed.
const LAST_BYTES: Duration = Duration::from_millis(100);
/// How long the rest of such a session waits once its client was told: thousands end together, and telling a client
/// is a third of the work.
const OTHERS_FIRST: Duration = Duration::from_millis(100);
/// How long a half that was closed may stay unanswered while the other half is silent.
const HALF_CLOSED: Duration = Duration::from_secs(15 * 60);

/// A session's two sockets and what is on its way between them.
#[derive(Debug)]
pub struct Pump {
    client: Stream,
    server: Stream,
    up: Direction,
    down: Direction,
    /// How the side that closed first did so.
    closed: Option<Ending>,
    traffic: Arc<Traffic>,
    /// Whether the client took everything that was delivered at the end.
    took_all: bool,
}

/// What one step came to.
enum Step {
    Moved,
    Closed(Ending),
    Broke(Ending),
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
            closed: None,
            traffic,
            took_all: true,
        }
    }

    /// Pumps until both sides have ended, or one breaks. Cancel safe: what was read and not yet written is kept,
    /// and a later call goes on with it. `server_ended` is called once if it is the server that ends first, before
    /// the client can have answered that.
    pub async fn run(&mut self, idle: Option<Duration>, server_ended: impl Fn()) -> Ending {
        loop {
            // A flow that never waits would keep its thread to itself.
            consume_budget().await;
            let (ending, is_over) = match self.step(idle).await {
                Step::Moved => continue,
                Step::Broke(ending) => (ending, true),
                Step::Closed(ending) => (ending, self.up.is_over() && self.down.is_over()),
            };
            let by_server = matches!(ending, Ending::ServerClosed | Ending::ServerBroke);
            if self.closed.is_none() && by_server {
                server_ended();
            }
            let first = self.closed.get_or_insert(ending);
            if is_over {
                return first.clone();
            }
        }
    }

    /// One move in either direction. A side that takes no more may still have said something before: its last
    /// words (PostgreSQL's reason for hanging up, say) are read to their end.
    async fn step(&mut self, idle: Option<Duration>) -> Step {
        let limit = if self.closed.is_some() {
            Some(idle.map_or(HALF_CLOSED, |idle| idle.min(HALF_CLOSED)))
        } else {
            idle
        };
        tokio::select! {
            moved = self.up.step(&self.client, &self.server), if !self.up.is_over() => match moved {
                Ok(moved) => {
                    self.traffic.up(moved);
                    closed_or_moved(&self.up, Ending::ClientClosed)
                }
                Err(Side::From) => Step::Broke(Ending::ClientBroke),
                Err(Side::To) => {
                    self.up.abandon();
                    Step::Closed(Ending::ServerBroke)
                }
            },
            moved = self.down.step(&self.server, &self.client), if !self.down.is_over() => match moved {
                Ok(moved) => {
                    self.traffic.down(moved);
                    closed_or_moved(&self.down, Ending::ServerClosed)
                }
                Err(Side::From) => Step::Broke(Ending::ServerBroke),
                Err(Side::To) => {
                    self.down.abandon();
                    Step::Closed(Ending::ClientBroke)
                }
            },
            () = silence(limit) => Step::Broke(Ending::Idle),
        }
    }

    /// The last of a killed session: nothing more from the client; what the server had already sent is delivered,
    /// for a tenth of a second.
    pub async fn deliver(&mut self) {
        let deliver = async {
            while let Ok(Some(moved)) = self.down.step_if_ready(&self.server, &self.client).await {
                self.traffic.down(moved);
                // Where neither side ever waits, the deadline is to be looked at all the same.
                consume_budget().await;
            }
        };
        let in_time = timeout(LAST_BYTES, deliver).await.is_ok();
        self.took_all = in_time && self.down.is_empty();
    }

    /// The client sees the end: in order, or by reset if it did not take what was delivered.
    pub fn close(self) -> Remains {
        let client = if self.took_all {
            // A client that is gone already need not be told.
            let _ = copy::shutdown(&self.client);
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

fn closed_or_moved(direction: &Direction, closed: Ending) -> Step {
    if direction.is_over() {
        Step::Closed(closed)
    } else {
        Step::Moved
    }
}

async fn silence(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep_until(Instant::now() + limit).await,
        None => std::future::pending().await,
    }
}

/// Which end of a direction broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    From,
    To,
}

/// Whether an error means "not now".
fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
