//! An agent's memory and its errands to etcd: one question at a time, tried at another member when it fails.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use trunkline_core::cluster::KeyValue;
use trunkline_core::{LeaseId, Moment};

use super::SYSTEM_ID;
use super::postgres::Then;
use crate::etcd::store::{Compare, Done, Op};
use crate::etcd::{Answer, What};
use crate::events::Event;
use crate::network::{ETCDS, Party};
use crate::router::control::wall;
use crate::world::World;

/// What the agent is waiting for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Errand {
    #[default]
    None,
    Load,
    Grant,
    Keep,
    Refresh,
    Acquire,
    Release,
    Publish,
    /// It clears the request it has carried out.
    Clear,
    /// It writes what every cluster has, after a wipe.
    Restore,
}

#[derive(Debug, Default)]
pub(crate) struct Agent {
    pub(crate) alive: bool,
    pub(crate) frozen: bool,
    /// Whether only its loop is: its REST API answers.
    pub(crate) hangs: bool,
    pub(crate) lease: Option<i64>,
    /// Until when it takes itself for the leader.
    pub(crate) leader_until: Option<Moment>,
    pub(crate) seen: Seen,
    /// When it last heard from etcd.
    pub(crate) loaded: Option<Moment>,
    /// Until when another leader's failsafe ping keeps it from the race.
    pub(crate) pinged: Option<Moment>,
    pub(crate) demoted: bool,
    /// Whether it gives the lock away as soon as PostgreSQL has stopped.
    pub(crate) releases: bool,
    pub(crate) errand: Errand,
    endpoint: usize,
    tries: usize,
    question: u64,
    began: Option<Moment>,
    turn: u64,
}

/// What it knows from etcd.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) holder: Option<String>,
    pub(crate) lease: Option<LeaseId>,
    pub(crate) pause: bool,
    pub(crate) failsafe: bool,
    pub(crate) standby: bool,
    pub(crate) failover: Option<(Option<String>, Option<String>)>,
    pub(crate) members: Vec<String>,
    pub(crate) own: Option<KeyValue>,
    pub(crate) complete: bool,
    pub(crate) configured: bool,
    pub(crate) timeline: u32,
}

impl Agent {
    /// Whether it holds the lock as far as it knows.
    pub(crate) const fn leads(&self) -> bool {
        self.leader_until.is_some()
    }

    /// Whether it has not heard from etcd for so long that its view counts as unknown.
    pub(crate) fn is_blind(&self, now: Moment) -> bool {
        self.loaded
            .is_none_or(|at| now.since(at) > Duration::from_secs(8))
    }
}

impl Seen {
    pub(crate) fn of(keys: &[KeyValue], me: &str, wall: Timestamp) -> Self {
        let find = |key: &str| {
            let full = format!("{}{key}", crate::etcd::store::PREFIX);
            keys.iter().find(|kv| kv.key == full.as_bytes())
        };
        let text = |key: &str| find(key).map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
        let json = |key: &str| -> Value {
            text(key)
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or(Value::Null)
        };
        let config = json("config");
        let flag = |name: &str| config[name].as_bool().unwrap_or(false);
        let request = json("failover");
        let named = |name: &str| request[name].as_str().map(ToOwned::to_owned);
        let failover = (named("leader"), named("member"));
        let scheduled = request["scheduled_at"].as_str();
        let due = scheduled.is_none_or(|at| at.parse().is_ok_and(|at: Timestamp| at <= wall));
        let prefix = format!("{}members/", crate::etcd::store::PREFIX);
        let members = keys.iter().filter_map(|kv| {
            let key = String::from_utf8_lossy(&kv.key).into_owned();
            key.strip_prefix(&prefix).map(ToOwned::to_owned)
        });
        Self {
            holder: text("leader"),
            lease: find("leader").and_then(|kv| kv.lease),
            pause: flag("pause"),
            failsafe: flag("failsafe_mode"),
            standby: config["standby_cluster"].is_object(),
            failover: Some(failover)
                .filter(|(leader, member)| due && (leader.is_some() || member.is_some())),
            members: members.collect(),
            own: find(&format!("members/{me}")).cloned(),
            complete: find("initialize").is_some() && find("config").is_some(),
            configured: find("config").is_some(),
            timeline: text("history")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
        }
    }
}

