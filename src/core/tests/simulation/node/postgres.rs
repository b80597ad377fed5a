//! PostgreSQL: starting, running, in recovery, being promoted, stopping, gone; its log and what its control file says.

use std::collections::BTreeMap;
use std::time::Duration;

use trunkline_core::Moment;
use trunkline_core::postgres::{ControlState, Upstream};

use super::log::Log;
use crate::events::Event;
use crate::world::{START, World};

/// What the record of a shutdown checkpoint takes.
const CHECKPOINT: u64 = 120;
/// How long a shutdown waits for standbys that do not take the rest of the log.
const DRAINS: Duration = Duration::from_secs(3);

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
    /// Whether there is no data directory; it is stopped then.
    pub(crate) empty: bool,
    /// Whether it is out of recovery, or will be.
    pub(crate) primary: bool,
    pub(crate) promoting: bool,
    pub(crate) frozen: bool,
    /// Whether only the postmaster is: who is connected goes on, and nobody else gets in.
    pub(crate) hangs: bool,
    pub(crate) log: Log,
    /// How far clients were told that their writes are safe.
    pub(crate) acknowledged: u64,
    /// When its log last grew.
    pub(crate) grew: Moment,
    pub(crate) then: Then,
    /// Whether its agent knows its state.
    pub(crate) noticed: bool,
    pub(crate) control: ControlState,
    pub(crate) checkpoint: u64,
    pub(crate) checkpoint_timeline: u32,
    /// Whether `standby.signal` stands in the directory, and `backup_label`.
    pub(crate) signal: bool,
    pub(crate) backup_label: bool,
    pub(crate) follows: Option<Upstream>,
    /// Which node it streams from now, and since when it may.
    pub(crate) streams: Option<usize>,
    pub(crate) streams_from: Moment,
    /// Slots and how far each is.
    pub(crate) slots: BTreeMap<String, u64>,
    /// Which start of it this is.
    pub(crate) life: u64,
    /// Since when a shutdown waits for standbys.
    drains: Option<Moment>,
    turn: u64,
}

impl Postgres {
    /// One that is running as a standby of a cluster whose first branch this is.
    pub(crate) fn new(branch: u64) -> Self {
        let log = Log::new(branch);
        Self {
            state: State::Running,
            empty: false,
            primary: false,
            promoting: false,
            frozen: false,
            hangs: false,
            acknowledged: 0,
            grew: START,
            then: Then::Stays,
            noticed: true,
            control: ControlState::InArchiveRecovery,
            checkpoint: log.end,
            checkpoint_timeline: 1,
            signal: true,
            backup_label: false,
            follows: None,
            streams: None,
            streams_from: START,
            slots: BTreeMap::new(),
            life: 1,
            drains: None,
            turn: 0,
            log,
        }
    }

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

    /// Whether nothing of it runs.
    pub(crate) const fn stands_still(&self) -> bool {
        self.frozen && !self.hangs
    }

    /// How far its log reaches: the timeline first.
    pub(crate) fn place(&self) -> (u32, u64) {
        (self.log.timeline(), self.log.end)
    }

    pub(crate) const fn is_up(&self) -> bool {
        matches!(
            self.state,
            State::Starting | State::Running | State::Stopping
        )
    }
}

impl World {
    /// It begins to stop; sessions end at once.
    pub(crate) fn stop_postgres(&mut self, number: usize, then: Then) {
        self.nodes[number].postgres.then = then;
        let state = self.nodes[number].postgres.state;
        if !matches!(state, State::Running | State::Starting) {
            return;
        }
        self.write(number);
        let postgres = &mut self.nodes[number].postgres;
        postgres.state = State::Stopping;
        postgres.promoting = false;
        postgres.drains = None;
        postgres.streams = None;
        if postgres.primary {
            postgres.control = ControlState::ShuttingDown;
        }
        self.sessions_end_at(number);
        let takes = self.takes(number, 400, 2_500);
        self.postgres_will_move(number, takes);
    }

