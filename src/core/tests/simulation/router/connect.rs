//! From a client to a server: pick, connect, ask; wait where there is none (`src/router/session/connect.rs`).

use std::net::IpAddr;
use std::time::Duration;

use trunkline_core::route::pick::{Draw, Picked, pick};
use trunkline_core::route::{Address, Verdict};

use super::clients::{Phase, Place, Wait};
use crate::events::Event;
use crate::network::Party;
use crate::node::postgres::State;
use crate::world::World;

const TRY_AGAIN: Duration = Duration::from_millis(100);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const DOUBT: Duration = Duration::from_secs(1);
/// How long a client waits for a server that took its first packet and says nothing.
const EXCHANGE: Duration = Duration::from_secs(8);

enum Attempt {
    Connect(usize),
    Wait(Wait),
    Refused,
    Full,
}

impl World {
    /// Looks for a server by the newest decision.
    pub(crate) fn attempt(&mut self, number: usize, name: u64) {
        let now = self.now;
        let Some(client) = self.routers[number].clients.get_mut(&name) else {
            return;
        };
        if now >= client.rest_until {
            client.failed.clear();
        }
        let chosen = self.choose(number, name);
        if let Some(client) = self.routers[number].clients.get_mut(&name) {
            client.doubt_met = match chosen {
                Attempt::Wait(Wait::Doubted) => client.doubt_met.or(Some(now)),
                Attempt::Wait(_) | Attempt::Connect(_) | Attempt::Refused | Attempt::Full => None,
            };
        }
        match chosen {
            Attempt::Connect(place) => self.connect(number, name, place),
            Attempt::Refused => {
                self.tally.hit("a client refused");
                self.routers[number].clients.remove(&name);
            }
            Attempt::Wait(Wait::NoTarget) => self.hold(number, name, Wait::NoTarget, None),
            Attempt::Wait(Wait::Doubted) => {
                self.hold(number, name, Wait::Doubted, Some(LOOK_AGAIN));
            }
            Attempt::Wait(Wait::NotNow) | Attempt::Full => {
                self.hold(number, name, Wait::NotNow, Some(TRY_AGAIN));
            }
        }
    }

    fn choose(&mut self, number: usize, name: u64) -> Attempt {
        let (chance, now) = (self.chance.number(), self.now);
        let router = &self.routers[number];
        let (Some(client), Some(table)) = (router.clients.get(&name), &router.table) else {
            return Attempt::Wait(Wait::NoTarget);
        };
        let pool = &table.pools[client.place];
        match &pool.verdict {
            Verdict::Hold(_) => return Attempt::Wait(Wait::NoTarget),
            Verdict::Refuse(_) => return Attempt::Refused,
            Verdict::Route if now > pool.valid_until => {
                self.tally.hit("a target that was no longer valid");
                return Attempt::Wait(Wait::NotNow);
            }
            Verdict::Route => {}
        }
        let listener = &router.cluster.listeners[client.place];
        if client.tries > listener.retries {
            return Attempt::Wait(Wait::NotNow);
        }
        let places = pool.targets.iter().enumerate();
        let failed = places.filter(|(_, target)| client.failed.contains(&target.member));
        let tried: Vec<usize> = failed.map(|(place, _)| place).collect();
        let loads: Vec<u32> = pool.targets.iter().map(|_| 0).collect();
        let draw = Draw {
            loads: &loads,
            turn: chance >> 8,
            chance,
            client: Some(IpAddr::from([10, 9, 0, (name % 250) as u8])),
            tried: &tried,
        };
        match pick(listener, &pool.targets, draw) {
            Picked::Target(place) => {
                let seat = self.seat(number, client.place, &pool.targets[place]);
                match seat {
                    Some(seat)
                        if pool.waits_for_evidence(
                            seat.doubted.min(client.doubt_met.unwrap_or(now)),
                        ) =>
                    {
                        self.tally.hit("a client that waits out a doubt");
                        Attempt::Wait(Wait::Doubted)
                    }
                    Some(_) => Attempt::Connect(place),
                    None => Attempt::Wait(Wait::NotNow),
                }
            }
            Picked::Full => Attempt::Full,
            Picked::Nobody => Attempt::Wait(Wait::NotNow),
        }
    }

    fn connect(&mut self, number: usize, name: u64, chosen: usize) {
        let router = &self.routers[number];
        let (Some(client), Some(table)) = (router.clients.get(&name), &router.table) else {
            return;
        };
        let target = table.pools[client.place].targets[chosen].clone();
        let Some(seat) = self.seat(number, client.place, &target).map(|it| it.number) else {
            return;
        };
        let node = self.nodes.iter();
        let Some(node) = node
            .clone()
            .position(|node| Address::from(node.address) == target.address)
        else {
            return;
        };
        let timeout = router.cluster.listeners[client.place].connect_timeout;
        let place = Place { seat, target, node };
        let turn = self.turn_client(number, name, Phase::Connecting(place));
        self.after(timeout, Event::ClientMoves(number, name, turn));
        let event = Event::ClientConnects(node, number, name, turn);
        self.send(Party::Router(number), Party::Node(node), event);
    }