impl World {
    pub(crate) fn agent_starts(&mut self, number: usize) {
        let before = std::mem::take(&mut self.nodes[number].agent);
        let agent = &mut self.nodes[number].agent;
        agent.alive = true;
        agent.turn = before.turn + 1;
        agent.demoted = before.demoted;
        agent.endpoint = number % ETCDS;
        let turn = agent.turn;
        if self.nodes[number].is_ours {
            return self.ours_starts(number);
        }
        let soon = self.chance.millis(1, 300);
        self.after(soon, Event::AgentWakes(number, turn));
    }

    /// It is killed: PostgreSQL stays as it is.
    pub(crate) fn agent_dies(&mut self, number: usize) {
        let agent = &mut self.nodes[number].agent;
        agent.alive = false;
        (agent.frozen, agent.hangs) = (false, false);
        agent.errand = Errand::None;
        agent.turn += 1;
        if self.nodes[number].is_ours {
            self.ours_dies(number);
        }
    }

    /// Its sleep is over: a new cycle, unless one is under way.
    pub(crate) fn agent_wakes(&mut self, number: usize, turn: u64) {
        let node = &mut self.nodes[number];
        if node.agent.turn != turn || !node.agent.alive || !node.up {
            return;
        }
        if node.agent.frozen {
            return node.inbox.push(Event::AgentWakes(number, turn));
        }
        node.agent.began = Some(self.now);
        self.run_errand(number, Errand::Load);
    }

    /// The leader key changed: whoever is asleep looks at once.
    pub(crate) fn agents_notice(&mut self) {
        for number in 0..self.nodes.len() {
            let agent = &self.nodes[number].agent;
            let is_ours = self.nodes[number].is_ours;
            if agent.alive && agent.errand == Errand::None && !is_ours {
                let turn = self.new_turn(number);
                let soon = self.chance.mostly_short(60, 400);
                self.after(soon, Event::AgentWakes(number, turn));
            }
        }
    }

    fn new_turn(&mut self, number: usize) -> u64 {
        let agent = &mut self.nodes[number].agent;
        agent.turn += 1;
        agent.turn
    }

    /// The cycle is over: sleep until the next.
    pub(crate) fn agent_sleeps(&mut self, number: usize) {
        let turn = self.new_turn(number);
        let agent = &mut self.nodes[number].agent;
        agent.errand = Errand::None;
        let began = agent.began.unwrap_or(self.now);
        let next = began.after(self.pace.loop_wait);
        let at = next.max(self.now.after(Duration::from_millis(20)));
        self.at(at, Event::AgentWakes(number, turn));
    }

    /// Asks etcd for the next thing the cycle needs.
    pub(crate) fn run_errand(&mut self, number: usize, errand: Errand) {
        self.nodes[number].agent.errand = errand;
        self.nodes[number].agent.tries = 0;
        self.try_errand(number);
    }

    fn try_errand(&mut self, number: usize) {
        let what = self.errand(number);
        let endpoint = self.nodes[number].agent.endpoint;
        let question = self.ask_etcd(Party::Node(number), endpoint, what);
        self.nodes[number].agent.question = question;
        let patience = self.pace.retry / 3;
        self.after(patience, Event::AgentTimesOut(number, question));
    }

    fn errand(&mut self, number: usize) -> What {
        let ttl = i64::try_from(self.pace.ttl.as_secs()).unwrap_or(10);
        let new_lease = self.etcd.leases + 1;
        let node = &self.nodes[number];
        let name = node.name.clone();
        let lease = node.agent.lease;
        let leader = || "leader".to_owned();
        let take = |compare| {
            let put = Op::Put(leader(), name.clone(), lease);
            Op::If(compare, Box::new(put), None)
        };
        match node.agent.errand {
            Errand::None | Errand::Load => What::List {
                linearizable: false,
            },
            Errand::Keep => What::KeepAlive(lease.unwrap_or(0)),
            Errand::Grant => {
                self.nodes[number].agent.lease = Some(new_lease);
                What::Propose(Op::Grant(self.etcd.new_lease(), ttl))
            }
            Errand::Refresh => What::Propose(take(Compare::Is(leader(), name.clone()))),
            Errand::Acquire => What::Propose(take(Compare::Absent(leader()))),
            Errand::Release => {
                let delete = Box::new(Op::Delete(leader()));
                What::Propose(Op::If(Compare::Is(leader(), name.clone()), delete, None))
            }
            Errand::Publish => {
                let value = node.published(node.agent.seen.standby);
                What::Propose(Op::Put(format!("members/{name}"), value, lease))
            }
            Errand::Clear => What::Propose(Op::Put("failover".to_owned(), "{}".to_owned(), None)),
            Errand::Restore => {
                let (key, value) = if node.agent.seen.configured {
                    ("initialize", SYSTEM_ID.to_owned())
                } else {
                    ("config", self.configuration.clone())
                };
                What::Propose(Op::Put(key.to_owned(), value, None))
            }
        }
    }

