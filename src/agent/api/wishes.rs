//! What requests ask the cycle for: recorded here, and the cycle woken. Nothing queues up: of each kind the last
//! one counts.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use trunkline_core::rest::failsafe::Ping;

/// How many switchovers may be waited for at once: each holds a connection for up to half a minute.
const HANDOVERS: usize = 8;

/// Wishes the cycle has not taken yet. Cheap to clone: all clones are the same.
#[derive(Clone, Debug)]
pub struct Wishes {
    wanted: Arc<Mutex<Wanted>>,
    woken: Arc<Notify>,
    handovers: Arc<Semaphore>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            wanted: Arc::default(),
            woken: Arc::default(),
            handovers: Arc::new(Semaphore::new(HANDOVERS)),
        }
    }
}

/// What is wished for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// A leader without etcd pinged: the last ping.
    pub ping: Option<Ping>,
    /// The configuration is to be read again, as by SIGHUP.
    pub reload: bool,
}

impl Wishes {
    /// Takes what is wished for.
    #[must_use]
    pub fn take(&self) -> Wanted {
        mem::take(&mut self.wanted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns when the cycle ought to look again. Cancel safe; wakings while nobody waits count as one.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Wakes the cycle, with no wish.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// A turn to wait for a switchover; `None` if too many do.
    pub(super) fn handover(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.handovers).try_acquire_owned().ok()
    }

    /// Records a ping.
    pub fn ping(&self, ping: Ping) {
        self.wish(|wanted| wanted.ping = Some(ping));
    }

    /// Records that the configuration is to be read again.
    pub fn reload(&self) {
        self.wish(|wanted| wanted.reload = true);
    }

    fn wish(&self, change: impl FnOnce(&mut Wanted)) {
        change(&mut self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake();
    }
}
