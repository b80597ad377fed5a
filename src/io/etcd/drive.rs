//! Carries out what core's `follow` wants asked, and hands it the answers. What they add up to is core's; what is
//! done with that is the caller's.

use std::future::Future;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use trunkline_core::Revision;
use trunkline_core::follow::{Ask, EndpointId, Follow, Notice, Outcome};
use trunkline_core::keys::Prefix;

use super::{Access, Endpoint};
use crate::clock::{self, Alarm};

/// How many answers may wait to be taken in.
const ANSWERS: usize = 64;

/// A [`Follow`] with the clients it needs.
#[derive(Debug)]
pub struct Drive {
    prefix: Prefix,
    follow: Follow,
    endpoints: Vec<Endpoint>,
    answers_in: mpsc::Sender<Answer>,
    answers: mpsc::Receiver<Answer>,
    list: Slot,
    watch: Slot,
    read: Slot,
    alarm: Alarm,
}

/// An answer, with the client it came through: one that failed comes back unconnected.
#[derive(Debug)]
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
#[derive(Debug, Default)]
struct Slot {
    ask: Option<Ask>,
    task: JoinSet<()>,
}

impl Drive {
    /// Nothing asked yet.
    ///
    /// # Errors
    /// When the system has no timer to give.
    pub fn new(prefix: Prefix, follow: Follow, endpoints: Vec<Access>) -> std::io::Result<Self> {
        let (answers_in, answers) = mpsc::channel(ANSWERS);
        Ok(Self {
            prefix,
            follow,
            endpoints: endpoints.into_iter().map(Endpoint::new).collect(),
            answers_in,
            answers,
            list: Slot::default(),
            watch: Slot::default(),
            read: Slot::default(),
            alarm: Alarm::new()?,
        })
    }

    /// What the answers add up to.
    #[must_use]
    pub const fn follow(&self) -> &Follow {
        &self.follow
    }

    /// The same, to tell it what else is known.
    pub const fn follow_mut(&mut self) -> &mut Follow {
        &mut self.follow
    }

    /// An endpoint as a URL.
    #[must_use]
    pub fn url(&self, id: EndpointId) -> &str {
        self.endpoints.get(id.0).map_or("", Endpoint::url)
    }

    /// Has these endpoints asked from now on, and no others.
    pub fn move_to(&mut self, endpoints: &[Access]) {
        // What is still under way is an old endpoint's: its answer must not be taken for a new one's.
        (self.list, self.watch, self.read) = (Slot::default(), Slot::default(), Slot::default());
        self.endpoints = endpoints.iter().cloned().map(Endpoint::new).collect();
        self.follow.moved(self.endpoints.len(), clock::now());
        (self.answers_in, self.answers) = mpsc::channel(ANSWERS);
    }

    /// Asks what is to be asked, and takes in the next answer. Cancel safe; must be called again and again.
    pub async fn step(&mut self) {
        let wants = self.follow.wants(clock::now());
        if let Some((ask, endpoint)) = self.list.wanted(wants.list, |(ask, _)| ask) {
            let asking = self.ask(ask, endpoint, Question::List);
            self.list.task.spawn(asking);
        }
        if let Some((ask, endpoint)) = self.read.wanted(wants.read, |(ask, _)| ask) {
            let asking = self.ask(ask, endpoint, Question::ReadLock);
            self.read.task.spawn(asking);
        }
        if let Some((ask, endpoint, from)) = self.watch.wanted(wants.watch, |(ask, ..)| ask) {
            let watching = self.watch(ask, endpoint, from);
            self.watch.task.spawn(watching);
        }
        tokio::select! {
            Some(answer) = self.answers.recv() => self.take(answer),
            rung = self.alarm.at(wants.wake) => if let Err(error) = rung {
                tracing::error!(%error, "the timer of the etcd feed failed");
            },
        }
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
        self.tell();
    }

    /// Logs what happened that an operator should read.
    pub fn tell(&mut self) {
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

    fn watch(&self, ask: Ask, id: EndpointId, from: Revision) -> impl Future<Output = ()> + use<> {
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

/// A number in 0..1 that differs from process to process and from call to call.
fn jitter() -> f64 {
    let nanos = clock::now().since_boot().subsec_nanos();
    f64::from(nanos % 1_000) / 1_000.0
}