    pub(crate) fn start_postgres(&mut self, number: usize, primary: bool) {
        let life = self.number();
        let reconnects = self.chance.mostly_short(300, 6_000);
        let takes = self.takes(number, 600, 4_000);
        let postgres = &mut self.nodes[number].postgres;
        postgres.state = State::Starting;
        postgres.noticed = true;
        postgres.primary = primary;
        postgres.signal = !primary;
        postgres.promoting = false;
        postgres.life = life;
        postgres.streams = None;
        postgres.streams_from = self.now.after(takes + reconnects);
        self.postgres_will_move(number, takes);
    }

    pub(crate) fn promote_postgres(&mut self, number: usize) {
        let takes = self.takes(number, 500, 4_000);
        let postgres = &mut self.nodes[number].postgres;
        if postgres.promoting || postgres.primary || postgres.state != State::Running {
            return;
        }
        postgres.promoting = true;
        postgres.streams = None;
        self.postgres_will_move(number, takes);
    }

    /// It dies; with a machine that lives, sockets are closed.
    pub(crate) fn postgres_dies(&mut self, number: usize, closes: bool) {
        if !self.nodes[number].postgres.is_up() {
            return;
        }
        self.write(number);
        let postgres = &mut self.nodes[number].postgres;
        postgres.state = State::Crashed;
        postgres.noticed = false;
        postgres.promoting = false;
        (postgres.frozen, postgres.hangs) = (false, false);
        postgres.streams = None;
        postgres.turn += 1;
        if closes {
            self.sessions_end_at(number);
        } else {
            self.sessions_forgotten_at(number);
        }
        self.postgres_changed(number);
    }

    /// How long something of PostgreSQL's takes: longer on a slow disk.
    pub(crate) fn takes(&mut self, number: usize, usual: u64, longest: u64) -> Duration {
        let takes = self.chance.mostly_short(usual, longest);
        if self.nodes[number].slow_disk {
            takes * 5
        } else {
            takes
        }
    }

    pub(crate) fn postgres_will_move(&mut self, number: usize, takes: Duration) {
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
            (State::Running, true) => self.postgres_promoted(number),
            (State::Starting, _) => {
                let postgres = &mut node.postgres;
                postgres.state = State::Running;
                postgres.backup_label = false;
                postgres.control = if postgres.primary {
                    ControlState::InProduction
                } else {
                    ControlState::InArchiveRecovery
                };
            }
            (State::Stopping, _) => self.shuts_down(number),
            (State::Running | State::Stopped | State::Crashed, _) => {}
        }
        self.postgres_changed(number);
    }

    fn postgres_promoted(&mut self, number: usize) {
        let branch = self.number();
        let node = &mut self.nodes[number];
        node.postgres.promoting = false;
        node.postgres.primary = true;
        node.postgres.signal = false;
        node.postgres.control = ControlState::InProduction;
        node.postgres.log.forks(branch);
        // The record of the end of recovery.
        node.postgres.log.end += CHECKPOINT;
        let (name, timeline) = (node.name.clone(), node.postgres.log.timeline());
        self.trace(|| format!("{name}: PostgreSQL is promoted to timeline {timeline}"));
        self.promoted(number, branch);
    }

    /// The last checkpoint is written and sent; then it is gone.
    fn shuts_down(&mut self, number: usize) {
        let now = self.now;
        let postgres = &mut self.nodes[number].postgres;
        if !postgres.primary {
            postgres.control = ControlState::ShutDownInRecovery;
            return self.postgres_stopped(number);
        }
        let since = match postgres.drains {
            Some(since) => since,
            None => {
                postgres.checkpoint = postgres.log.end;
                postgres.checkpoint_timeline = postgres.log.timeline();
                postgres.log.end += CHECKPOINT;
                postgres.control = ControlState::ShutDown;
                postgres.drains = Some(now);
                now
            }
        };
        let end = postgres.log.end;
        let waits = self.nodes.iter().any(|node| {
            let it = &node.postgres;
            it.streams == Some(number) && it.log.end < end
        });
        if waits && now.since(since) < DRAINS {
            self.stream();
            let soon = self.chance.millis(5, 40);
            return self.postgres_will_move(number, soon);
        }
        self.postgres_stopped(number);
    }

    fn postgres_stopped(&mut self, number: usize) {
        let node = &mut self.nodes[number];
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
}
