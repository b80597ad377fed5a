//! Clients and their sessions: they come, wait, connect, live and end, as `src/router/session` has it.

use std::time::Duration;

use trunkline_core::route::{Residence, Target, Verdict};
use trunkline_core::{MemberName, Moment};

use super::control::Seat;
use crate::events::Event;
use crate::network::Party;
use crate::world::World;

/// What ends sooner is taken for a login that failed.
const LOGIN: Duration = Duration::from_secs(1);
/// When keepalive gives up a peer that is gone.
const KEEPALIVE: Duration = Duration::from_secs(19);

/// A client of a listener.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Which listener, by its place.
    pub(crate) place: usize,
    pub(crate) phase: Phase,
    /// What is under way for it belongs to this turn.
    pub(crate) turn: u64,
    /// Since when it has been waiting, once it is.
    pub(crate) began_to_wait: Option<Moment>,
    pub(crate) failed: Vec<MemberName>,
    pub(crate) rest_until: Moment,
    /// When it met the doubt it waits out.
    pub(crate) doubt_met: Option<Moment>,
    /// How many members it has tried without a pause.
    pub(crate) tries: u32,
    /// Since when a target has been there for it, while it waits for none.
    pub(crate) overlooked: Option<Moment>,
}

#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Waiting(Wait),
    Connecting(Place),
    /// It said who it is, and the server has not answered.
    Exchanging(Place),
    Open(Place, Moment),
}

/// Why a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    NoTarget,
    NotNow,
    Doubted,
}

/// Where a session is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) seat: u64,
    pub(crate) target: Target,
    pub(crate) node: usize,
}

impl Phase {
    pub(crate) const fn place(&self) -> Option<&Place> {
        match self {
            Self::Waiting(_) => None,
            Self::Connecting(place) | Self::Exchanging(place) | Self::Open(place, _) => Some(place),
        }
    }
}

impl World {
    /// Somebody connects to a router, and the next will before long.
    pub(crate) fn client_comes(&mut self, number: usize) {
        let next = self.chance.millis(20, 900);
        self.after(next, Event::ClientComes(number));
        let place = if self.chance.in_hundred(70) {
            0
        } else {
            self.chance
                .place(self.routers[number].cluster.listeners.len())
        };
        if self.routers[number].clients.len() > 60 {
            return;
        }
        let client = Client {
            place,
            phase: Phase::Waiting(Wait::NotNow),
            turn: 0,
            began_to_wait: None,
            failed: Vec::new(),
            rest_until: Moment::BOOT,
            tries: 0,
            overlooked: None,
            doubt_met: None,
        };
        let name = self.number();
        self.routers[number].clients.insert(name, client);
        self.attempt(number, name);
    }

    /// A new turn: what was under way for the client no longer counts.
    pub(crate) fn turn_client(&mut self, number: usize, name: u64, phase: Phase) -> u64 {
        let router = &mut self.routers[number];
        router.turn += 1;
        let turn = router.turn;
        if let Some(client) = router.clients.get_mut(&name) {
            client.turn = turn;
            client.phase = phase;
            client.overlooked = None;
        }
        turn
    }

    pub(crate) fn client(&self, number: usize, name: u64, turn: u64) -> Option<&Client> {
        let client = self.routers[number].clients.get(&name)?;
        (client.turn == turn).then_some(client)
    }

    /// A client's timer: its wait or its connecting took long enough, or it has had enough of its session.
    pub(crate) fn client_moves(&mut self, number: usize, name: u64, turn: u64) {
        let Some(client) = self.client(number, name, turn) else {
            return;
        };
        match client.phase.clone() {
            Phase::Waiting(_) => self.attempt(number, name),
            Phase::Connecting(place) => self.lost_server(number, name, &place),
            Phase::Exchanging(_) | Phase::Open(..) => {
                drop(self.routers[number].clients.remove(&name))
            }
        }
    }

    /// Whoever is held looks again, since a decision changed.
    pub(crate) fn wake_held(&mut self, number: usize) {
        let waiting = self.routers[number].clients.iter();
        let waiting = waiting.filter(|(_, client)| matches!(client.phase, Phase::Waiting(_)));
        let waiting: Vec<(u64, u64)> = waiting.map(|(name, it)| (*name, it.turn)).collect();
        for (name, turn) in waiting {
            let soon = self.chance.millis(0, 1);
            self.after(soon, Event::ClientMoves(number, name, turn));
        }
    }

