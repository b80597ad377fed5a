//! A small world for tests: an etcd, members that answer or do not, a clock that is moved by hand, and a router
//! that looks at them.
//!
//! Members and keys are made from the JSON Patroni writes, never from Rust values: what a test says holds for
//! the bytes of a real cluster. The world decides nothing; it only asks as often as it is told to.

#![allow(
    dead_code,
    reason = "each test binary that has this module uses another part of it"
)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use trunkline_core::cluster::ClusterView;
use trunkline_core::config::router::{Cluster, Etcd};
use trunkline_core::follow::{EndpointId, Trouble};
use trunkline_core::keys::Prefix;
use trunkline_core::memory::Memory;
use trunkline_core::probe::Probe;
use trunkline_core::proof::Reading;
use trunkline_core::route::change::{self, Change};
use trunkline_core::route::{self, Address, Ledger, Snapshot, Table};
use trunkline_core::wire::config::DynamicConfig;
use trunkline_core::{MemberName, Moment, Observed, Scope};

pub(crate) mod etcd;
pub(crate) mod node;

use etcd::Store;
use node::Node;

/// When the scenario's clock shows 0 s: late enough after boot that nothing saturates by accident.
pub(crate) const START: Moment = Moment::from_boot(Duration::from_secs(1_000));
/// The scope of the cluster.
pub(crate) const SCOPE: &str = "demo";
/// The system identifier of its databases.
pub(crate) const SYSTEM_ID: &str = "7710532611349547367";

/// The world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// What the router was told.
    pub(crate) cluster: Cluster,
    /// The clock.
    pub(crate) now: Moment,
    /// The store, whether it can be asked or not.
    pub(crate) etcd: Store,
    /// The members, as they would answer.
    pub(crate) nodes: BTreeMap<MemberName, Node>,
    /// Where their PostgreSQL is reached.
    pub(crate) addresses: BTreeMap<MemberName, Address>,
    /// What the router last decided.
    pub(crate) table: Option<Table>,
    prefix: Prefix,
    view: Observed<ClusterView, Trouble>,
    reading: Observed<Reading, Trouble>,
    probes: BTreeMap<MemberName, Probe>,
    ledger: Ledger,
}

impl World {
    /// An empty etcd, and a router without listeners that has not asked anything yet.
    pub(crate) fn new() -> Self {
        let mut cluster = Cluster::new(Scope::from(SCOPE), Etcd::default());
        cluster.listeners.clear();
        Self {
            cluster,
            now: START,
            etcd: Store::default(),
            nodes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            table: None,
            prefix: Prefix::new("service", &Scope::from(SCOPE)),
            view: Observed::Unknown {
                since: START,
                cause: Trouble::NotAsked,
            },
            reading: Observed::Unknown {
                since: START,
                cause: Trouble::NotAsked,
            },
            probes: BTreeMap::new(),
            ledger: Ledger::default(),
        }
    }

    /// A member comes to be: a running replica that publishes itself and whose REST API answers.
    pub(crate) fn add_member(&mut self, name: &str) {
        let member = MemberName::from(name);
        let number = u8::try_from(self.nodes.len() + 1).expect("a handful of members");
        let address = SocketAddr::from((Ipv4Addr::new(10, 0, 0, number), 5432));
        self.addresses.insert(member.clone(), address.into());
        let node = Node::replica(name);
        self.etcd.put(&format!("members/{name}"), &node.published());
        self.nodes.insert(member, node);
    }

    /// A member, to change how it behaves.
    pub(crate) fn node(&mut self, name: &str) -> &mut Node {
        self.nodes
            .get_mut(&MemberName::from(name))
            .unwrap_or_else(|| panic!("no member {name}"))
    }

    /// What a member publishes in etcd is brought up to date.
    pub(crate) fn publish(&mut self, name: &str) {
        let value = self.node(name).published();
        self.etcd.put(&format!("members/{name}"), &value);
    }

    /// The lock is taken by `holder`: the old leader key is gone, a new one created.
    pub(crate) fn lock(&mut self, holder: &str) {
        self.etcd.delete("leader");
        self.etcd.put("leader", holder);
        self.etcd.lease_ends = None;
    }

