//! A small world around one agent: etcd, its own PostgreSQL, and what its peers answer.
//!
//! Nothing here decides. [`World::cycle`] does what the agent's other half does: snapshot, decision, action, outcome,
//! until the cycle is over.
#![allow(dead_code, reason = "each of the programs that share it uses its part")]

pub(crate) mod etcd;
pub(crate) mod jobs;
pub(crate) mod node;

use std::collections::BTreeMap;
use std::time::Duration;

use etcd::{Mood, Store};
use jiff::{SignedDuration, Timestamp};
use node::Node;
use trunkline_core::cluster::{ClusterView, Lock};
use trunkline_core::follow::Trouble;
use trunkline_core::ha::{
    self, Action, Decision, InFlight, Me, Memory, Outcome, PeerWord, Snapshot,
};
use trunkline_core::lease::{Held, Lease, Renewal};
use trunkline_core::wire::member::{ApiUrl, ConnUrl, Tags};
use trunkline_core::wire::rest::StatusDocument;
use trunkline_core::{LeaseId, MemberName, Moment, Observed};

/// When every story begins, by the agent's clock.
pub(crate) const START: Moment = Moment::from_boot(Duration::from_secs(1000));
pub(crate) const SYSTEM_ID: &str = "7710532611349547367";
/// More steps than any cycle may take.
pub(crate) const MOST_STEPS: usize = 40;
const MY_LEASE: i64 = 100;

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) me: Me,
    pub(crate) etcd: Store,
    pub(crate) view: Observed<ClusterView, Trouble>,
    pub(crate) lease: Option<Lease>,
    pub(crate) held: Option<Held>,
    pub(crate) node: Node,
    pub(crate) job: Option<InFlight>,
    /// What peers answer; nobody who is not named here does.
    pub(crate) peers: BTreeMap<MemberName, StatusDocument>,
    pub(crate) reload_due: bool,
    pub(crate) ending: bool,
    pub(crate) exited: Option<u8>,
    pub(crate) memory: Memory,
    /// Of this cycle.
    pub(crate) renewal: Option<Renewal>,
    pub(crate) refused: Vec<Action>,
    pub(crate) answers: BTreeMap<MemberName, PeerWord>,
    leases: i64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            now: START,
            me: me("pg-1"),
            etcd: Store::default(),
            view: Observed::Unknown {
                since: START,
                cause: Trouble::NotAsked,
            },
            lease: None,
            held: None,
            node: Node::default(),
            job: None,
            peers: BTreeMap::new(),
            reload_due: false,
            ending: false,
            exited: None,
            memory: Memory::default(),
            renewal: None,
            refused: Vec::new(),
            answers: BTreeMap::new(),
            leases: MY_LEASE,
        }
    }

    /// A cluster that was made, of these members.
    pub(crate) fn found(&mut self, names: &[&str]) {
        self.etcd.put("initialize", SYSTEM_ID, None);
        self.etcd.put(
            "config",
            r#"{"ttl":30,"loop_wait":10,"retry_timeout":10}"#,
            None,
        );
        self.etcd.put("status", r#"{"optime":1000}"#, None);
        for name in names {
            self.publish(name, "running", "replica", "");
        }
    }

    /// Another member's key, as it would write it.
    pub(crate) fn publish(&mut self, name: &str, state: &str, role: &str, more: &str) {
        let number = name.bytes().last().unwrap_or(b'0');
        let value = format!(
            r#"{{"conn_url":"postgres://10.0.0.{number}:5432/postgres","api_url":"http://10.0.0.{number}:8008/patroni","state":"{state}","role":"{role}","version":"4.1.5"{more}}}"#
        );
        self.etcd.put(
            &format!("members/{name}"),
            &value,
            Some(LeaseId(i64::from(number))),
        );
    }

    /// The leader key names somebody; on this agent's lease if it is this agent.
    pub(crate) fn lock(&mut self, name: &str) {
        let mine = name == self.me.name.as_str();
        let lease = if mine {
            self.grant().id
        } else {
            LeaseId(i64::from(name.bytes().last().unwrap_or(0)))
        };
        self.etcd.delete("leader");
        self.etcd.put("leader", name, Some(lease));
        self.held = mine.then(|| self.proof());
    }

    /// The lock as it is proven now.
    fn proof(&self) -> Held {
        let began = self.etcd.get("leader").expect("a leader key").created;
        let lease = self.lease.expect("a lease");
        Held {
            began,
            confirmed: lease.confirmed,
            granted: lease.granted,
        }
    }

    fn ttl(&self) -> Duration {
        self.view
            .value()
            .map_or(Duration::from_secs(30), |view| view.config.ttl)
    }

    /// The lease, kept alive or granted now.
    fn grant(&mut self) -> Lease {
        let ttl = self.ttl();
        let alive = self
            .lease
            .filter(|lease| self.now < lease.ends() && lease.wanted == ttl);
        let id = alive.map_or_else(
            || {
                self.leases += 1;
                LeaseId(self.leases)
            },
            |lease| lease.id,
        );
        let lease = Lease {
            id,
            granted: ttl,
            wanted: ttl,
            confirmed: self.now,
        };
        self.lease = Some(lease);
        lease
    }

    /// Time passes; leases that nobody kept alive end.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        if let Some(lease) = self.lease.filter(|lease| self.now >= lease.ends()) {
            self.etcd.end_lease(lease.id);
        }
    }

    /// What a calendar shows: the story begins at eight.
    pub(crate) fn wall(&self) -> Timestamp {
        let start: Timestamp = "2026-11-21T08:00:00Z".parse().expect("a time");
        start + SignedDuration::try_from(self.now.since(START)).expect("a short while")
    }

    /// What the agent sees now.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        if self.etcd.mood == Mood::Silent {
            self.view = self.view.clone().unanswered(Trouble::TimedOut, self.now);
        } else if self.etcd.mood != Mood::Lags {
            self.view = Observed::Fresh {
                value: self.etcd.view(),
                asked: self.now,
            };
        }
        Snapshot {
            now: self.now,
            wall: self.wall(),
            me: self.me.clone(),
            view: self.view.clone(),
            lease: self.lease,
            held: self.held,
            renewal: self.renewal.clone(),
            refused: self.refused.clone(),
            data: self.node.data.clone(),
            system_id: self.node.system_id.clone(),
            history_file: self.node.history_file(),
            reload_due: self.reload_due,
            control: self.node.control(self.now),
            postmaster: self.node.postmaster,
            database: self.node.database.clone(),
            job: self.job.clone(),
            peers: self.answers.clone(),
            ending: self.ending,
            memory: self.memory.clone(),
        }
    }

    /// One cycle: every step with what was seen, what was decided and what came of it.
    pub(crate) fn cycle(&mut self) -> Vec<(Snapshot, Decision, Outcome)> {
        self.renewal = None;
        self.refused.clear();
        self.answers.clear();
        let mut steps = Vec::new();
        for _ in 0..MOST_STEPS {
            let snapshot = self.snapshot();
            let decision = ha::decide(&snapshot);
            let outcome = self.carry_out(&decision);
            if outcome != Outcome::Done && !matches!(decision.action, Action::Renew { .. }) {
                self.refused.push(decision.action.clone());
            }
            let mut memory = snapshot.memory.clone();
            memory.after(&snapshot, &decision, &outcome);
            self.memory = memory;
            let over = matches!(decision.action, Action::Rest | Action::Exit(_));
            steps.push((snapshot, decision, outcome));
            if over {
                break;
            }
        }
        steps
    }

    fn carry_out(&mut self, decision: &Decision) -> Outcome {
        match &decision.action {
            Action::Rest => Outcome::Done,
            Action::Renew { .. } => self.renew(),
            Action::Begin(job) => {
                self.job = Some(InFlight {
                    job: job.clone(),
                    since: self.now,
                    cancelled: false,
                });
                self.node.begins(job, self.now);
                Outcome::Done
            }
            Action::Cancel => {
                if let Some(job) = &mut self.job {
                    job.cancelled = true;
                }
                Outcome::Done
            }
            Action::Exit(code) => {
                self.exited = Some(*code);
                Outcome::Done
            }
            Action::Ask(whom) => {
                for name in whom {
                    let word = match self.peers.get(name) {
                        Some(document) => PeerWord::Says(Box::new(document.clone())),
                        None => PeerWord::Silent("no answer".to_owned()),
                    };
                    self.answers.insert(name.clone(), word);
                }
                Outcome::Done
            }
            Action::KeepLease
            | Action::Acquire
            | Action::Release { .. }
            | Action::Revoke
            | Action::Write(_) => self.ask_etcd(&decision.action),
        }
    }

    /// What etcd makes of it, and whether the agent hears.
    fn ask_etcd(&mut self, action: &Action) -> Outcome {
        if matches!(action, Action::Release { .. }) {
            self.held = None;
        }
        let unanswered = Outcome::Unanswered("no answer".to_owned());
        if self.etcd.mood == Mood::Silent {
            return unanswered;
        }
        let outcome = self.in_etcd(action);
        if self.etcd.mood == Mood::LosesAnswers {
            if matches!(action, Action::Acquire) {
                self.held = None;
            }
            return unanswered;
        }
        outcome
    }

    fn in_etcd(&mut self, action: &Action) -> Outcome {
        let me = self.me.name.as_str().to_owned();
        match action {
            Action::KeepLease => {
                let _ = self.grant();
                Outcome::Done
            }
            Action::Acquire if self.etcd.get("leader").is_some() => Outcome::Refused,
            Action::Acquire => {
                let lease = self.grant();
                self.etcd.put("leader", &me, Some(lease.id));
                self.held = Some(self.proof());
                Outcome::Done
            }
            Action::Release { .. } if self.etcd.text("leader").as_ref() != Some(&me) => {
                Outcome::Refused
            }
            Action::Release { optime } => {
                self.etcd.delete("leader");
                if let Some(optime) = optime {
                    self.etcd
                        .put("status", &format!(r#"{{"optime":{}}}"#, optime.0), None);
                }
                Outcome::Done
            }
            Action::Revoke => {
                if let Some(lease) = self.lease.take() {
                    self.etcd.end_lease(lease.id);
                }
                Outcome::Done
            }
            Action::Write(write) => {
                let lease = self
                    .lease
                    .filter(|lease| self.now < lease.ends())
                    .map(|lease| lease.id);
                self.etcd.write(&me, lease, write)
            }
            other => panic!("{other:?} is nothing for etcd"),
        }
    }

    fn renew(&mut self) -> Outcome {
        let unreachable = Renewal::Unreachable("no answer".to_owned());
        if matches!(self.etcd.mood, Mood::Silent | Mood::LosesAnswers) {
            self.renewal = Some(unreachable);
            return Outcome::Unanswered("no answer".to_owned());
        }
        let lease = self.grant();
        let me = self.me.name.clone();
        let holder = self.etcd.view().lock;
        let certain = self.held.is_some_and(|held| self.now < held.ends());
        let mine = match &holder {
            Lock::Held { tenure, .. } => tenure.holder == me,
            Lock::Vacant => certain,
            Lock::Garbage { .. } => false,
        };
        self.held = None;
        if mine {
            self.etcd.put("leader", me.as_str(), Some(lease.id));
            self.held = Some(self.proof());
        }
        self.renewal = Some(match self.held {
            Some(held) => Renewal::Confirmed(lease, held),
            None => Renewal::Lost {
                holder: holder.tenure().map(|tenure| tenure.holder.clone()),
            },
        });
        if mine {
            Outcome::Done
        } else {
            Outcome::Refused
        }
    }
}

/// An agent as most are configured.
fn me(name: &str) -> Me {
    Me {
        name: name.into(),
        scope: "demo".into(),
        conn: ConnUrl::parse("postgres://10.0.0.49:5432/postgres").expect("a URL"),
        api: ApiUrl::parse("http://10.0.0.49:8008/patroni").expect("a URL"),
        proxy: None,
        tags: Tags::default(),
        may_bootstrap: true,
        restores: false,
        initial_config: r#"{"ttl":30,"loop_wait":10,"retry_timeout":10}"#.to_owned(),
        may_rewind: true,
        wipe_on_rewind_failure: false,
        wipe_on_divergence: false,
        use_slots: true,
        primary_start_timeout: Duration::from_secs(300),
        start_timeout: Duration::from_secs(60),
        check_timeline: false,
        max_timelines_history: 0,
        member_slots_ttl: Duration::from_secs(1800),
        watchdog_required: false,
        pending_restart: BTreeMap::new(),
    }
}
