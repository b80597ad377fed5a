//! Where the cycle tells and the API reads.

use std::sync::Arc;

use tokio::sync::watch;
use trunkline_core::rest::Told;

/// The last thing the cycle told. Cheap to clone: all clones are the same board.
#[derive(Clone, Debug)]
pub struct Board(watch::Sender<Arc<Told>>);

impl Board {
    /// A board on which something stands.
    #[must_use]
    pub fn new(told: Told) -> Self {
        Self(watch::Sender::new(Arc::new(told)))
    }

    /// Replaces what stands there.
    pub fn tell(&self, told: Told) {
        self.0.send_replace(Arc::new(told));
    }

    /// What stands there.
    #[must_use]
    pub fn told(&self) -> Arc<Told> {
        Arc::clone(&self.0.borrow())
    }

    /// To be woken when something else stands there.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Told>> {
        self.0.subscribe()
    }
}