    /// A seat's switch is fired: what is on it ends, who was only connecting looks for another.
    pub(crate) fn kill(&mut self, number: usize, seat: &Seat, place: usize, target: &Target) {
        let on_it = self.routers[number].clients.iter();
        let on_it = on_it.filter(|(_, client)| {
            let here = client.phase.place();
            here.is_some_and(|here| here.seat == seat.number)
        });
        let on_it: Vec<(u64, Phase)> = on_it.map(|(name, it)| (*name, it.phase.clone())).collect();
        let open = on_it.iter().filter(|(_, it)| matches!(it, Phase::Open(..)));
        let ended = open.count();
        self.trace(|| {
            format!(
                "router {number}: kills {ended} of {place} on {}",
                target.member
            )
        });
        for (name, phase) in on_it {
            match phase {
                Phase::Open(..) => {
                    self.tally.hit("a session killed");
                    self.routers[number].clients.remove(&name);
                }
                Phase::Connecting(place) | Phase::Exchanging(place) => {
                    self.lost_server(number, name, &place);
                }
                Phase::Waiting(_) => {}
            }
        }
    }

    /// The server closed the connection.
    pub(crate) fn server_closed(&mut self, number: usize, name: u64, turn: u64) {
        let Some(client) = self.client(number, name, turn) else {
            return;
        };
        match client.phase.clone() {
            Phase::Open(place, since) => {
                let pool = client.place;
                self.routers[number].clients.remove(&name);
                self.tally.hit("a session the server ended");
                if self.now.since(since) >= LOGIN {
                    self.doubt(number, pool, &place);
                }
            }
            Phase::Connecting(place) | Phase::Exchanging(place) => {
                self.lost_server(number, name, &place);
            }
            Phase::Waiting(_) => {}
        }
    }

    /// A session had reason to doubt its target.
    pub(crate) fn doubt(&mut self, number: usize, pool: usize, place: &Place) {
        let now = self.now;
        let key = (pool, place.target.clone());
        if let Some(seat) = self.routers[number].seats.get_mut(&key)
            && seat.number == place.seat
        {
            seat.doubted = now;
        }
        self.doubt_member(number, &place.target.member);
    }

    /// PostgreSQL at a node ends: the kernel there closes its sockets.
    pub(crate) fn sessions_end_at(&mut self, node: usize) {
        for number in 0..self.routers.len() {
            for (name, turn) in self.sessions_at(number, node) {
                let closed = Event::ServerClosed(number, name, turn);
                if self
                    .network
                    .is_open(Party::Node(node), Party::Router(number))
                {
                    let takes = self.chance.mostly_short(2, 10);
                    self.after(takes, closed);
                } else {
                    self.after(KEEPALIVE, closed);
                }
            }
        }
    }

    /// The machine vanished: nobody closes anything, keepalive finds out.
    pub(crate) fn sessions_forgotten_at(&mut self, node: usize) {
        for number in 0..self.routers.len() {
            for (name, turn) in self.sessions_at(number, node) {
                self.after(KEEPALIVE, Event::ServerClosed(number, name, turn));
            }
        }
    }

    fn sessions_at(&self, number: usize, node: usize) -> Vec<(u64, u64)> {
        let clients = self.routers[number].clients.iter();
        let there = clients.filter(|(_, client)| match &client.phase {
            Phase::Exchanging(place) | Phase::Open(place, _) => place.node == node,
            Phase::Waiting(_) | Phase::Connecting(_) => false,
        });
        there.map(|(name, client)| (*name, client.turn)).collect()
    }

    /// What should be so of every client now: no hold beyond its bound, nobody overlooked, nobody on a dead seat.
    pub(crate) fn check_clients(&mut self, number: usize) {
        let router = &mut self.routers[number];
        let Some(table) = &router.table else { return };
        let just_thawed = self.now.since(router.thawed) < Duration::from_millis(300);
        let mut problem = None;
        for (name, client) in &mut router.clients {
            let (pool, listener) = (
                &table.pools[client.place],
                &router.cluster.listeners[client.place],
            );
            if let Phase::Open(place, _) = &client.phase {
                let stays = pool.residents.get(&place.target);
                if matches!(stays, None | Some(Residence::End)) {
                    let member = &place.target.member;
                    problem = Some(format!(
                        "session {name} of {} lives on {member}",
                        pool.listener
                    ));
                }
                continue;
            }
            let Phase::Waiting(wait) = client.phase else {
                continue;
            };
            let bound = listener.hold.time.max(LOGIN) + listener.connect_timeout * 3 + LOGIN;
            let since = client.began_to_wait.unwrap_or(self.now);
            if self.now.since(since) > bound && !just_thawed {
                problem = Some(format!("client {name} is held since {since}: {wait:?}"));
            }
            let there = pool.verdict == Verdict::Route && self.now <= pool.valid_until;
            if wait != Wait::NoTarget || !there {
                client.overlooked = None;
            } else {
                let since = *client.overlooked.get_or_insert(self.now);
                if self.now.since(since) > Duration::from_millis(50) && !just_thawed {
                    problem = Some(format!("client {name} is held although there is a target"));
                }
            }
        }
        if let Some(problem) = problem {
            self.fails(|| format!("router {number}: {problem}"));
        }
    }
}
