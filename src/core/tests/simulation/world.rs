//! The world: everything there is, its clock, and the turn of events. After every one the witness looks.

use std::time::Duration;

use trunkline_core::postgres::ControlState;
use trunkline_core::{Moment, Revision};

use crate::chance::Chance;
use crate::etcd::raft::TICK;
use crate::etcd::store::Op;
use crate::etcd::watch::Misbehaviour;
use crate::etcd::{Answer, Etcd};
use crate::events::{Event, Queue};
use crate::faults::{Fault, Plan, Rules};
use crate::network::{ETCDS, Network, Party};
use crate::node::agent::Errand;
use crate::node::postgres::State;
use crate::node::{Node, SYSTEM_ID};
use crate::router::Router;
use crate::tally::Tally;
use crate::truth::Truth;
use crate::witness::agents::Record;

/// When a run begins: late enough after boot that nothing saturates by accident.
pub(crate) const START: Moment = Moment::from_boot(Duration::from_secs(1_000));
/// How much of a trace a failure shows.
const LAST: usize = 120;

/// How fast agents are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) ttl: Duration,
    pub(crate) loop_wait: Duration,
    pub(crate) retry: Duration,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) chance: Chance,
    pub(crate) network: Network,
    pub(crate) pace: Pace,
    pub(crate) rules: Rules,
    pub(crate) record: Record,
    /// The dynamic configuration as it stands in etcd, or stood there.
    pub(crate) configuration: String,
    pub(crate) etcd: Etcd,
    pub(crate) misbehaviour: Misbehaviour,
    pub(crate) nodes: Vec<Node>,
    pub(crate) routers: Vec<Router>,
    pub(crate) truth: Truth,
    pub(crate) tally: Tally,
    /// The first thing that should not be.
    pub(crate) problem: Option<String>,
    /// Whether all faults are over.
    pub(crate) calm: Option<Moment>,
    queue: Queue,
    numbers: u64,
    trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> (Self, Plan) {
        let mut chance = Chance::new(seed);
        let plan = Plan::draw(&mut chance);
        let mut world = Self {
            now: START,
            network: Network::default(),
            pace: plan.pace,
            configuration: plan.configuration(),
            etcd: Etcd::default(),
            misbehaviour: Misbehaviour::default(),
            nodes: (0..plan.nodes)
                .map(|number| Node::new(number, &plan))
                .collect(),
            rules: plan.rules,
            record: Record::default(),
            routers: Vec::new(),
            truth: Truth::new(plan.nodes),
            tally: Tally::default(),
            problem: None,
            calm: None,
            queue: Queue::default(),
            numbers: 0,
            trace: traced.then(Vec::new),
            chance,
        };
        world.begin(&plan);
        (world, plan)
    }

    fn begin(&mut self, plan: &Plan) {
        if plan.from_nothing {
            self.begin_with_nothing();
        } else {
            self.begin_with_a_leader();
        }
        for member in 0..ETCDS {
            self.etcd.members[member].received = self.etcd.log.len();
            self.catch_up(member);
        }
        self.after(TICK, Event::EtcdTick);
        self.after(TICK, Event::PostgresTick);
        for number in 0..plan.routers {
            self.routers.push(Router::new(self.now, plan));
            self.router_starts(number);
            let soon = self.chance.millis(0, 1_000);
            self.after(soon, Event::ClientComes(number));
        }
        for (begins, lasts, fault) in &plan.faults {
            self.at(*begins, Event::Begins(fault.clone()));
            self.at(begins.after(*lasts), Event::Ends(fault.clone()));
        }
        self.at(plan.calm, Event::AllIsWell);
    }

    /// Empty directories and an empty store.
    fn begin_with_nothing(&mut self) {
        self.tally.hit("a cluster made from nothing");
        self.truth.lock_is(START, None, None);
        for number in 0..self.nodes.len() {
            self.nodes[number].postgres.state = State::Stopped;
            self.put_aside(number);
            self.agent_starts(number);
        }
    }

    /// A cluster that was initialized: its first member leads, everybody runs.
    fn begin_with_a_leader(&mut self) {
        let text = ToOwned::to_owned;
        let config = self.configuration.clone();
        let _ = self.commit(Op::Put(text("initialize"), text(SYSTEM_ID), None));
        let _ = self.commit(Op::Put(text("config"), config, None));
        let ttl = i64::try_from(self.pace.ttl.as_secs()).unwrap_or(10);
        for number in 0..self.nodes.len() {
            let lease = self.etcd.new_lease();
            let _ = self.commit(Op::Grant(lease, ttl));
            self.agent_starts(number);
            let node = &mut self.nodes[number];
            node.agent.lease = Some(lease);
            if number == 0 {
                node.postgres.primary = true;
                node.postgres.signal = false;
                node.postgres.control = ControlState::InProduction;
            }
            let (name, value) = (node.name.clone(), node.published(false));
            let _ = self.commit(Op::Put(format!("members/{name}"), value, Some(lease)));
            if number == 0 {
                let _ = self.commit(Op::Put(text("leader"), name, Some(lease)));
            }
        }
        self.promoted(0, 0);
    }

    /// Runs to the end of the plan, or to the first problem.
    pub(crate) fn run(&mut self, end: Moment) {
        while let (None, Some((at, event))) = (&self.problem, self.queue.next()) {
            if at > end {
                return self.never_settled();
            }
            self.now = at;
            if matches!(event, Event::EtcdTick) && self.is_settled() {
                return;
            }
            let router = event.router();
            let agent = event.agent().filter(|node| self.nodes[*node].is_ours);
            match (router, agent) {
                (Some(number), _) if self.routers[number].frozen => {
                    self.routers[number].inbox.push(event);
                }
                (_, Some(number)) if !self.nodes[number].agent.alive || !self.nodes[number].up => {}
                (_, Some(number)) if self.nodes[number].agent.frozen => {
                    self.nodes[number].inbox.push(event);
                }
                (_, _) => self.happens(event),
            }
            self.witness(router);
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::EtcdTick => self.etcd_ticks(),
            Event::EtcdAsked(request) => self.etcd_asked(request),
            Event::EtcdAgrees(request, term) => self.etcd_agrees(request, term),
            Event::EtcdReplies(request, answer, upto) => self.etcd_replies(request, answer, upto),
            Event::EtcdAnswered(who, question, answer) => self.etcd_answered(who, question, answer),
            Event::EtcdCatchesUp(member) => self.catch_up(member),
            Event::WatchAsked(number, router, member, from) => {
                self.watch_asked(number, router, member, from);
            }
            Event::WatchBegun(router, number) => self.watch_begun(router, number),
            Event::WatchTold(number, changes, since) => self.watch_told(number, changes, since),
            Event::AgentWakes(node, turn) => self.agent_wakes(node, turn),
            Event::AgentTimesOut(node, question) => self.agent_times_out(node, question),
            Event::AgentRestarts(node) => self.agent_restarts(node),
            Event::OursWakes(node, turn) => self.ours_begins(node, turn),
            Event::OursDecides(node, turn) => self.ours_decides(node, turn),
            Event::OursWaited(node, question) => self.ours_waited(node, question),
            Event::OursRested(node, waits) => self.ours_rested(node, waits),
            Event::PeerAsked(node, from, question) => self.peer_asked(node, from, question),
            Event::PeerAnswered(node, question, name, document) => {
                self.peer_answered(node, question, name, document);
            }
            Event::PeersDue(node, question) => self.peers_due(node, question),
            Event::JobMoves(node, number) => self.job_moves(node, number),
            Event::PostmasterEnded(node) => self.ours_wakes(node),
            Event::PostgresSignalled(node, life, at_once) => {
                self.signalled(node, life, at_once);
            }
            Event::PostgresTick => self.postgres_ticks(),
            Event::PostgresMoves(node, turn) => self.postgres_moves(node, turn),
            Event::RestAsked(node, router, question) => self.rest_asked(node, router, question),
            Event::RestSlow(node, router, question, heard) => {
                self.node_answers(node, router, question, heard);
            }
            Event::PostgresAsked(node, router, question) => {
                self.postgres_asked(node, router, question);
            }
            Event::NodeAnswered(router, question, heard) => {
                self.poll_hears(router, question, heard);
            }
            Event::Feed(router, life) => self.feed_wakes(router, life),
            Event::EtcdTimesOut(router, question) => self.feed_times_out(router, question),
            Event::Poll(router, life) => self.poll_wakes(router, life),
            Event::PollTimesOut(router, question) => self.poll_times_out(router, question),
            Event::Look(router, life) => self.look_wakes(router, life),
            Event::ClientComes(router) => self.client_comes(router),
            Event::ClientMoves(router, client, turn) => self.client_moves(router, client, turn),
            Event::ClientConnects(node, router, client, turn) => {
                self.client_connects(node, router, client, turn);
            }
            Event::ClientConnected(router, client, turn, well) => {
                self.client_connected(router, client, turn, well);
            }
            Event::ServerClosed(router, client, turn) => self.server_closed(router, client, turn),
            Event::Begins(fault) => self.fault_begins(&fault),
            Event::Ends(fault) => self.fault_ends(&fault),
            Event::AllIsWell => self.all_is_well(),
        }
    }

    fn etcd_answered(&mut self, who: Party, question: u64, answer: Answer) {
        match who {
            Party::Node(node) if !self.nodes[node].is_ours => {
                self.agent_hears(node, question, answer);
            }
            Party::Node(node) if !self.feed_asked(who, question) => {
                self.ours_hears(node, question, answer);
            }
            Party::Node(_) | Party::Router(_) => self.feed_hears(who, question, answer),
            Party::Etcd(_) => {}
        }
    }

    pub(crate) fn at(&mut self, at: Moment, event: Event) {
        self.queue.add(at, event);
    }

    pub(crate) fn after(&mut self, time: Duration, event: Event) {
        self.queue.add(self.now.after(time), event);
    }

    /// Something is said by one to another; perhaps it arrives.
    pub(crate) fn send(&mut self, from: Party, to: Party, event: Event) {
        if let Some(takes) = self.network.carry(from, to, &mut self.chance) {
            self.after(takes, event);
        }
    }

    /// A number that was not used before.
    pub(crate) const fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The node that holds the lock, in truth.
    pub(crate) fn holder(&self) -> Option<usize> {
        let name = self.etcd.truth.text("leader")?;
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The leader key may have changed from `before`.
    pub(crate) fn lock_changes(&mut self, before: Option<&str>) {
        let kv = self.etcd.truth.get("leader");
        let created = kv.map(|kv| kv.created.0);
        let holder = self.etcd.truth.text("leader");
        self.truth.lock_is(self.now, holder.clone(), created);
        self.lock_taken();
        self.sees_pause();
        if before != holder.as_deref() {
            self.trace(|| format!("etcd: the lock goes from {before:?} to {holder:?}"));
            self.agents_notice();
        }
    }

    /// Keeps up whether nobody is demoted, for the witness.
    fn sees_pause(&mut self) {
        let config = self.etcd.truth.get("config");
        let at = config.map_or(Revision(0), |kv| kv.modified);
        if self.truth.in_pause.is_none_or(|(known, _)| known != at) {
            let text = self.etcd.truth.text("config").unwrap_or_default();
            let paused = text.contains(r#""pause":true"#) || text.contains("standby_cluster");
            self.truth.in_pause = Some((at, paused));
        }
    }

    /// Leases of a store that is no more bind nobody.
    pub(crate) fn leases_forgotten(&mut self) {
        self.truth.rebuilt(self.now);
        self.truth.in_pause = None;
    }

    pub(crate) fn fails(&mut self, problem: impl FnOnce() -> String) {
        if self.problem.is_none() {
            self.problem = Some(format!("at {}: {}", self.now, problem()));
        }
    }

    pub(crate) fn trace(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {}", self.now, line()));
        }
    }

    /// The last lines of the trace.
    pub(crate) fn last_words(&self) -> String {
        let lines = self.trace.as_deref().unwrap_or_default();
        lines[lines.len().saturating_sub(LAST)..].join("\n")
    }

    /// An agent that ended by itself is started again, unless it was meanwhile, or its machine is gone.
    fn agent_restarts(&mut self, number: usize) {
        let node = &self.nodes[number];
        if node.up && !node.agent.alive {
            self.agent_starts(number);
        }
    }

    /// Whether a fault could still be at work in a node.
    pub(crate) fn is_whole(&self, number: usize) -> bool {
        let node = &self.nodes[number];
        node.up && node.agent.alive && node.agent.errand != Errand::Grant
    }

    pub(crate) fn begins_trace(&mut self, fault: &Fault) {
        self.trace(|| format!("fault: {fault:?} begins"));
    }
}
