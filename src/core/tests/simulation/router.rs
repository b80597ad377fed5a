//! A router: core's decisions, driven as `src/router` drives them, on the world's clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use trunkline_core::config::router::{Cluster, Etcd, Hold};
use trunkline_core::follow::Follow;
use trunkline_core::keys::Prefix;
use trunkline_core::memory::Memory;
use trunkline_core::probe::Probe;
use trunkline_core::route::{Ledger, Table, Target};
use trunkline_core::{MemberName, Moment, Scope};

use crate::events::Event;
use crate::faults::Plan;
use crate::feed::Feed;
use crate::network::{ETCDS, Party};
use crate::node::SCOPE;
use crate::witness::Witness;
use crate::world::World;

pub(crate) mod clients;
pub(crate) mod connect;
pub(crate) mod control;
pub(crate) mod poll;

use clients::Client;
use control::Seat;
use poll::Polled;

#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) frozen: bool,
    pub(crate) thawed: Moment,
    pub(crate) inbox: Vec<Event>,
    /// How often it was started: timers of an earlier life mean nothing.
    pub(crate) life: u64,
    pub(crate) started: Moment,
    pub(crate) cluster: Cluster,
    pub(crate) feed: Feed,
    /// What it wrote down of the cluster, for its next start.
    pub(crate) shelf: Option<Memory>,
    pub(crate) polled: BTreeMap<MemberName, Polled>,
    /// What was heard of whom.
    pub(crate) probes: BTreeMap<MemberName, Probe>,
    pub(crate) ledger: Ledger,
    pub(crate) table: Option<Arc<Table>>,
    pub(crate) seats: BTreeMap<(usize, Target), Seat>,
    pub(crate) clients: BTreeMap<u64, Client>,
    pub(crate) witness: Witness,
    /// When each kind of timer rings next.
    pub(crate) look_at: Option<Moment>,
    pub(crate) poll_at: Option<Moment>,
    pub(crate) turn: u64,
    /// Which lock of the true ones it believed in last, by its place.
    pub(crate) believed: usize,
}

impl Router {
    pub(crate) fn new(now: Moment, plan: &Plan) -> Self {
        let mut cluster = Cluster::new(Scope::from(SCOPE), Etcd::default());
        cluster.when_unproven = plan.when_unproven;
        for listener in &mut cluster.listeners {
            let time = if listener.name == "write" { 12 } else { 3 };
            listener.hold = Hold {
                time: Duration::from_secs(time),
                ..listener.hold
            };
            listener.fallback = plan.fallback.filter(|_| listener.name != "write");
        }
        Self {
            frozen: false,
            thawed: now,
            inbox: Vec::new(),
            life: 0,
            started: now,
            cluster,
            feed: Feed::new(Follow::new(prefix(), ETCDS, now)),
            shelf: None,
            polled: BTreeMap::new(),
            probes: BTreeMap::new(),
            ledger: Ledger::default(),
            table: None,
            seats: BTreeMap::new(),
            clients: BTreeMap::new(),
            witness: Witness::default(),
            look_at: None,
            poll_at: None,
            turn: 0,
            believed: 0,
        }
    }
}

pub(crate) fn prefix() -> Prefix {
    Prefix::new("service", &Scope::from(SCOPE))
}

impl World {
    pub(crate) fn router_starts(&mut self, number: usize) {
        let now = self.now;
        // The last writing may have failed, or have no place at all.
        let (wrote, has_shelf) = (self.chance.in_hundred(80), self.chance.in_hundred(80));
        let router = &mut self.routers[number];
        if wrote && let Some(memory) = router.feed.follow.memory() {
            router.shelf = Some(memory);
        }
        let mut follow = Follow::new(prefix(), ETCDS, now);
        if let Some(memory) = router.shelf.as_ref().filter(|_| has_shelf) {
            self.tally.hit("a router that remembers its last run");
            follow = follow.remembering(memory.view(&prefix()), now);
        }
        router.life += 1;
        router.started = now;
        router.polled.clear();
        router.probes.clear();
        router.ledger = Ledger::default();
        router.table = None;
        router.seats.clear();
        router.clients.clear();
        router.witness = Witness::default();
        router.believed = 0;
        (router.look_at, router.poll_at) = (None, None);
        self.feed_begins(Party::Router(number), follow);
        self.look(number);
        self.pump_feed(Party::Router(number));
    }

    pub(crate) fn freeze_router(&mut self, number: usize) {
        self.routers[number].frozen = true;
    }

    /// It goes on: what is ready is taken in any order, and its timers have rung long ago.
    pub(crate) fn thaw_router(&mut self, number: usize) {
        self.routers[number].frozen = false;
        self.routers[number].thawed = self.now;
        for event in std::mem::take(&mut self.routers[number].inbox) {
            let soon = self.chance.millis(0, 2);
            self.after(soon, event);
        }
    }

    /// Something the decision rests on changed: a look, in a moment.
    pub(crate) fn look_soon(&mut self, number: usize) {
        let soon = Duration::from_micros(20) + self.chance.mostly_short(0, 2);
        self.look_by(number, self.now.after(soon));
    }

    pub(crate) fn look_by(&mut self, number: usize, at: Moment) {
        let router = &mut self.routers[number];
        if router.look_at.is_none_or(|due| at < due) {
            router.look_at = Some(at);
            let life = router.life;
            self.at(at, Event::Look(number, life));
        }
    }

    pub(crate) fn look_wakes(&mut self, number: usize, life: u64) {
        let router = &mut self.routers[number];
        if router.life == life && router.look_at.is_some_and(|due| due <= self.now) {
            router.look_at = None;
            self.look(number);
        }
    }
}
