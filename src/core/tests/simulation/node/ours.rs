//! An agent of ours: core's decisions, driven as `src/agent/cycle.rs` drives them, on the world's clock.
//!
//! A cycle is a handful of steps: look, decide, do one thing. What a step waits for (an answer of etcd's, of other
//! members', of PostgreSQL) takes its time in the world, and meanwhile nothing else is decided. No choices here.

use std::collections::BTreeMap;
use std::time::Duration;

use trunkline_core::follow::Follow;
use trunkline_core::ha::{
    Action, Decision, InFlight, Job, JobEnd, Me, Memory, Outcome, PeerWord, Snapshot, decide,
};
use trunkline_core::lease::{Held, Lease, Renewal, stop_budget};
use trunkline_core::postgres::{ControlData, Database, Silence};
use trunkline_core::rest::told::Told;
use trunkline_core::{MemberName, Moment, Observed, Revision};

use crate::events::Event;
use crate::network::{ETCDS, Party};
use crate::router::prefix;
use crate::world::World;

pub(crate) mod errand;
pub(crate) mod jobs;
pub(crate) mod look;
pub(crate) mod peers;
pub(crate) mod work;

use errand::Errand;
use jobs::Flight;
use peers::Asking;

/// More steps than this no cycle takes (`src/agent/cycle.rs`); here it is a failure.
const STEPS: usize = 64;
/// How long a question may take where no lock depends on it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Such a question always gets this long.
const LEAST: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) me: Me,
    pub(crate) memory: Memory,
    pub(crate) lease: Option<Lease>,
    pub(crate) held: Option<Held>,
    /// When the leader key was changed last, as last proven.
    modified: Option<Revision>,
    /// Whether a word that lets the lock go may still be on its way.
    unsure: bool,
    pub(crate) ending: bool,
    /// Whether its files are not what the configuration says.
    reload_due: bool,
    pub(crate) told: Option<Told>,
    pub(crate) job: Option<Flight>,
    /// Since when this agent gets to run.
    pub(crate) runs_since: Moment,
    ends: Vec<JobEnd>,
    /// Which start of PostgreSQL it knows, if it runs, and since when.
    process: (Option<u64>, Moment),
    database: Observed<Database, Silence>,
    control: Observed<ControlData, String>,
    round: Option<Round>,
    errand: Option<Errand>,
    asking: Option<Asking>,
    woken: bool,
    /// The timer or step that counts.
    turn: u64,
    /// What it last saw of etcd, to tell what is news.
    seen: Option<std::sync::Arc<trunkline_core::cluster::ClusterView>>,
}

/// A cycle under way.
#[derive(Debug)]
struct Round {
    began: Moment,
    renewal: Option<Renewal>,
    refused: Vec<Action>,
    peers: BTreeMap<MemberName, PeerWord>,
    steps: usize,
    decided: Option<Box<(Snapshot, Decision)>>,
}

impl Ours {
    fn new(me: Me, now: Moment) -> Self {
        Self {
            me,
            memory: Memory::default(),
            lease: None,
            held: None,
            modified: None,
            unsure: false,
            ending: false,
            reload_due: false,
            told: None,
            job: None,
            runs_since: now,
            ends: Vec::new(),
            process: (None, now),
            database: Observed::Unknown {
                since: now,
                cause: Silence::NotAsked,
            },
            control: Observed::Unknown {
                since: now,
                cause: "it was not read yet".to_owned(),
            },
            round: None,
            errand: None,
            asking: None,
            woken: false,
            turn: 0,
            seen: None,
        }
    }

    pub(crate) fn in_flight(&self) -> Option<&Job> {
        self.job.as_ref().map(|flight| &flight.in_flight.job)
    }

    fn flight(&self) -> Option<InFlight> {
        self.job.as_ref().map(|flight| flight.in_flight.clone())
    }

    /// By when a question must be answered: before a leader would have to give up.
    fn by(&self, now: Moment) -> Moment {
        let latest = now.after(PATIENCE);
        match self.held {
            None => latest,
            Some(held) => latest.min(held.demote_at()).max(now.after(LEAST)),
        }
    }

    /// How long PostgreSQL may take to answer.
    fn patience(&self, now: Moment) -> Duration {
        match self.held {
            None => PATIENCE,
            Some(held) => (held.demote_at().since(now) / 4).clamp(LEAST, PATIENCE),
        }
    }
}

impl World {
    /// The agent of this node, which is one of ours.
    pub(crate) fn ours(&mut self, number: usize) -> &mut Ours {
        let ours = self.nodes[number].ours.as_mut();
        ours.expect("an agent of ours was started here")
    }

    pub(crate) fn ours_starts(&mut self, number: usize) {
        let me = self.me(number);
        let now = self.now;
        let mut ours = Ours::new(me, now);
        // One that starts has no proof of its own: it asks etcd first, for one round of retries, and then stops.
        let first = self.pace.retry + stop_budget(self.pace.ttl) + PATIENCE;
        ours.runs_since = now.after(first);
        ours.reload_due = self.chance.in_hundred(30);
        self.nodes[number].ours = Some(Box::new(ours));
        let follow = Follow::new(prefix(), ETCDS, now).without_proof();
        self.feed_begins(Party::Node(number), follow);
        self.pump_feed(Party::Node(number));
        let soon = self.chance.millis(1, 100);
        self.ours_wakes_by(number, now.after(soon));
    }

    /// The process is gone; what it had in flight is, too.
    pub(crate) fn ours_dies(&mut self, number: usize) {
        self.job_dies(number);
        let now = self.now;
        let me = self.ours(number).me.clone();
        self.nodes[number].ours = Some(Box::new(Ours::new(me, now)));
        let follow = Follow::new(prefix(), ETCDS, now).without_proof();
        self.feed_begins(Party::Node(number), follow);
    }

