//! etcd → view: carries out what core's `follow` wants asked, and shows what the answers add up to.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use trunkline_core::Observed;
use trunkline_core::cluster::ClusterView;
use trunkline_core::follow::{Ask, EndpointId, Follow, Notice, Outcome, Trouble};
use trunkline_core::keys::Prefix;
use trunkline_core::proof::Reading;
use trunkline_io::clock::{self, Alarm};
use trunkline_io::etcd::{Access, Endpoint};
use trunkline_io::shutdown::Tasks;

use crate::memory::Shelf;

/// How many answers may wait to be taken in.
const ANSWERS: usize = 64;

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
    let endpoints: Vec<Endpoint> = endpoints.into_iter().map(Endpoint::new).collect();
    let (moved, moves) = watch::channel(Vec::new());
    let (answers_in, answers) = mpsc::channel(ANSWERS);
    let doubt = Arc::new(Notify::new());
    let worker = Worker {
        prefix,
        follow,
        shelf,
        endpoints,
        answers_in,
    };
    let (shown, seen) = watch::channel(Arc::new(worker.seen()));
    let end = tasks.ending().clone();
    let orders = Orders {
        doubt: Arc::clone(&doubt),
        moves,
    };
    let work = worker.run(answers, shown, orders, Alarm::new()?);
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

/// An answer, with the client it came through: one that failed comes back unconnected.
struct Answer {
    ask: Ask,
    outcome: Outcome,
    client: Option<(EndpointId, Endpoint)>,
}

/// A question that has one answer.
enum Question {
    List,
    ReadLock,
}

/// What may be in flight once: a question, and the task that asks it.
#[derive(Default)]
struct Slot {
    ask: Option<Ask>,
    task: JoinSet<()>,
}

struct Worker {
    prefix: Prefix,
    follow: Follow,
    shelf: Option<Shelf>,
    endpoints: Vec<Endpoint>,
    answers_in: mpsc::Sender<Answer>,
}

impl Worker {
    async fn run(
        mut self,
        mut answers: mpsc::Receiver<Answer>,
        shown: watch::Sender<Arc<Seen>>,
        mut orders: Orders,
        alarm: Alarm,
    ) {
        let (mut list, mut watch, mut read) = (Slot::default(), Slot::default(), Slot::default());
        loop {
            let wants = self.follow.wants(clock::now());
            if let Some((ask, endpoint)) = list.wanted(wants.list, |(ask, _)| ask) {
                list.task.spawn(self.ask(ask, endpoint, Question::List));
            }
            if let Some((ask, endpoint)) = read.wanted(wants.read, |(ask, _)| ask) {
                read.task.spawn(self.ask(ask, endpoint, Question::ReadLock));
            }
            if let Some((ask, endpoint, from)) = watch.wanted(wants.watch, |(ask, ..)| ask) {
                watch.task.spawn(self.watch(ask, endpoint, from));
            }
            tokio::select! {
                Some(answer) = answers.recv() => self.take(answer),
                () = orders.doubt.notified() => self.follow.doubt(clock::now()),
                Ok(()) = orders.moves.changed() => {
                    // What is still under way is an old endpoint's: its answer must not be taken for a new one's.
                    (list, watch, read) = (Slot::default(), Slot::default(), Slot::default());
                    answers = self.move_to(&orders.moves.borrow_and_update());
                }
                rung = alarm.at(wants.wake) => if let Err(error) = rung {
                    tracing::error!(%error, "the timer of the etcd feed failed");
                },
            }
            shown.send_replace(Arc::new(self.seen()));
            if let Some(shelf) = &mut self.shelf {
                shelf.keep(self.follow.memory(), clock::now()).await;
            }
        }
    }

    fn move_to(&mut self, endpoints: &[Access]) -> mpsc::Receiver<Answer> {
        self.endpoints = endpoints.iter().cloned().map(Endpoint::new).collect();
        self.follow.moved(self.endpoints.len(), clock::now());
        let (answers_in, answers) = mpsc::channel(ANSWERS);
        self.answers_in = answers_in;
        answers
    }

