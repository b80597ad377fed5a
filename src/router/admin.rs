//! The stats port: the page for people, JSON and metrics for programs, all from the snapshot sessions route by.
//!
//! This file is the server: it takes connections and bounds them. What is answered stands in [`answers`], what
//! there is to tell in [`stats`], how it looks in [`page`]. Nothing here decides, and nothing here can be slowed
//! down by whoever connects: every connection carries one request, has a deadline, and gives its place to a
//! newcomer when there are too many.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use trunkline_core::Moment;
use trunkline_io::clock;
use trunkline_io::metrics::Recorder;
use trunkline_io::shutdown::Tasks;

use crate::control::Running;
use crate::door::{Count, Door};
use crate::doorstep::{Doorstep, is_of_one_client};
use crate::metrics::Gauges;
use crate::stream::Stream;

mod answers;
mod page;
mod ready;
pub mod stats;

/// How many connections there may be at once; one more takes the place of the oldest.
const CONNECTIONS: usize = 64;
/// How long a client may take to say what it wants.
const REQUEST: Duration = Duration::from_secs(5);
/// How long a connection may take from its first byte to its last.
const CONNECTION: Duration = Duration::from_secs(15);
/// How large a request's line and headers may be, in bytes.
const HEAD: usize = 16 * 1024;
/// How many headers a request may have.
const HEADERS: usize = 64;
/// How long to rest when the process is out of descriptors.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(20);
/// How many descriptors the stats port keeps for itself.
const SPARES: usize = 8;

/// What the stats port shows.
#[derive(Debug)]
pub struct Admin {
    shown: Arc<ArcSwap<Shown>>,
    recorder: Recorder,
    tasks: Tasks,
    began: Moment,
    gauges: Gauges,
    spares: Spares,
}

/// What there is to show at present: it changes with the configuration.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The clusters that are followed.
    pub clusters: Vec<Running>,
    /// Their listeners, also those that take no more clients.
    pub doors: Vec<Arc<Door>>,
    /// What each listener counts, by cluster and name. Those that were taken out are among them: what was counted
    /// since the start does not become less.
    pub counts: BTreeMap<(String, String), Arc<Count>>,
    /// What became of the configuration.
    pub configuration: Configuration,
}

/// What became of the configuration since the start.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The file's name, or what it was given by.
    pub file: String,
    /// Since when the one in force is.
    pub loaded: Moment,
    /// How often another one was applied.
    pub reloads: u64,
    /// How often one was refused.
    pub refusals: u64,
    /// When the last one was refused, and why; `None` if it was not.
    pub refused: Option<(Moment, String)>,
}

impl Configuration {
    /// Before there is one.
    #[must_use]
    pub const fn none(now: Moment) -> Self {
        Self {
            file: String::new(),
            loaded: now,
            reloads: 0,
            refusals: 0,
            refused: None,
        }
    }
}

impl Admin {
    /// Everything there is to show. The program's uptime counts from here.
    #[must_use]
    pub fn new(shown: Arc<ArcSwap<Shown>>, recorder: Recorder, tasks: Tasks) -> Self {
        Self {
            shown,
            recorder,
            tasks,
            began: clock::now(),
            gauges: Gauges::default(),
            spares: Spares::taken(),
        }
    }

    /// What there is to show now.
    fn shown(&self) -> Arc<Shown> {
        self.shown.load_full()
    }
}

/// Serves until it is told to stop, or the program ends. It goes on while the program drains: that is when people look.
pub async fn serve(listener: Arc<Doorstep>, admin: Arc<Admin>, stop: CancellationToken) {
    let mut places = Places::default();
    let ending = admin.tasks.ending().clone();
    let Some(watched) = stop.run_until_cancelled(listener.watch()).await else {
        return;
    };
    let mut clients = Vec::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = ending.cancelled() => return,
            () = stop.cancelled() => return,
            accepted = watched.accept(&mut clients, 1) => accepted,
        };
        let accepted = accepted.and_then(|()| {
            clients
                .drain(..)
                .map(|client| client.socket.stream())
                .next()
                .transpose()
        });
        match accepted {
            Ok(None) => {}
            Ok(Some(client)) => {
                let place = places.take(&ending);
                let served = connection(client, place, Arc::clone(&admin));
                let refilled = Arc::clone(&admin);
                admin.tasks.spawn("stats connection", async move {
                    served.await;
                    refilled.spares.refill();
                });
            }
            Err(error) => survive(&error, &admin.spares, &ending).await,
        }
    }
}

/// Serves one connection, as long as its place is its own.
async fn connection(client: Stream, place: CancellationToken, admin: Arc<Admin>) {
    // Whatever way this ends, the place is free afterwards.
    let free = place.clone().drop_guard();
    let service = service_fn(move |request| {
        let answer = answers::to(&request, &admin);
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    let exchange = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(HEAD)
        .max_headers(HEADERS)
        // A connection that stays would keep a place from somebody who asks.
        .keep_alive(false)
        .serve_connection(TokioIo::new(client), service);
    // Clients that leave, stall or speak no HTTP are their own affair.
    let _ = place
        .run_until_cancelled(timeout(CONNECTION, exchange))
        .await;
    drop(free);
}

/// The places of the connections there are, the oldest first. A token that is cancelled is a place that is free.
#[derive(Default)]
struct Places(VecDeque<CancellationToken>);

impl Places {
    /// A place, at the cost of the oldest connection if none is free: many silent clients keep nobody out.
    fn take(&mut self, ending: &CancellationToken) -> CancellationToken {
        self.0.retain(|place| !place.is_cancelled());
        if self.0.len() >= CONNECTIONS
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.cancel();
        }
        let place = ending.child_token();
        self.0.push_back(place.clone());
        place
    }
}

/// Descriptors kept for the day when there are none: given up one by one, so that somebody can still look.
#[derive(Debug, Default)]
struct Spares(Mutex<Vec<File>>);

impl Spares {
    /// As many as can be had.
    fn taken() -> Self {
        let spares = Self::default();
        spares.refill();
        spares
    }

    fn refill(&self) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.len() < SPARES {
            match File::open("/dev/null") {
                Ok(file) => kept.push(file),
                Err(_) => return,
            }
        }
    }

    /// Gives one up; false if there is none.
    fn give_up(&self) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.pop().is_some()
    }
}

/// Errors of one connection are that connection's; being out of descriptors passes.
async fn survive(error: &io::Error, spares: &Spares, ending: &CancellationToken) {
    // The listeners tell of a shortage. A spare that is given up is for the connection that waits.
    if !is_of_one_client(error) && !spares.give_up() {
        tracing::debug!("accepting on the stats port failed: {error}");
        let _ = ending.run_until_cancelled(sleep(OUT_OF_DESCRIPTORS)).await;
    }
}

#[cfg(test)]
mod tests;
