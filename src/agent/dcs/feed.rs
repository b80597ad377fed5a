//! etcd → view: has core's `follow` driven, shows what the answers and the agent's own writes add up to, and wakes
//! the cycle when somebody else changed something it should look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use trunkline_core::cluster::ClusterView;
use trunkline_core::follow::{Change, EndpointId, Follow, Header, Trouble};
use trunkline_core::keys::Prefix;
use trunkline_core::wire::Invalid;
use trunkline_core::wire::config::DynamicConfig;
use trunkline_core::{MemberName, Observed};
use trunkline_io::clock;
use trunkline_io::etcd::{Access, Drive};
use trunkline_io::shutdown::Tasks;

/// How many words of the cycle's may wait to be taken in.
const ORDERS: usize = 16;
/// How many keys that make no sense are named at once.
const NAMED: usize = 20;

/// What is believed from etcd now.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The cluster.
    pub view: Observed<ClusterView, Trouble>,
    /// The endpoint asked now.
    pub endpoint: EndpointId,
    /// The newest that was seen of the store.
    pub store: Option<Header>,
}

/// What a feed is told by whoever writes. Each returns once the view shows it.
#[derive(Clone, Debug)]
pub(super) struct Orders(mpsc::Sender<(Order, oneshot::Sender<()>)>);

#[derive(Debug)]
enum Order {
    Wrote(Change),
    Refused,
    Distrust(EndpointId, Trouble),
    Moved(Vec<Access>),
}

/// Starts to follow `prefix`.
///
/// # Errors
/// When the system has no timer to give.
pub(super) fn start(
    prefix: Prefix,
    me: MemberName,
    config: DynamicConfig,
    endpoints: Vec<Access>,
    wake: Arc<Notify>,
    tasks: &Tasks,
) -> std::io::Result<(watch::Receiver<Arc<Seen>>, Orders)> {
    let now = clock::now();
    let known = ClusterView {
        config,
        ..ClusterView::default()
    };
    let follow = Follow::new(prefix.clone(), endpoints.len(), now)
        .without_proof()
        .remembering(known, now);
    let drive = Drive::new(prefix, follow, endpoints)?;
    let (orders_in, orders) = mpsc::channel(ORDERS);
    let (shown, seen) = watch::channel(Arc::new(see(&drive)));
    let work = Worker {
        drive,
        me,
        shown,
        wake,
        senseless: BTreeMap::new(),
    }
    .run(orders);
    let end = tasks.ending().clone();
    tasks.spawn("dcs feed", async move {
        let _ = end.run_until_cancelled(work).await;
    });
    Ok((seen, Orders(orders_in)))
}

impl Orders {
    /// A change that this agent made itself.
    pub(super) async fn wrote(&self, change: Change) {
        self.give(Order::Wrote(change)).await;
    }

    /// A write was refused: everything is to be listed again.
    pub(super) async fn refused(&self) {
        self.give(Order::Refused).await;
    }

    /// A question to this endpoint failed.
    pub(super) async fn distrust(&self, endpoint: EndpointId, trouble: Trouble) {
        self.give(Order::Distrust(endpoint, trouble)).await;
    }

    /// The endpoints are others from now on.
    pub(super) async fn moved(&self, endpoints: Vec<Access>) {
        self.give(Order::Moved(endpoints)).await;
    }

    /// Nobody takes it in once everything ends; then nobody misses it either.
    async fn give(&self, order: Order) {
        let (done, taken) = oneshot::channel();
        if self.0.send((order, done)).await.is_ok() {
            let _ = taken.await;
        }
    }
}

struct Worker {
    drive: Drive,
    me: MemberName,
    shown: watch::Sender<Arc<Seen>>,
    wake: Arc<Notify>,
    /// Keys whose values make no sense, as it was said of them.
    senseless: BTreeMap<String, Invalid>,
}

impl Worker {
    async fn run(mut self, mut orders: mpsc::Receiver<(Order, oneshot::Sender<()>)>) {
        loop {
            let order = tokio::select! {
                () = self.drive.step() => None,
                Some(order) = orders.recv() => Some(order),
            };
            let Some((order, done)) = order else {
                self.show_and_wake();
                continue;
            };
            self.take(order);
            self.shown.send_replace(Arc::new(see(&self.drive)));
            // Who gave the order may have been told to end meanwhile.
            let _ = done.send(());
        }
    }

    fn take(&mut self, order: Order) {
        let now = clock::now();
        match order {
            Order::Wrote(change) => self.drive.follow_mut().wrote(change),
            Order::Refused => self.drive.follow_mut().refused(now),
            Order::Distrust(endpoint, trouble) => {
                self.drive.follow_mut().distrust(endpoint, trouble, now);
                self.drive.tell();
            }
            Order::Moved(endpoints) => self.drive.move_to(&endpoints),
        }
    }

    fn show_and_wake(&mut self) {
        let seen = Arc::new(see(&self.drive));
        self.name_what_makes_no_sense(&seen);
        let before = self.shown.send_replace(Arc::clone(&seen));
        let (before, now) = (&before.view, &seen.view);
        let news = match (before.value(), now.value()) {
            (Some(before), Some(now)) => now.concerns(&self.me, before),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        // That etcd answers again is worth a look, too: much waits for it.
        if news || (before.fresh().is_none() && now.fresh().is_some()) {
            self.wake.notify_one();
        }
    }
}

impl Worker {
    /// Says of each key once that its value makes no sense, and once more when it makes none in another way.
    fn name_what_makes_no_sense(&mut self, seen: &Seen) {
        let Some((view, _)) = seen.view.fresh() else {
            return;
        };
        let before = std::mem::take(&mut self.senseless);
        self.senseless.extend(view.invalid.iter().cloned());
        let news = self.senseless.iter();
        let mut news = news.filter(|(key, cause)| before.get(*key) != Some(cause));
        for (key, cause) in news.by_ref().take(NAMED) {
            let (key, cause) = (short(key), short(&cause.to_string()));
            // Whoever wrote the key may have put anything into its name.
            tracing::warn!("etcd: {key:?} makes no sense and counts as not written: {cause}");
        }
        let more = news.count();
        if more > 0 {
            tracing::warn!("etcd: {more} more keys make no sense");
        }
    }
}

/// As much of it as a line of the log has room for.
fn short(text: &str) -> String {
    const ROOM: usize = 300;
    match text.char_indices().nth(ROOM) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

fn see(drive: &Drive) -> Seen {
    let follow = drive.follow();
    Seen {
        view: follow.view().clone(),
        endpoint: follow.endpoint(),
        store: follow.store(),
    }
}