    /// A connection, or the first packet over it, arrives at a node.
    pub(crate) fn client_connects(&mut self, node: usize, number: usize, name: u64, turn: u64) {
        let Some(client) = self.client(number, name, turn) else {
            return;
        };
        let asks = matches!(client.phase, Phase::Exchanging(_));
        let there = &mut self.nodes[node];
        if !there.up {
            return;
        }
        let well = match there.postgres.state {
            State::Stopped | State::Crashed => false,
            // The kernel accepts for a frozen postmaster.
            State::Running | State::Starting | State::Stopping if !asks => true,
            State::Running | State::Starting | State::Stopping if there.postgres.frozen => {
                self.tally.hit("a login at a frozen PostgreSQL");
                let again = Event::ClientConnects(node, number, name, turn);
                return there.inbox.push(again);
            }
            State::Running => true,
            State::Starting | State::Stopping => false,
        };
        let answer = Event::ClientConnected(number, name, turn, well);
        self.send(Party::Node(node), Party::Router(number), answer);
    }

    /// The node took the connection, or answered the first packet; or it would not.
    pub(crate) fn client_connected(&mut self, number: usize, name: u64, turn: u64, well: bool) {
        let Some(client) = self.client(number, name, turn) else {
            return;
        };
        let pool = client.place;
        match client.phase.clone() {
            Phase::Connecting(place) if !well => self.lost_server(number, name, &place),
            Phase::Connecting(place) if !self.is_routed_to(number, pool, &place) => {
                self.tally
                    .hit("a target that left while a client connected");
                self.hold(number, name, Wait::NotNow, Some(TRY_AGAIN));
            }
            Phase::Connecting(place) => {
                self.hands_over_session(number, pool, &place);
                let node = place.node;
                let turn = self.turn_client(number, name, Phase::Exchanging(place));
                self.after(EXCHANGE, Event::ClientMoves(number, name, turn));
                let event = Event::ClientConnects(node, number, name, turn);
                self.send(Party::Router(number), Party::Node(node), event);
            }
            Phase::Exchanging(place) if !well => {
                self.tally.hit("a login refused by 57P03");
                self.lost_server(number, name, &place);
            }
            Phase::Exchanging(place) => {
                self.tally.hit("a session opened");
                let lasts = self.chance.mostly_short(8_000, 60_000);
                let turn = self.turn_client(number, name, Phase::Open(place, self.now));
                self.after(lasts, Event::ClientMoves(number, name, turn));
            }
            Phase::Waiting(_) | Phase::Open(..) => {}
        }
    }

    /// The connection was no good: another is needed, from the same hold.
    pub(crate) fn lost_server(&mut self, number: usize, name: u64, place: &Place) {
        let now = self.now;
        let Some(client) = self.routers[number].clients.get_mut(&name) else {
            return;
        };
        if now >= client.rest_until {
            client.failed.clear();
            client.rest_until = now.after(TRY_AGAIN);
        }
        client.failed.push(place.target.member.clone());
        client.doubt_met = None;
        client.tries += 1;
        let pool = client.place;
        let _ = self.turn_client(number, name, Phase::Waiting(Wait::NotNow));
        self.doubt(number, pool, place);
        self.attempt(number, name);
    }

    /// Holds the client until there is another decision, or for `pause`; no longer than its bound.
    fn hold(&mut self, number: usize, name: u64, why: Wait, pause: Option<Duration>) {
        let now = self.now;
        let router = &mut self.routers[number];
        let Some(client) = router.clients.get_mut(&name) else {
            return;
        };
        client.tries = 0;
        let listener = &router.cluster.listeners[client.place];
        let longest = match why {
            Wait::Doubted => listener.hold.time.max(DOUBT),
            Wait::NoTarget | Wait::NotNow => listener.hold.time,
        };
        let began = *client.began_to_wait.get_or_insert(now);
        let left = began.after(longest).since(now);
        if left.is_zero() {
            self.tally.hit("a hold that ended without a target");
            self.routers[number].clients.remove(&name);
            return;
        }
        let rest = client.rest_until.since(now);
        let pause = pause.map_or(left, |pause| if rest.is_zero() { pause } else { rest });
        if why == Wait::NoTarget {
            self.tally.hit("a client held");
        }
        let turn = self.turn_client(number, name, Phase::Waiting(why));
        self.after(left.min(pause), Event::ClientMoves(number, name, turn));
    }

    /// Whether the newest decision routes to this very seat, and still holds.
    fn is_routed_to(&self, number: usize, pool: usize, place: &Place) -> bool {
        let Some(table) = &self.routers[number].table else {
            return false;
        };
        let same = self
            .seat(number, pool, &place.target)
            .is_some_and(|seat| seat.number == place.seat);
        let pool = &table.pools[pool];
        same && pool.verdict == Verdict::Route
            && self.now <= pool.valid_until
            && pool.targets.contains(&place.target)
    }
}
