//! Where the cycle tells and the API reads.

use std::sync::Arc;

use tokio::sync::watch;
use trunkline_core::rest::Told;

use crate::dcs::Seen;

/// The last thing the cycle told. Cheap to clone: all clones are the same board.
#[derive(Clone, Debug)]
pub struct Board {
    told: watch::Sender<Arc<Told>>,
    views: Option<watch::Receiver<Arc<Seen>>>,
}

impl Board {
    /// A board on which something stands.
    #[must_use]
    pub fn new(told: Told) -> Self {
        Self {
            told: watch::Sender::new(Arc::new(told)),
            views: None,
        }
    }

    /// The same board, with what etcd says now beside it: not every change there wakes the cycle.
    #[must_use]
    pub fn beside(self, views: watch::Receiver<Arc<Seen>>) -> Self {
        Self {
            views: Some(views),
            ..self
        }
    }

    /// Replaces what stands there.
    pub fn tell(&self, told: Told) {
        self.told.send_replace(Arc::new(told));
    }

    /// What stands there.
    #[must_use]
    pub fn told(&self) -> Arc<Told> {
        Arc::clone(&self.told.borrow())
    }

    /// The same with what etcd says now, for whoever only shows it.
    #[must_use]
    pub fn latest(&self) -> Told {
        let told = Told::clone(&self.told());
        match &self.views {
            Some(views) => Told {
                view: views.borrow().view.clone(),
                ..told
            },
            None => told,
        }
    }

    /// To be woken when something else stands there.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Told>> {
        self.told.subscribe()
    }
}