    fn take(&mut self, answer: Answer) {
        if let Some((id, client)) = answer.client
            && let Some(kept) = self.endpoints.get_mut(id.0)
        {
            *kept = client;
        }
        let jitter = jitter();
        self.follow
            .take(answer.ask, answer.outcome, clock::now(), jitter);
        for notice in self.follow.notices() {
            match notice {
                Notice::Left(id, trouble) if id == self.follow.endpoint() => tracing::warn!(
                    endpoint = self.url(id),
                    "etcd's only endpoint cannot be used: {trouble}"
                ),
                Notice::Left(id, trouble) => tracing::warn!(
                    endpoint = self.url(id),
                    next = self.url(self.follow.endpoint()),
                    "left an etcd endpoint for the next: {trouble}"
                ),
                Notice::Rebuilt => tracing::error!(
                    "etcd's store is another one than before: rebuilt or restored? everything is read anew"
                ),
            }
        }
    }

    /// Asks a question that has one answer.
    fn ask(
        &self,
        ask: Ask,
        id: EndpointId,
        question: Question,
    ) -> impl Future<Output = ()> + use<> {
        let (prefix, answers) = (self.prefix.clone(), self.answers_in.clone());
        let client = self.client(id);
        async move {
            let Some(mut client) = client else { return };
            let outcome = match question {
                Question::List => client.list(&prefix).await,
                Question::ReadLock => client.read_lock(&prefix).await,
            };
            let client = Some((id, client));
            let _ = answers
                .send(Answer {
                    ask,
                    outcome,
                    client,
                })
                .await;
        }
    }

    fn watch(
        &self,
        ask: Ask,
        id: EndpointId,
        from: trunkline_core::Revision,
    ) -> impl Future<Output = ()> + use<> {
        let (prefix, answers, client) = (
            self.prefix.clone(),
            self.answers_in.clone(),
            self.client(id),
        );
        async move {
            let Some(mut client) = client else { return };
            let mut watch = match client.watch(&prefix, from).await {
                Ok(watch) => watch,
                Err(trouble) => {
                    let outcome = Outcome::Failed(trouble);
                    let _ = answers
                        .send(Answer {
                            ask,
                            outcome,
                            client: Some((id, client)),
                        })
                        .await;
                    return;
                }
            };
            loop {
                let outcome = watch.next().await;
                let over = !matches!(outcome, Outcome::Changed(_));
                if answers
                    .send(Answer {
                        ask,
                        outcome,
                        client: None,
                    })
                    .await
                    .is_err()
                    || over
                {
                    return;
                }
            }
        }
    }

    fn client(&self, id: EndpointId) -> Option<Endpoint> {
        self.endpoints.get(id.0).cloned()
    }

    fn url(&self, id: EndpointId) -> &str {
        self.endpoints.get(id.0).map_or("", Endpoint::url)
    }

    fn seen(&self) -> Seen {
        Seen {
            view: self.follow.view().clone(),
            reading: self.follow.reading().clone(),
            endpoint: self.url(self.follow.endpoint()).to_owned(),
        }
    }
}

impl Slot {
    /// Gives up what is in flight if something else is wanted; returns what is to be started.
    fn wanted<W: Copy>(&mut self, want: Option<W>, ask_of: impl Fn(W) -> Ask) -> Option<W> {
        let ask = want.map(ask_of);
        if self.ask == ask {
            return None;
        }
        // What is over leaves a set only by being joined: a new set forgets it, and ends what is not over.
        self.task = JoinSet::new();
        self.ask = ask;
        want
    }
}

/// A number in 0..1 that differs from router to router and from call to call.
fn jitter() -> f64 {
    let nanos = clock::now().since_boot().subsec_nanos();
    f64::from(nanos % 1_000) / 1_000.0
}
