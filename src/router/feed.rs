//! etcd → view: has core's `follow` driven, and shows what the answers add up to.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use trunkline_core::Observed;
use trunkline_core::cluster::ClusterView;
use trunkline_core::follow::{Follow, Trouble};
use trunkline_core::keys::Prefix;
use trunkline_core::proof::Reading;
use trunkline_io::clock;
use trunkline_io::etcd::{Access, Drive};
use trunkline_io::shutdown::Tasks;

use crate::memory::Shelf;

/// What is believed from etcd now.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The cluster.
    pub view: Observed<ClusterView, Trouble>,
    /// The last proof read.
    pub reading: Observed<Reading, Trouble>,
    /// The endpoint asked now, as a URL.
    pub endpoint: String,
}

/// The reading end of a feed.
#[derive(Debug)]
pub struct Feed {
    /// What is believed; changes with every answer.
    pub seen: watch::Receiver<Arc<Seen>>,
    doubt: Arc<Notify>,
    endpoints: watch::Sender<Vec<Access>>,
}

impl Feed {
    /// Have the lock read again at once, from another endpoint.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Have these endpoints asked from now on, and no others. What is known stays known until they have answered.
    pub fn moved(&self, endpoints: Vec<Access>) {
        self.endpoints.send_replace(endpoints);
    }
}

/// Starts to follow `prefix` through the given endpoints; what was known of it is on `shelf`.
///
/// # Errors
/// When the system has no timer to give.
pub fn start(
    prefix: Prefix,
    endpoints: Vec<Access>,
    shelf: Option<Shelf>,
    tasks: &Tasks,
) -> std::io::Result<Feed> {
    let now = clock::now();
    let mut follow = Follow::new(prefix.clone(), endpoints.len(), now);
    if let Some(view) = shelf.as_ref().and_then(|shelf| shelf.recall(&prefix)) {
        follow = follow.remembering(view, now);
    }
    let (moved, moves) = watch::channel(Vec::new());
    let doubt = Arc::new(Notify::new());
    let drive = Drive::new(prefix, follow, endpoints)?;
    let worker = Worker { drive, shelf };
    let (shown, seen) = watch::channel(Arc::new(worker.seen()));
    let end = tasks.ending().clone();
    let orders = Orders {
        doubt: Arc::clone(&doubt),
        moves,
    };
    let work = worker.run(shown, orders);
    tasks.spawn("feed", async move {
        let _ = end.run_until_cancelled(work).await;
    });
    Ok(Feed {
        seen,
        doubt,
        endpoints: moved,
    })
}

/// What a feed is told from outside.
struct Orders {
    doubt: Arc<Notify>,
    moves: watch::Receiver<Vec<Access>>,
}

struct Worker {
    drive: Drive,
    shelf: Option<Shelf>,
}

impl Worker {
    async fn run(mut self, shown: watch::Sender<Arc<Seen>>, mut orders: Orders) {
        loop {
            tokio::select! {
                () = self.drive.step() => {}
                () = orders.doubt.notified() => self.drive.follow_mut().doubt(clock::now()),
                Ok(()) = orders.moves.changed() => {
                    self.drive.move_to(&orders.moves.borrow_and_update());
                }
            }
            shown.send_replace(Arc::new(self.seen()));
            if let Some(shelf) = &mut self.shelf {
                shelf.keep(self.drive.follow().memory(), clock::now()).await;
            }
        }
    }

    fn seen(&self) -> Seen {
        let follow = self.drive.follow();
        Seen {
            view: follow.view().clone(),
            reading: follow.reading().clone(),
            endpoint: self.drive.url(follow.endpoint()).to_owned(),
        }
    }
}