    /// Time passes and nobody is asked.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// Time passes; every second the lock is read, every member asked, and everything looked at.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now.after(time);
        while self.now < end {
            self.wait(end.since(self.now).min(Duration::from_secs(1)));
            self.prove();
            for name in self.names() {
                self.ask(&name);
            }
            let _ = self.look();
        }
    }

    /// What the router believes of etcd.
    pub(crate) fn view(&self) -> &Observed<ClusterView, Trouble> {
        &self.view
    }

    /// The last proof read.
    pub(crate) fn reading(&self) -> &Observed<Reading, Trouble> {
        &self.reading
    }

    /// The lock was read by somebody who follows etcd for the router.
    pub(crate) fn hears(&mut self, reading: Observed<Reading, Trouble>) {
        self.reading = reading;
    }

    /// Its PostgreSQL was asked at `asked`, and did not answer.
    pub(crate) fn pinged(&mut self, name: &str, asked: Moment) {
        let probe = self.probes.get_mut(&MemberName::from(name));
        probe.expect("it was asked before").pinged = Some(asked);
    }

    /// What is known of a member by asking it.
    pub(crate) fn probe(&self, member: &MemberName) -> Option<&Probe> {
        self.probes.get(member)
    }

    /// What the router remembers.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The names of the members.
    pub(crate) fn names(&self) -> Vec<String> {
        self.nodes.keys().map(ToString::to_string).collect()
    }

    /// The leader key and its lease are read (P1).
    pub(crate) fn prove(&mut self) {
        self.watch();
        if !self.etcd.answers {
            self.reading = self.reading.clone().unanswered(Trouble::TimedOut, self.now);
            return;
        }
        let leader = self.etcd.get("leader").cloned();
        let lease = leader
            .as_ref()
            .and_then(|kv| self.etcd.lease_left(kv, self.now));
        let reading = Reading {
            asked: self.now,
            endpoint: EndpointId(0),
            store: self.etcd.number,
            leader,
            lease,
        };
        self.reading.answered(reading, self.now);
    }

    /// A member's REST API is asked (P2), and its PostgreSQL if the last table wants that (P3).
    pub(crate) fn ask(&mut self, name: &str) {
        let member = MemberName::from(name);
        let node = self
            .nodes
            .get(&member)
            .unwrap_or_else(|| panic!("no member {name}"));
        let known = self.view.value().and_then(|view| view.system_id.clone());
        let probe = self
            .probes
            .entry(member.clone())
            .or_insert_with(|| Probe::new(self.now));
        match node.answer(known.as_ref()) {
            Ok(answer) => probe.rest.answered(answer, self.now),
            Err(cause) => probe.rest = probe.rest.clone().unanswered(cause, self.now),
        }
        probe.looked = Some(self.now);
        let asked = |table: &Table| table.members.get(&member).is_some_and(|asks| asks.postgres);
        if self.table.as_ref().is_some_and(asked) {
            match node.accepts.clone() {
                Ok(accepts) => probe.postgres.answered(accepts, self.now),
                Err(cause) => probe.postgres_unanswered(cause, self.now),
            }
            probe.pinged = Some(self.now);
        }
    }

    /// What happened in etcd is seen, as by a watch; if it does not answer, that is seen.
    fn watch(&mut self) {
        if !self.etcd.answers {
            self.view = self.view.clone().unanswered(Trouble::TimedOut, self.now);
            return;
        }
        let config = self
            .view
            .value()
            .map_or_else(DynamicConfig::default, |v| v.config.clone());
        let view = ClusterView::parse(&self.prefix, self.etcd.number, self.etcd.keys(), &config);
        self.view = Observed::Fresh {
            value: view,
            asked: self.now,
        };
    }

    /// The router starts again: of what it knew it has only what it put down.
    pub(crate) fn restart(&mut self) {
        let memory = Memory::of(&self.prefix, self.etcd.keys());
        self.view = Observed::Stale {
            value: memory.view(&self.prefix),
            asked: Moment::BOOT,
            since: self.now,
            cause: Trouble::NotAsked,
        };
        self.reading = Observed::Unknown {
            since: self.now,
            cause: Trouble::NotAsked,
        };
        self.probes.clear();
        self.ledger = Ledger::default();
        self.table = None;
    }

    /// The router looks at everything, and says what that changes.
    pub(crate) fn look(&mut self) -> Change {
        self.watch();
        let snapshot = Snapshot {
            cluster: &self.cluster,
            view: &self.view,
            reading: &self.reading,
            probes: &self.probes,
            addresses: &self.addresses,
            now: self.now,
            wall: wall(self.now),
        };
        let table = route::look(&mut self.ledger, &snapshot);
        let change = change::between(self.table.as_ref(), &table);
        self.table = Some(table);
        change
    }
}

/// What a calendar shows: the scenario begins at eight.
pub(crate) fn wall(now: Moment) -> Timestamp {
    let start: Timestamp = "2026-11-21T08:00:00Z".parse().expect("a time");
    start + SignedDuration::try_from(now.since(START)).expect("a short while")
}
