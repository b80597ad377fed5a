//! The threads that sessions run on: one a processor, each with a runtime of its own.
//!
//! A session lives and dies on the worker it was given: both its sockets are in that worker's epoll, what wakes it is
//! queued there, and no other thread ever looks at it. Beside sessions a worker runs what brings them and what turns
//! clients away: the accept loops of listeners, and refusals. Everything else (etcd, members, decisions, the stats page,
//! signals) runs elsewhere, so that a flood of bytes cannot delay a decision by more than the scheduler of the kernel lets
//! it.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use trunkline_io::processors;

/// All workers.
#[derive(Debug)]
pub struct Workers {
    first: Arc<Worker>,
    others: Vec<Arc<Worker>>,
    threads: Mutex<Vec<Thread>>,
    turn: AtomicUsize,
    stop: CancellationToken,
    /// Should nobody end them, they end with this.
    _guard: DropGuard,
}

/// One worker, as whoever hands it a session sees it.
#[derive(Debug)]
pub struct Worker {
    number: usize,
    /// Where its sessions are spawned.
    pub runtime: Handle,
    /// Sessions it has now.
    sessions: AtomicU32,
}

#[derive(Debug)]
struct Thread {
    handle: JoinHandle<()>,
    /// Hears of the thread's end.
    ended: oneshot::Receiver<()>,
}

impl Workers {
    /// Starts `wanted` workers; one a processor if that is not said.
    ///
    /// They are kept to one processor each where there are as many as this process may use: the pages a session
    /// touches stay in one cache, and its wake-ups where its bytes are. Where the numbers differ the kernel
    /// knows better.
    ///
    /// # Errors
    /// When the system has no thread or no epoll for one.
    pub fn start(wanted: Option<u32>) -> io::Result<Self> {
        let count = wanted.map_or_else(processors::count, |wanted| wanted as usize);
        let allowed = processors::allowed();
        let is_one_each = allowed.len() == count;
        let stop = CancellationToken::new();
        // Whatever way this ends, none is left behind.
        let guard = stop.clone().drop_guard();
        let start = |number: usize| {
            let processor = allowed.get(number).copied().filter(|_| is_one_each);
            Worker::start(number, processor, stop.clone())
        };
        let (first, thread) = start(0)?;
        let (mut others, mut threads) = (Vec::new(), vec![thread]);
        for number in 1..count {
            let (worker, thread) = start(number)?;
            others.push(worker);
            threads.push(thread);
        }
        tracing::info!(
            workers = count,
            pinned = is_one_each,
            "threads for sessions are there"
        );
        Ok(Self {
            first,
            others,
            threads: Mutex::new(threads),
            turn: AtomicUsize::new(0),
            stop,
            _guard: guard,
        })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(1 + self.others.len()).unwrap_or(u32::MAX)
    }

    /// The number of the worker whose turn it is: for what is to be spread once, like listeners.
    pub fn in_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// The worker of that number, counted round.
    #[must_use]
    pub fn nth(&self, number: usize) -> &Arc<Worker> {
        let place = number % (1 + self.others.len());
        let other = place
            .checked_sub(1)
            .and_then(|place| self.others.get(place));
        other.unwrap_or(&self.first)
    }

    /// A place for one more session: on the worker with the fewest, on that of number `near` if none has fewer. To hand
    /// a session over costs a wake-up, which a short one must not pay without need.
    pub fn place(&self, near: usize) -> OnWorker {
        let mut emptiest = self.nth(near);
        let mut fewest = emptiest.sessions.load(Ordering::Relaxed);
        for step in 1..=self.others.len() {
            let other = self.nth(near.wrapping_add(step));
            let sessions = other.sessions.load(Ordering::Relaxed);
            if sessions < fewest {
                (emptiest, fewest) = (other, sessions);
            }
        }
        emptiest.sessions.fetch_add(1, Ordering::Relaxed);
        OnWorker(Arc::clone(emptiest))
    }

    /// Ends them, and waits for that no longer than `grace`. Says whether all have ended. What still runs on them is
    /// dropped.
    pub async fn end(&self, grace: Duration) -> bool {
        self.stop.cancel();
        let threads = {
            let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *threads)
        };
        let all = async {
            for Thread { handle, ended } in threads {
                // It sends nothing: that the sender is gone is the news.
                let _ = ended.await;
                // A thread that panicked has told so itself.
                let _ = handle.join();
            }
        };
        timeout(grace, all).await.is_ok()
    }
}

impl Worker {
    fn start(
        number: usize,
        processor: Option<usize>,
        stop: CancellationToken,
    ) -> io::Result<(Arc<Self>, Thread)> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let worker = Self {
            number,
            runtime: runtime.handle().clone(),
            sessions: AtomicU32::new(0),
        };
        let (ends, ended) = oneshot::channel();
        let work = move || {
            if let Some(processor) = processor
                && let Err(error) = processors::keep_to(processor)
            {
                tracing::warn!(processor, "a worker is not kept to its processor: {error}");
            }
            runtime.block_on(stop.cancelled());
            // What did not end in time is dropped here, with its sockets.
            runtime.shutdown_background();
            drop(ends);
        };
        let handle = Builder::new()
            .name(format!("worker-{number}"))
            .spawn(work)?;
        Ok((Arc::new(worker), Thread { handle, ended }))
    }
}

/// One session's place on a worker, for as long as this lives.
#[derive(Debug)]
#[must_use]
pub struct OnWorker(Arc<Worker>);

impl OnWorker {
    /// The worker's number.
    #[must_use]
    pub fn number(&self) -> usize {
        self.0.number
    }

    /// Where to spawn it.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.0.runtime
    }
}

impl Drop for OnWorker {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}
