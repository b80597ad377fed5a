//! PostgreSQL: starting, running, in recovery, being promoted, stopping, gone; its timeline and its position.

use std::time::Duration;

use crate::events::Event;
use crate::network::{NODES, Party};
use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Stopped,
    Crashed,
    Starting,
    Running,
    Stopping,
}

/// What is done once it has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Stays,
    /// Starts as a replica.
    Follows,
    /// Starts as the primary it was.
    Returns,
}

#[derive(Debug)]
pub(crate) struct Postgres {
    pub(crate) state: State,
    /// Whether it is out of recovery, or will be.
    pub(crate) primary: bool,
    pub(crate) promoting: bool,
    pub(crate) frozen: bool,
    pub(crate) timeline: u32,
    pub(crate) at: u64,
    pub(crate) then: Then,
    /// Whether its agent knows its state.
    pub(crate) noticed: bool,
    turn: u64,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            state: State::Running,
            primary: false,
            promoting: false,
            frozen: false,
            timeline: 1,
            at: 1_000_000,
            then: Then::Stays,
            noticed: true,
            turn: 0,
        }
    }
}

impl Postgres {
    pub(crate) const fn word(&self) -> &'static str {
        match self.state {
            State::Stopped => "stopped",
            State::Crashed => "crashed",
            State::Starting => "starting",
            State::Running => "running",
            State::Stopping => "stopping",
        }
    }

    pub(crate) const fn writes(&self) -> bool {
        matches!(self.state, State::Running) && self.primary
    }
}

impl World {
    /// It begins to stop; sessions end at once.
    pub(crate) fn stop_postgres(&mut self, number: usize, then: Then) {
        let postgres = &mut self.nodes[number].postgres;
        if matches!(postgres.state, State::Stopping) {
            postgres.then = then;
            return;
        }
        postgres.state = State::Stopping;
        postgres.promoting = false;
        postgres.then = then;
        self.sessions_end_at(number);
        let takes = self.chance.mostly_short(400, 2_500);
        self.postgres_will_move(number, takes);
    }

    pub(crate) fn start_postgres(&mut self, number: usize, primary: bool) {
        let postgres = &mut self.nodes[number].postgres;
        postgres.state = State::Starting;
        postgres.noticed = true;
        postgres.primary = primary;
        postgres.promoting = false;
        let takes = self.chance.mostly_short(600, 4_000);
        self.postgres_will_move(number, takes);
    }

    pub(crate) fn promote_postgres(&mut self, number: usize) {
        let postgres = &mut self.nodes[number].postgres;
        if postgres.promoting || postgres.primary || postgres.state != State::Running {
            return;
        }
        postgres.promoting = true;
        let takes = self.chance.mostly_short(500, 4_000);
        self.postgres_will_move(number, takes);
    }

    /// It dies; with a machine that lives, sockets are closed.
    pub(crate) fn postgres_dies(&mut self, number: usize, closes: bool) {
        let postgres = &mut self.nodes[number].postgres;
        postgres.state = State::Crashed;
        postgres.noticed = false;
        postgres.promoting = false;
        postgres.frozen = false;
        postgres.turn += 1;
        if closes {
            self.sessions_end_at(number);
        } else {
            self.sessions_forgotten_at(number);
        }
    }

    fn postgres_will_move(&mut self, number: usize, takes: Duration) {
        let postgres = &mut self.nodes[number].postgres;
        postgres.turn += 1;
        let turn = postgres.turn;
        self.after(takes, Event::PostgresMoves(number, turn));
    }

    /// What was under way is done.
    pub(crate) fn postgres_moves(&mut self, number: usize, turn: u64) {
        let node = &mut self.nodes[number];
        if node.postgres.turn != turn || !node.up {
            return;
        }
        if node.postgres.frozen {
            return node.inbox.push(Event::PostgresMoves(number, turn));
        }
        match (node.postgres.state, node.postgres.promoting) {
            (State::Running, true) => {
                node.postgres.promoting = false;
                node.postgres.primary = true;
                node.postgres.timeline += 1;
                let name = node.name.clone();
                self.trace(|| format!("{name}: PostgreSQL is promoted"));
            }
            (State::Starting, _) => node.postgres.state = State::Running,
            (State::Stopping, _) => {
                node.postgres.state = State::Stopped;
                if node.agent.releases {
                    self.agents_notice();
                }
                match self.nodes[number].postgres.then {
                    Then::Stays => {}
                    Then::Follows => self.start_postgres(number, false),
                    Then::Returns => self.start_postgres(number, true),
                }
            }
            (State::Running | State::Stopped | State::Crashed, _) => {}
        }
    }

    /// Primaries write, replicas that reach the holder of the lock follow it.
    pub(crate) fn replicate(&mut self) {
        let holder = self.holder();
        for node in &mut self.nodes {
            if node.up && node.postgres.writes() && !node.postgres.frozen {
                node.postgres.at += 900;
            }
        }
        let Some(leader) = holder.filter(|leader| self.nodes[*leader].postgres.writes()) else {
            return;
        };
        let (timeline, at) = {
            let postgres = &self.nodes[leader].postgres;
            (postgres.timeline, postgres.at)
        };
        for number in 0..self.nodes.len().min(NODES) {
            let reached = self
                .network
                .connects(Party::Node(leader), Party::Node(number));
            let replica = &mut self.nodes[number];
            let follows = replica.up
                && !replica.postgres.frozen
                && replica.postgres.state == State::Running
                && !replica.postgres.primary
                && !replica.postgres.promoting;
            if number != leader && reached && follows {
                replica.postgres.timeline = timeline;
                replica.postgres.at = at;
            }
        }
    }
}