    /// No answer in time.
    pub(crate) fn agent_times_out(&mut self, number: usize, question: u64) {
        let node = &mut self.nodes[number];
        let agent = &node.agent;
        if agent.question != question || agent.errand == Errand::None || !agent.alive {
            return;
        }
        if agent.frozen {
            return node.inbox.push(Event::AgentTimesOut(number, question));
        }
        self.errand_failed(number);
    }

    fn errand_failed(&mut self, number: usize) {
        let agent = &mut self.nodes[number].agent;
        agent.endpoint = (agent.endpoint + 1) % ETCDS;
        agent.tries += 1;
        if agent.tries < ETCDS {
            return self.try_errand(number);
        }
        match agent.errand {
            Errand::Load | Errand::Keep | Errand::Grant | Errand::Refresh => {
                self.etcd_is_lost(number);
            }
            Errand::None
            | Errand::Acquire
            | Errand::Release
            | Errand::Publish
            | Errand::Clear
            | Errand::Restore => self.agent_sleeps(number),
        }
    }

    /// etcd answered an agent.
    pub(crate) fn agent_hears(&mut self, number: usize, question: u64, answer: Answer) {
        let node = &mut self.nodes[number];
        let agent = &mut node.agent;
        if agent.question != question || !agent.alive || agent.errand == Errand::None {
            return;
        }
        if agent.frozen {
            let event = Event::EtcdAnswered(Party::Node(number), question, answer);
            return node.inbox.push(event);
        }
        agent.question = 0;
        match (agent.errand, answer) {
            (_, Answer::Failed(_)) => {
                let again = Duration::from_millis(100);
                agent.question = question;
                // The timeout of the try is what ends it; a refusal only makes that sooner.
                self.after(again, Event::AgentTimesOut(number, question));
            }
            (Errand::Load, Answer::Listed(_, keys)) => {
                agent.seen = Seen::of(&keys, &node.name, wall(self.now));
                agent.loaded = Some(self.now);
                let errand = if agent.lease.is_some() {
                    Errand::Keep
                } else {
                    Errand::Grant
                };
                self.run_errand(number, errand);
            }
            (Errand::Keep, Answer::Kept(false)) => self.run_errand(number, Errand::Grant),
            (Errand::Keep, Answer::Kept(true)) | (Errand::Grant, Answer::Done(Done::Yes)) => {
                self.agent_decides(number);
            }
            (Errand::Refresh, Answer::Done(Done::Yes)) => self.agent_leads(number),
            (Errand::Refresh, Answer::Done(_)) => self.lock_is_lost(number),
            (Errand::Acquire, Answer::Done(Done::Yes)) => self.agent_won(number),
            (Errand::Acquire, Answer::Done(_)) => self.agent_sleeps(number),
            (Errand::Release, Answer::Done(_)) => {
                agent.releases = false;
                agent.leader_until = None;
                self.agent_publishes(number);
            }
            (Errand::Clear, Answer::Done(_)) => self.agent_leads(number),
            (Errand::Restore, Answer::Done(_)) => self.agent_sleeps(number),
            (Errand::Publish, Answer::Done(Done::NoLease)) => {
                agent.lease = None;
                self.agent_sleeps(number);
            }
            (Errand::Publish, Answer::Done(_)) if !agent.seen.complete && agent.leads() => {
                self.run_errand(number, Errand::Restore);
            }
            (_, _) => self.agent_sleeps(number),
        }
    }

    /// It loses the lock, or etcd, while it runs as primary.
    pub(crate) fn demote(&mut self, number: usize) {
        self.nodes[number].agent.demoted = true;
        let name = self.nodes[number].name.clone();
        self.trace(|| format!("{name}: demotes itself"));
        self.stop_postgres(number, Then::Follows);
    }
}
