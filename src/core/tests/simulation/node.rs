//! A node: a machine with an agent, one of ours or one after Patroni's contract, and a PostgreSQL; and what both
//! answer to whoever asks.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use trunkline_core::Moment;
use trunkline_core::follow::Follow;
use trunkline_core::probe::{Accepts, NoAnswer};

use crate::events::Event;
use crate::faults::Plan;
use crate::feed::Feed;
use crate::network::{ETCDS, Party};
use crate::router::prefix;
use crate::world::{START, World};

pub(crate) mod agent;
pub(crate) mod cycle;
pub(crate) mod log;
pub(crate) mod ours;
pub(crate) mod postgres;
pub(crate) mod stream;

use agent::Agent;
use ours::Ours;
use postgres::{Postgres, State};

/// The scope of the cluster.
pub(crate) const SCOPE: &str = "demo";
/// The system identifier of its databases.
pub(crate) const SYSTEM_ID: &str = "7710532611349547367";

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// The same without its port, as others name it.
    pub(crate) host: String,
    /// Whether there is a machine at its address.
    pub(crate) up: bool,
    pub(crate) agent: Agent,
    /// Whether its agent is one of ours; and that agent, if it was ever started.
    pub(crate) is_ours: bool,
    pub(crate) ours: Option<Box<Ours>>,
    /// How an agent of ours follows etcd.
    pub(crate) feed: Feed,
    pub(crate) nofailover: bool,
    /// The release of its agent.
    release: &'static str,
    pub(crate) slow_disk: bool,
    /// Since when all of it has been well, for the witness.
    pub(crate) well_since: Option<Moment>,
    pub(crate) postgres: Postgres,
    pub(crate) rest: RestIllness,
    /// What arrived while processes were frozen.
    pub(crate) inbox: Vec<Event>,
}

/// What is wrong with a REST API.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum RestIllness {
    #[default]
    Well,
    /// It takes this long more, in milliseconds.
    Slow(u64),
    Silent,
    Refuses,
    /// Somebody else answers at the address: the name, the scope and the system identifier he gives.
    Foreign(Option<&'static str>, &'static str, &'static str),
    /// It says what it said then.
    Stale(u16, String),
    /// Its answers are no status documents.
    Garbage,
}

/// What a router gets for a question to a member.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Rest(u16, String),
    Postgres(Accepts),
    Nothing(NoAnswer),
}

impl Node {
    pub(crate) fn new(number: usize, plan: &Plan) -> Self {
        let host = u8::try_from(number + 1).unwrap_or(0);
        Self {
            name: format!("pg-{}", number + 1),
            address: SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), 5432)),
            host: Ipv4Addr::new(10, 0, 0, host).to_string(),
            up: true,
            agent: Agent::default(),
            is_ours: plan.ours[number],
            ours: None,
            feed: Feed::new(Follow::new(prefix(), ETCDS, START)),
            nofailover: plan.nofailover == Some(number),
            release: if plan.old == Some(number) {
                "2.0.2"
            } else {
                "4.1.5"
            },
            slow_disk: false,
            well_since: None,
            postgres: Postgres::new(0),
            rest: RestIllness::Well,
            inbox: Vec::new(),
        }
    }

    /// What its agent publishes in etcd.
    pub(crate) fn published(&self, standby: bool) -> String {
        let running = self.postgres.state == State::Running;
        let mut value = json!({
            "conn_url": format!("postgres://{}/postgres", self.address),
            "api_url": format!("http://{}:8008/patroni", self.address.ip()),
            "state": self.postgres.word(),
            "role": self.role(standby),
            "version": self.release,
            "timeline": self.postgres.log.timeline(),
        });
        if running && !self.postgres.primary {
            // Rounded, so that an idle replica does not publish anew in every cycle.
            value["replay_lsn"] = json!(self.postgres.log.end >> 12 << 12);
        }
        value.to_string()
    }

    fn role(&self, standby: bool) -> &'static str {
        match (self.postgres.state, self.postgres.primary) {
            (State::Running, true) => "primary",
            (State::Running, false) if standby && self.agent.leads() => "standby_leader",
            (State::Running, false) => "replica",
            (_, true) if !self.agent.demoted => "primary",
            (_, true) => "demoted",
            (_, false) => "replica",
        }
    }

    /// What `GET /primary` answers when everything is as it should be.
    pub(crate) fn status(&self, now: Moment, paused: bool, standby: bool) -> (u16, String) {
        let running = self.postgres.state == State::Running;
        let blind = self.agent.is_blind(now);
        let leads = self.agent.leader_until.is_some_and(|until| now < until);
        let code = match (blind && paused, leads) {
            (true, _) => self.role(standby) == "primary",
            (false, true) => !standby,
            (false, false) => false,
        };
        let at = self.postgres.log.end;
        let mut document = json!({
            "state": if self.postgres.noticed { self.postgres.word() } else { "unknown" },
            "role": self.role(standby),
            "patroni": { "version": self.release, "scope": SCOPE, "name": self.name },
            "database_system_identifier": SYSTEM_ID,
        });
        if running {
            document["timeline"] = json!(self.postgres.log.timeline());
            document["xlog"] = if self.postgres.primary {
                json!({ "location": at })
            } else {
                json!({ "received_location": at, "replayed_location": at })
            };
        }
        if paused {
            document["pause"] = Value::Bool(true);
        }
        (if code { 200 } else { 503 }, document.to_string())
    }
}

