//! The cycle: look at everything, let core decide, do one thing, and so on until there is nothing to do.
//!
//! No choices here: what is chosen is `trunkline_core::ha`'s. What this file adds are deadlines, so that no question
//! outlasts the lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use trunkline_core::config::agent::Agent;
use trunkline_core::ha::snapshot::Asked;
use trunkline_core::ha::{self, Action, Decision, Job, Me, Memory, Outcome, PeerWord, Snapshot};
use trunkline_core::lease::{Acquisition, Keeping, Renewal, Written};
use trunkline_core::postgres::DataDirectory;
use trunkline_core::rest::Told;
use trunkline_core::{MemberName, Moment};
use trunkline_io::clock;
use trunkline_io::shutdown::Tasks;

use crate::api::{Board, Shared, Wishes};
use crate::dcs::Dcs;
use crate::instance::Instance;
use crate::jobs::Jobs;
use crate::observe::Observer;
use crate::peers::Peers;
use crate::settings::InForce;
use crate::spoken::Spoken;

/// More steps than this no cycle takes; one that does is a fault of ours, and the next begins a little later.
const STEPS: usize = 64;
/// That much later.
const AFTER_TOO_MANY: Duration = Duration::from_millis(200);
/// How long a question to etcd or PostgreSQL may take where no lock depends on it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Such a question always gets this long.
const LEAST: Duration = Duration::from_millis(100);

/// What the cycle works with.
#[derive(Debug)]
pub(crate) struct Cycle {
    pub(crate) dcs: Dcs,
    pub(crate) observer: Observer,
    pub(crate) instance: Arc<Instance>,
    pub(crate) settings: InForce,
    pub(crate) jobs: Jobs,
    pub(crate) board: Board,
    pub(crate) wishes: Wishes,
    pub(crate) peers: Peers,
    pub(crate) memory: Memory,
    pub(crate) spoken: Spoken,
    /// Whether the operator told the agent to end.
    pub(crate) ending: bool,
}

/// What one cycle has learnt by its own actions.
#[derive(Default)]
struct Round {
    began: Moment,
    renewal: Option<Renewal>,
    refused: Vec<Action>,
    peers: BTreeMap<MemberName, PeerWord>,
}

impl Cycle {
    /// Nothing known yet.
    pub(crate) fn new(
        agent: Arc<Agent>,
        dcs: Dcs,
        settings: InForce,
        api: &Shared,
        wake: &Arc<Notify>,
        tasks: &Tasks,
    ) -> Self {
        let in_force = settings.now();
        Self {
            observer: Observer::new(
                Arc::clone(&agent),
                &in_force,
                Arc::clone(wake),
                tasks.clone(),
            ),
            instance: Arc::new(Instance::new(agent, in_force, tasks)),
            dcs,
            settings,
            jobs: Jobs::new(Arc::clone(wake), tasks.clone()),
            board: api.board.clone(),
            wishes: api.wishes.clone(),
            peers: api.peers.clone(),
            memory: Memory::default(),
            spoken: Spoken::default(),
            ending: false,
        }
    }

    /// One cycle: steps until there is nothing to do. Returns the last decision.
    pub(crate) async fn run(&mut self) -> Decision {
        let mut round = Round {
            began: clock::now(),
            ..Round::default()
        };
        self.take_wishes();
        let mut steps = 0;
        loop {
            steps += 1;
            self.take_ended_job();
            self.take_configuration();
            let snapshot = self.look(&round).await;
            let decision = ha::decide(&snapshot);
            self.keep_configuration(&snapshot);
            let told = Told::of(&snapshot, decision.look_again, self.settings.dynamic());
            self.board.tell(told);
            self.spoken.decided(&snapshot, &decision);
            let outcome = self.act(&snapshot, &decision, &mut round).await;
            if outcome != Outcome::Done {
                tracing::debug!(action = ?decision.action, ?outcome, "not carried out");
                round.refused.push(decision.action.clone());
            }
            self.memory.after(&snapshot, &decision, &outcome);
            if matches!(decision.action, Action::Rest | Action::Exit(_)) {
                return decision;
            }
            if steps == STEPS {
                tracing::error!(action = ?decision.action, "{STEPS} steps came to no end: a fault of trunkline-agent");
                return Decision {
                    action: Action::Rest,
                    look_again: clock::now().after(AFTER_TOO_MANY),
                    ..decision
                };
            }
        }
    }

    fn take_wishes(&mut self) {
        let wanted = self.wishes.take();
        if let Some(ping) = wanted.ping {
            self.memory.pinged = Some((ping.name.clone(), ping.at));
        }
        if wanted.reload {
            self.settings.read_again();
        }
    }

    fn take_ended_job(&mut self) {
        if let Some(end) = self.jobs.ended() {
            self.spoken.ended(&end);
            self.observer.forget();
            self.memory.ended(end);
        }
    }

    /// The dynamic configuration, where it has changed.
    fn take_configuration(&mut self) {
        let view = self.dcs.view();
        let Some(view) = view.value() else { return };
        if self.settings.take(&view.config) {
            let settings = self.settings.now();
            self.observer.retarget(&settings);
            self.instance.set(settings);
        }
    }