    /// What it follows of etcd changed: it wakes for what concerns it (`src/agent/dcs/feed.rs`).
    pub(crate) fn agent_sees(&mut self, number: usize) {
        let view = self.nodes[number].feed.follow.view();
        let fresh = view.fresh().is_some();
        let Some(view) = view.value().cloned() else {
            return;
        };
        let view = std::sync::Arc::new(view);
        let ours = self.ours(number);
        let before = ours.seen.replace(std::sync::Arc::clone(&view));
        let news = match before {
            Some(before) => view.concerns(&ours.me.name, &before),
            None => true,
        };
        if news || !fresh {
            self.ours_wakes(number);
        }
    }

    /// Something happened that it should look at.
    pub(crate) fn ours_wakes(&mut self, number: usize) {
        if !self.nodes[number].agent.alive {
            return;
        }
        let ours = self.ours(number);
        if ours.round.is_some() {
            ours.woken = true;
            return;
        }
        let soon = self.now.after(self.chance.mostly_short(1, 10));
        self.ours_wakes_by(number, soon);
    }

    fn ours_wakes_by(&mut self, number: usize, at: Moment) {
        let turn = self.number();
        self.ours(number).turn = turn;
        self.at(at, Event::OursWakes(number, turn));
    }

    /// A cycle begins.
    pub(crate) fn ours_begins(&mut self, number: usize, turn: u64) {
        let now = self.now;
        let ours = self.ours(number);
        if ours.turn != turn || ours.round.is_some() {
            return;
        }
        ours.woken = false;
        ours.round = Some(Round {
            began: now,
            renewal: None,
            refused: Vec::new(),
            peers: BTreeMap::new(),
            steps: 0,
            decided: None,
        });
        self.ours_looks(number);
    }

    /// A step begins: what takes time is asked.
    fn ours_looks(&mut self, number: usize) {
        let takes = self.looking_takes(number);
        self.look_around(number);
        let turn = self.number();
        self.ours(number).turn = turn;
        self.after(takes, Event::OursDecides(number, turn));
    }

    /// Everything was looked at: decide, and do it.
    pub(crate) fn ours_decides(&mut self, number: usize, turn: u64) {
        if self.ours(number).turn != turn {
            return;
        }
        let snapshot = self.snapshot(number);
        let decision = decide(&snapshot);
        self.tells_api(number, &snapshot, &decision);
        let name = self.nodes[number].name.clone();
        let idle = matches!(decision.action, Action::Rest) && decision.reason.is_settled();
        if !idle {
            self.trace(|| {
                format!(
                    "{name}: {:?} because {:?}",
                    decision.action, decision.reason
                )
            });
        }
        self.tally.acted(&decision);
        self.is_about_to(number, &decision);
        let ours = self.ours(number);
        let Some(round) = &mut ours.round else { return };
        round.steps += 1;
        let steps = round.steps;
        let action = decision.action.clone();
        round.decided = Some(Box::new((snapshot, decision)));
        if steps > STEPS {
            return self.fails(|| format!("{name}: a cycle of {STEPS} steps came to no end"));
        }
        self.ours_acts(number, action);
    }

    fn ours_acts(&mut self, number: usize, action: Action) {
        let now = self.now;
        let by = self.ours(number).by(now);
        match action {
            Action::Rest => self.step_ends(number, &Outcome::Done),
            Action::Exit(code) => {
                self.tally.hit("an agent of ours ends by itself");
                let name = self.nodes[number].name.clone();
                self.trace(|| format!("{name}: the agent exits with {code}"));
                self.ours_exits(number);
            }
            Action::Ask(asked) => self.ask_peers(number, asked, by),
            Action::Begin(job) => {
                self.begin_job(number, &job);
                self.step_ends(number, &Outcome::Done);
            }
            Action::Cancel => {
                self.cancel_job(number);
                self.step_ends(number, &Outcome::Done);
            }
            Action::KeepLease
            | Action::Renew { .. }
            | Action::Acquire
            | Action::Release { .. }
            | Action::Revoke
            | Action::Write(_) => self.run_ours_errand(number, action, by),
        }
    }

    /// What was to be done is done, refused, or not answered.
    pub(crate) fn step_ends(&mut self, number: usize, outcome: &Outcome) {
        let now = self.now;
        let ours = self.ours(number);
        let Some(round) = &mut ours.round else { return };
        let Some(decided) = round.decided.take() else {
            return;
        };
        let (snapshot, decision) = *decided;
        if *outcome != Outcome::Done {
            round.refused.push(decision.action.clone());
        }
        ours.memory.after(&snapshot, &decision, outcome);
        self.carried_out(number, &snapshot, &decision, outcome);
        if decision.action != Action::Rest {
            return self.ours_looks(number);
        }
        let ours = self.ours(number);
        ours.round = None;
        if std::mem::take(&mut ours.woken) {
            return self.ours_wakes(number);
        }
        let again = decision.look_again.max(now.after(Duration::from_millis(1)));
        self.ours_wakes_by(number, again);
    }

    /// It ended by itself, and is started again, as systemd would.
    fn ours_exits(&mut self, number: usize) {
        let ending = self.ours(number).ending;
        self.agent_dies(number);
        if !ending {
            let soon = self.chance.millis(500, 2_000);
            self.after(soon, Event::AgentRestarts(number));
        }
    }

    /// The operator tells it to end (SIGTERM).
    pub(crate) fn ours_is_to_end(&mut self, number: usize) {
        self.ours(number).ending = true;
        self.ours_wakes(number);
    }
}
