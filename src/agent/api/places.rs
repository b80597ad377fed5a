//! How many connections there may be, and who has to go when there are too many.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How many connections there may be at once.
const CONNECTIONS: usize = 128;

/// The connections there are, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: VecDeque<Taken>,
    freed: Arc<Notify>,
}

#[derive(Debug)]
struct Taken {
    gone: CancellationToken,
    works: Arc<AtomicBool>,
}

/// One connection's place, for as long as this lives.
#[derive(Debug)]
pub(super) struct Place {
    gone: CancellationToken,
    works: Arc<AtomicBool>,
    freed: Arc<Notify>,
    _free: DropGuard,
}

impl Places {
    /// A place. If none is free the oldest connection that only waits for its client makes room for this one, so
    /// that many silent clients keep nobody out; if all are being answered, the first that is done does.
    pub(super) async fn take(&mut self) -> Place {
        loop {
            self.taken.retain(|taken| !taken.gone.is_cancelled());
            if self.taken.len() < CONNECTIONS {
                return self.add();
            }
            let idle = |taken: &Taken| !taken.works.load(Ordering::Relaxed);
            match self.taken.iter().position(idle) {
                Some(oldest) => {
                    if let Some(taken) = self.taken.remove(oldest) {
                        taken.gone.cancel();
                    }
                }
                None => self.freed.notified().await,
            }
        }
    }

    fn add(&mut self) -> Place {
        let gone = CancellationToken::new();
        let works = Arc::new(AtomicBool::new(false));
        self.taken.push_back(Taken {
            gone: gone.clone(),
            works: Arc::clone(&works),
        });
        Place {
            _free: gone.clone().drop_guard(),
            gone,
            works,
            freed: Arc::clone(&self.freed),
        }
    }
}

impl Place {
    /// Fires when the connection has to make room.
    pub(super) const fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// Says whether the request is being answered, or the client waited for.
    pub(super) fn works(&self, works: bool) {
        self.works.store(works, Ordering::Relaxed);
        if !works {
            self.freed.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gone.cancel();
        self.freed.notify_one();
    }
}
