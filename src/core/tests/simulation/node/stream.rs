//! What PostgreSQLs do all the time: primaries acknowledge writes, standbys receive what their upstream wrote.

use std::time::Duration;

use super::postgres::State;
use crate::events::Event;
use crate::network::Party;
use crate::world::World;

/// How often.
const EVERY: Duration = Duration::from_millis(50);
/// What clients write in that time.
const WRITTEN: u64 = 40;

impl World {
    pub(crate) fn postgres_ticks(&mut self) {
        self.after(EVERY, Event::PostgresTick);
        if self.truth.in_pause.is_some_and(|(_, paused)| paused) {
            self.truth.paused = Some(self.now);
        }
        for number in 0..self.nodes.len() {
            self.write(number);
        }
        self.stream();
    }

    /// Clients of a primary write, and are told that it is safe.
    pub(crate) fn write(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        if !node.up || !node.postgres.writes() || node.postgres.stands_still() {
            return;
        }
        node.postgres.log.end += WRITTEN;
        node.postgres.acknowledged = node.postgres.log.end;
        node.postgres.grew = self.now;
        self.acknowledges(number);
    }

    /// Standbys take what is there for them.
    pub(crate) fn stream(&mut self) {
        for number in 0..self.nodes.len() {
            let source = self.source(number);
            let had = self.nodes[number].postgres.streams;
            if had.is_some() && source != had {
                let again = self.chance.mostly_short(200, 3_000);
                let at = self.now.after(again);
                self.nodes[number].postgres.streams_from = at;
                self.nodes[number].postgres.streams = None;
                continue;
            }
            self.nodes[number].postgres.streams = source;
            let Some(source) = source else { continue };
            let frozen = |number: usize| self.nodes[number].postgres.stands_still();
            if frozen(source) || frozen(number) {
                continue;
            }
            let Ok([mine, theirs]) = self.nodes.get_disjoint_mut([number, source]) else {
                continue;
            };
            let (mine, theirs) = (&mut mine.postgres, &theirs.postgres.log);
            if mine.log.end != theirs.end || mine.log.branch() != theirs.branch() {
                mine.log.follow(theirs);
                mine.grew = self.now;
            }
        }
    }

    /// Whom a standby can stream from now.
    fn source(&self, number: usize) -> Option<usize> {
        let node = &self.nodes[number];
        let postgres = &node.postgres;
        let waits = node.up
            && postgres.state == State::Running
            && !postgres.primary
            && !postgres.promoting
            && postgres.streams_from <= self.now;
        let wanted = if node.is_ours {
            let follows = postgres.follows.as_ref().filter(|_| waits)?;
            self.node_of(follows)?
        } else {
            // One that follows Patroni's contract is wherever its agent would have it by now.
            self.holder().filter(|_| waits)?
        };
        let source = &self.nodes[wanted];
        let serves = wanted != number
            && source.up
            && matches!(source.postgres.state, State::Running | State::Stopping)
            && self
                .network
                .connects(Party::Node(wanted), Party::Node(number));
        let fits = if node.is_ours {
            postgres.log.is_in(&source.postgres.log)
        } else {
            source.postgres.writes() || postgres.log.is_in(&source.postgres.log)
        };
        (serves && fits).then_some(wanted)
    }
}