    /// The dynamic configuration is kept beside the data, for a start without etcd's.
    fn keep_configuration(&mut self, snapshot: &Snapshot) {
        if matches!(snapshot.data, DataDirectory::Present { .. }) && snapshot.job.is_none() {
            self.instance.keep(self.settings.dynamic());
        }
    }

    async fn look(&mut self, round: &Round) -> Snapshot {
        let flight = self.jobs.in_flight();
        let patience = self.patience();
        // What PostgreSQL said in this cycle still counts, unless a job ended since.
        let ended = self.memory.ended.as_ref().map(|end| end.ended);
        let fresh = ended.map_or(round.began, |ended| ended.max(round.began));
        let seen = self.observer.look(flight.as_ref(), fresh, patience).await;
        let settings = self.settings.now();
        Snapshot {
            now: clock::now(),
            wall: clock::wall(),
            me: Me::of(
                self.settings.agent(),
                &settings,
                self.settings.initial(),
                self.instance.pending_restart(),
            ),
            view: self.dcs.view(),
            lease: self.dcs.lease(),
            held: self.dcs.held(),
            renewal: round.renewal.clone(),
            refused: round.refused.clone(),
            data: seen.data,
            system_id: seen.system_id,
            history_file: seen.history_file,
            reload_due: self.instance.is_reload_due(),
            control: seen.control,
            postmaster: seen.postmaster,
            database: seen.database,
            job: flight,
            peers: round.peers.clone(),
            ending: self.ending,
            memory: self.memory.clone(),
        }
    }

    /// How long PostgreSQL may take to answer: a part of the time that is left until a leader would have to give up.
    fn patience(&self) -> Duration {
        let now = clock::now();
        match self.dcs.held() {
            None => PATIENCE,
            Some(held) => (held.demote_at().since(now) / 4).clamp(LEAST, PATIENCE),
        }
    }

    /// By when a question to etcd must be answered: before a leader would have to give up.
    fn by(&self) -> Moment {
        let now = clock::now();
        let latest = now.after(PATIENCE);
        match self.dcs.held() {
            None => latest,
            Some(held) => latest.min(held.demote_at()).max(now.after(LEAST)),
        }
    }

    async fn act(
        &mut self,
        snapshot: &Snapshot,
        decision: &Decision,
        round: &mut Round,
    ) -> Outcome {
        let (ttl, by) = (snapshot.config().ttl, self.by());
        match &decision.action {
            Action::Rest | Action::Exit(_) => Outcome::Done,
            Action::KeepLease => match self.dcs.keep_lease(ttl, by).await {
                Keeping::Kept(_) => Outcome::Done,
                Keeping::Unreachable(words) => Outcome::Unanswered(words),
            },
            Action::Renew { by } => {
                let renewal = self.dcs.renew(ttl, *by).await;
                if let Renewal::Unreachable(words) = &renewal {
                    tracing::warn!("keeping the leader lock: {words}");
                }
                round.renewal = Some(renewal);
                Outcome::Done
            }
            Action::Acquire => match self.dcs.acquire(ttl, by).await {
                Acquisition::Won(..) => Outcome::Done,
                Acquisition::Lost => Outcome::Refused,
                Acquisition::Unreachable(words) => Outcome::Unanswered(words),
            },
            Action::Release { optime } => written(self.dcs.release(*optime, by).await),
            Action::Revoke => written(self.dcs.revoke(by).await),
            Action::Write(write) => written(self.dcs.write(write, by).await),
            Action::Ask(asked) => {
                let answers = ask(&self.peers, snapshot, asked, by).await;
                round.peers.extend(answers);
                Outcome::Done
            }
            Action::Begin(job) => self.begin(job),
            Action::Cancel => {
                self.jobs.cancel();
                Outcome::Done
            }
        }
    }

    fn begin(&mut self, job: &Job) -> Outcome {
        let (instance, work) = (Arc::clone(&self.instance), job.clone());
        let running = self.observer.running().cloned();
        self.jobs.begin(job.clone(), |turn| async move {
            instance.carry_out(work, running, turn).await
        });
        Outcome::Done
    }
}

/// Asks members' REST APIs until core has heard enough, or `by`.
async fn ask(
    peers: &Peers,
    snapshot: &Snapshot,
    asked: &Asked,
    by: Moment,
) -> BTreeMap<MemberName, PeerWord> {
    let began = clock::now();
    let url = |name: &MemberName| snapshot.member(name).and_then(|member| member.api.clone());
    let members = asked.iter().map(|name| (name.clone(), url(name))).collect();
    let enough = |words: &BTreeMap<MemberName, PeerWord>| {
        ha::settled(snapshot, words, clock::now().since(began))
    };
    peers.ask(members, by.since(began), enough).await
}

fn written(written: Written) -> Outcome {
    match written {
        Written::Done => Outcome::Done,
        Written::Refused => Outcome::Refused,
        Written::Unreachable(words) => Outcome::Unanswered(words),
    }
}
