//! Members' REST → probes: one loop a member for its REST API and one for its PostgreSQL, at the pace that was
//! decided. Nothing here decides when to ask or what an answer means.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use trunkline_core::probe::{Accepts, NoAnswer, Probe, judge};
use trunkline_core::route::Address;
use trunkline_core::route::table::Asks;
use trunkline_core::wire::member::ApiUrl;
use trunkline_core::{MemberName, Moment, Observed, Scope, SystemId};
use trunkline_io::http::client::{self, Secured, Trouble};
use trunkline_io::shutdown::Tasks;
use trunkline_io::tls::Tls;
use trunkline_io::{clock, descriptors};

use crate::{metrics, pgping};

/// What to ask a member, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// How often, and whether PostgreSQL is asked too.
    pub asks: Asks,
    /// Its REST API; `None` if it published none.
    pub api: Option<ApiUrl>,
    /// Where that is; `None` while its name does not resolve.
    pub rest: Option<SocketAddr>,
    /// Its PostgreSQL.
    pub postgres: Option<Address>,
    /// The system identifier an answer must carry, once there is one.
    pub system_id: Option<SystemId>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// The loops of a cluster's members.
#[derive(Debug)]
pub struct Poll {
    cluster: String,
    scope: Scope,
    members: BTreeMap<MemberName, Asked>,
    changed: Arc<Notify>,
    rest_tls: Arc<ArcSwapOption<Tls>>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Asked {
    question: watch::Sender<Question>,
    probe: Arc<watch::Sender<Probe>>,
    doubted: watch::Sender<Moment>,
    _ends_the_loops: DropGuard,
}

impl Poll {
    /// Nobody is asked yet; who speaks https will be with `rest_tls`.
    #[must_use]
    pub fn new(cluster: &str, scope: Scope, rest_tls: Option<Arc<Tls>>, tasks: Tasks) -> Self {
        Self {
            cluster: cluster.to_owned(),
            scope,
            members: BTreeMap::new(),
            changed: Arc::new(Notify::new()),
            rest_tls: Arc::new(ArcSwapOption::new(rest_tls)),
            tasks,
        }
    }

    /// Who speaks https will be met with `rest_tls` from the next question on.
    pub fn meet_with(&self, rest_tls: Option<Arc<Tls>>) {
        self.rest_tls.store(rest_tls);
    }

    /// Asks these members from now on, and no others.
    pub fn direct(&mut self, questions: BTreeMap<MemberName, Question>) {
        self.members.retain(|name, _| questions.contains_key(name));
        for (name, question) in questions {
            match self.members.get(&name) {
                Some(asked) => {
                    asked.question.send_if_modified(|had| {
                        let differs = *had != question;
                        *had = question;
                        differs
                    });
                }
                None => {
                    let asked = self.begin(name.clone(), question);
                    self.members.insert(name, asked);
                }
            }
        }
    }

    /// What the members said.
    #[must_use]
    pub fn probes(&self) -> BTreeMap<MemberName, Probe> {
        let probe = |asked: &Asked| asked.probe.borrow().clone();
        self.members
            .iter()
            .map(|(name, asked)| (name.clone(), probe(asked)))
            .collect()
    }

    /// Returns when an answer has come since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A session found `member` wanting: ask it at once.
    pub fn doubt(&self, member: &MemberName) {
        if let Some(asked) = self.members.get(member) {
            asked.doubted.send_replace(clock::now());
        }
    }

    fn begin(&self, name: MemberName, question: Question) -> Asked {
        let (sender, receiver) = watch::channel(question);
        let probe = Arc::new(watch::Sender::new(Probe::new(clock::now())));
        let (doubted, doubts) = watch::channel(Moment::BOOT);
        let end = CancellationToken::new();
        let looper = Loop {
            name,
            cluster: self.cluster.clone(),
            scope: self.scope.clone(),
            question: receiver,
            probe: Arc::clone(&probe),
            changed: Arc::clone(&self.changed),
            rest_tls: Arc::clone(&self.rest_tls),
            doubted: doubts,
        };
        for (task, work) in [("poll rest", true), ("poll postgres", false)] {
            let (looper, end, all) = (looper.clone(), end.clone(), self.tasks.ending().clone());
            self.tasks.spawn(task, async move {
                let asking = async move {
                    if work {
                        looper.rest().await
                    } else {
                        looper.postgres().await
                    }
                };
                tokio::select! {
                    () = end.cancelled() => {}
                    () = all.cancelled() => {}
                    () = asking => {}
                }
            });
        }
        Asked {
            question: sender,
            probe,
            doubted,
            _ends_the_loops: end.drop_guard(),
        }
    }
}

#[derive(Clone)]
struct Loop {
    cluster: String,
    name: MemberName,
    scope: Scope,
    question: watch::Receiver<Question>,
    probe: Arc<watch::Sender<Probe>>,
    changed: Arc<Notify>,
    rest_tls: Arc<ArcSwapOption<Tls>>,
    doubted: watch::Receiver<Moment>,
}

impl Loop {
    async fn rest(mut self) {
        let mut last = None;
        while self.due(&mut last, |_| true).await {
            let asked = clock::now();
            let question = self.question.borrow().clone();
            metrics::probed(&self.cluster, &self.name);
            let answer = self.ask_rest(&question).await;
            let now = clock::now();
            if matches!(answer, Err(NoAnswer::NotAsked)) {
                continue;
            }
            self.probe.send_modify(|probe| {
                match answer {
                    Ok(answer) => probe.rest.answered(answer, asked),
                    Err(cause) => probe.rest = probe.rest.clone().unanswered(cause, now),
                }
                probe.looked = Some(now);
            });
            self.changed.notify_one();
        }
    }