impl World {
    /// A router's question for the status document arrives.
    pub(crate) fn rest_asked(&mut self, number: usize, router: usize, question: u64) {
        let node = &mut self.nodes[number];
        if !node.up {
            return;
        }
        if !node.agent.alive || node.rest == RestIllness::Refuses {
            let refused = Heard::Nothing(NoAnswer::Refused);
            return self.node_answers(number, router, question, refused);
        }
        if node.agent.frozen && !node.agent.hangs {
            let again = Event::RestAsked(number, router, question);
            return node.inbox.push(again);
        }
        let Some((code, body)) = self.word(number) else {
            let refused = Heard::Nothing(NoAnswer::Refused);
            return self.node_answers(number, router, question, refused);
        };
        let node = &mut self.nodes[number];
        let heard = match &node.rest {
            RestIllness::Well | RestIllness::Slow(_) => Heard::Rest(code, body),
            RestIllness::Silent | RestIllness::Refuses => return,
            RestIllness::Stale(code, body) => Heard::Rest(*code, body.clone()),
            RestIllness::Garbage => Heard::Rest(200, "<html>proxy</html>".to_owned()),
            RestIllness::Foreign(name, scope, id) => {
                let mut document = json!({
                    "state": "running", "role": "primary", "timeline": 1,
                    "xlog": { "location": 1 },
                    "database_system_identifier": id,
                    "patroni": { "version": "4.1.5", "scope": scope },
                });
                if let Some(name) = name {
                    document["patroni"]["name"] = json!(name);
                }
                Heard::Rest(200, document.to_string())
            }
        };
        let is_true = matches!(node.rest, RestIllness::Well | RestIllness::Slow(_));
        if is_true && matches!(heard, Heard::Rest(200, _)) {
            self.truth.claimed[number] = Some(self.now);
        }
        if let RestIllness::Slow(by) = node.rest {
            let takes = self.chance.millis(by / 2, by);
            return self.after(takes, Event::RestSlow(number, router, question, heard));
        }
        self.node_answers(number, router, question, heard);
    }

    /// What the agent says of itself when it is asked.
    pub(crate) fn word(&self, number: usize) -> Option<(u16, String)> {
        let node = &self.nodes[number];
        match &node.ours {
            Some(ours) => {
                let (code, document) = ours.says(&self.database_of(number), self.now)?;
                Some((code, document.to_json()))
            }
            None => {
                let (paused, standby) = (node.agent.seen.pause, node.agent.seen.standby);
                Some(node.status(self.now, paused, standby))
            }
        }
    }

    /// A router's question to PostgreSQL arrives.
    pub(crate) fn postgres_asked(&mut self, number: usize, router: usize, question: u64) {
        let node = &mut self.nodes[number];
        if !node.up {
            return;
        }
        let heard = match node.postgres.state {
            State::Stopped | State::Crashed => Heard::Nothing(NoAnswer::Refused),
            State::Running | State::Starting | State::Stopping if node.postgres.frozen => {
                let again = Event::PostgresAsked(number, router, question);
                return node.inbox.push(again);
            }
            State::Running => Heard::Postgres(Accepts::Yes),
            State::Starting | State::Stopping => Heard::Postgres(Accepts::NotNow),
        };
        self.node_answers(number, router, question, heard);
    }

    pub(crate) fn node_answers(
        &mut self,
        number: usize,
        router: usize,
        question: u64,
        heard: Heard,
    ) {
        let answer = Event::NodeAnswered(router, question, heard);
        self.send(Party::Node(number), Party::Router(router), answer);
    }

    /// The machine is gone: nothing of it answers, and nobody is told.
    pub(crate) fn node_vanishes(&mut self, number: usize) {
        self.nodes[number].up = false;
        self.agent_dies(number);
        self.postgres_dies(number, false);
    }

    pub(crate) fn node_returns(&mut self, number: usize) {
        self.nodes[number].up = true;
        self.agent_starts(number);
    }

    pub(crate) fn freeze_node(&mut self, number: usize, agent: bool, postgres: bool) {
        self.nodes[number].agent.frozen |= agent;
        self.nodes[number].agent.hangs &= !agent;
        let it = &mut self.nodes[number].postgres;
        it.frozen |= postgres;
        it.hangs &= !postgres;
    }

    /// The agent's loop does nothing any more; its REST API goes on.
    pub(crate) fn hang_agent(&mut self, number: usize) {
        let agent = &mut self.nodes[number].agent;
        agent.hangs |= !agent.frozen;
        agent.frozen = true;
    }

    /// The postmaster does nothing any more; its children go on.
    pub(crate) fn hang_postmaster(&mut self, number: usize) {
        let it = &mut self.nodes[number].postgres;
        it.hangs |= !it.frozen;
        it.frozen = true;
    }

    pub(crate) fn thaw_node(&mut self, number: usize) {
        self.nodes[number].agent.frozen = false;
        self.nodes[number].agent.hangs = false;
        self.nodes[number].postgres.frozen = false;
        self.nodes[number].postgres.hangs = false;
        if let Some(ours) = &mut self.nodes[number].ours {
            ours.runs_since = ours.runs_since.max(self.now);
        }
        for event in std::mem::take(&mut self.nodes[number].inbox) {
            let soon = self.chance.millis(0, 3);
            self.after(soon, event);
        }
    }
}