    async fn postgres(mut self) {
        let mut last = None;
        while self.due(&mut last, |asks| asks.postgres).await {
            let asked = clock::now();
            let question = self.question.borrow().clone();
            let answer = match &question.postgres {
                None => Err(NoAnswer::NoAddress),
                Some(address) => ask_postgres(address, question.timeout).await,
            };
            let now = clock::now();
            if matches!(answer, Err(NoAnswer::NotAsked)) {
                continue;
            }
            self.probe.send_modify(|probe| {
                match answer {
                    Ok(accepts) => probe.postgres.answered(accepts, asked),
                    Err(cause) => probe.postgres_unanswered(cause, now),
                }
                probe.pinged = Some(asked);
            });
            self.changed.notify_one();
        }
    }

    /// Waits until a question is due and notes when it is sent; false when there will be none any more.
    async fn due(&mut self, last: &mut Option<Moment>, wanted: impl Fn(&Asks) -> bool) -> bool {
        loop {
            let asks = self.question.borrow_and_update().asks;
            let doubted = *self.doubted.borrow_and_update();
            let now = clock::now();
            let at = asks.due(*last, wanted(&asks), doubted, now);
            if now >= at {
                *last = Some(now);
                return true;
            }
            // A pause that never ends is cut into hours: tokio's timer has a horizon.
            let pause = at.since(now).min(Duration::from_secs(3600));
            let changed = tokio::select! {
                changed = self.question.changed() => changed,
                changed = self.doubted.changed() => changed,
                () = sleep(pause) => Ok(()),
            };
            if changed.is_err() {
                return false;
            }
        }
    }

    async fn ask_rest(
        &self,
        question: &Question,
    ) -> Result<trunkline_core::probe::Answer, NoAnswer> {
        let Some(api) = &question.api else {
            return Err(NoAnswer::NoAddress);
        };
        let material = match (api.tls, self.rest_tls.load_full()) {
            (false, _) => None,
            (true, Some(tls)) => Some(tls.material()),
            (true, None) => {
                let what = "it speaks https, and there is no authority to check it against: write restapi.cacert";
                return Err(NoAnswer::Failed(what.into()));
            }
        };
        let Some(address) = question.rest else {
            let host = &api.host;
            return Err(NoAnswer::Failed(format!(
                "{host} does not resolve to an address"
            )));
        };
        let host = format!("{}:{}", api.host, api.port);
        let name = api.host.to_string();
        let name = name.trim_matches(['[', ']']);
        let tls = material.as_ref().map(|material| Secured { material, name });
        let answer = client::get(address, &host, "/primary", tls, question.timeout)
            .await
            .map_err(|trouble| match trouble {
                Trouble::Refused => NoAnswer::Refused,
                Trouble::TimedOut(_) => NoAnswer::TimedOut,
                Trouble::Connection(error) => could_not_ask(&error),
                Trouble::Tls(_) | Trouble::Http(_) | Trouble::Body(_) => {
                    NoAnswer::Failed(trouble.to_string())
                }
            })?;
        judge(
            answer.code,
            &answer.body,
            &self.name,
            &self.scope,
            question.system_id.as_ref(),
        )
    }
}

async fn ask_postgres(address: &Address, within: Duration) -> Result<Accepts, NoAnswer> {
    match timeout(within, pgping::ask(address)).await {
        Err(_) => Err(NoAnswer::TimedOut),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(NoAnswer::Refused)
        }
        Ok(Err(error)) => Err(could_not_ask(&error)),
        Ok(Ok(accepts)) => Ok(accepts),
    }
}

/// What an error of a connection says of the member: nothing, where this machine had no socket to ask by.
fn could_not_ask(error: &io::Error) -> NoAnswer {
    if descriptors::is_shortage(error) {
        return NoAnswer::NotAsked;
    }
    NoAnswer::Failed(error.to_string())
}

/// Whether the last question went unanswered, by whoever sits at the address.
#[must_use]
pub fn is_failing<T>(observed: &Observed<T, NoAnswer>) -> bool {
    match observed {
        Observed::Fresh { .. } => false,
        Observed::Stale { cause, .. } | Observed::Unknown { cause, .. } => match cause {
            NoAnswer::Refused
            | NoAnswer::TimedOut
            | NoAnswer::Failed(_)
            | NoAnswer::Foreign(_)
            | NoAnswer::Garbage(_) => true,
            NoAnswer::NotAsked | NoAnswer::NoAddress => false,
        },
    }
}
