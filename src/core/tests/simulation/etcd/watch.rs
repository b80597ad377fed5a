//! Watches: what a member tells whoever asked of its changes, in order and complete; unless it misbehaves.

use std::time::Duration;

use trunkline_core::follow::Change;
use trunkline_core::{Moment, Revision};

use super::Answer;
use crate::events::Event;
use crate::network::Party;
use crate::world::World;

/// How long a connection lives that nothing gets through.
const GIVES_UP: Duration = Duration::from_secs(8);

/// A watch, as the member keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) number: u64,
    pub(crate) who: Party,
    pub(crate) member: usize,
    /// It died and nobody was told.
    pub(crate) silent: bool,
    /// When its last news arrives: what comes later overtakes nothing.
    pub(crate) last: Moment,
}

/// How watches misbehave now, in cases of a hundred.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Misbehaviour {
    pub(crate) loses: u32,
    pub(crate) repeats: u32,
    pub(crate) delays: u32,
    pub(crate) reorders: u32,
}

impl World {
    /// Somebody asks to watch from a revision on; returns the watch's number.
    pub(crate) fn ask_watch(&mut self, who: Party, member: usize, from: Revision) -> u64 {
        let number = self.number();
        let asked = Event::WatchAsked(number, who, member, from.0);
        self.send(who, Party::Etcd(member), asked);
        number
    }

    /// It is asked at the member.
    pub(crate) fn watch_asked(&mut self, number: u64, who: Party, member: usize, from: i64) {
        let asked = &mut self.etcd.members[member];
        if !asked.alive {
            let refused = Answer::Failed("connection refused");
            let event = Event::EtcdAnswered(who, number, refused);
            return self.send(Party::Etcd(member), who, event);
        }
        if asked.frozen {
            let event = Event::WatchAsked(number, who, member, from);
            asked.inbox.push(event);
            return;
        }
        if from <= asked.compacted {
            self.tally.hit("a watch from before a compaction");
            let compacted = Answer::Failed("required revision has been compacted");
            let event = Event::EtcdAnswered(who, number, compacted);
            return self.send(Party::Etcd(member), who, event);
        }
        let behind = asked.history.iter().filter(|(at, _)| *at >= from);
        let behind: Vec<_> = behind.cloned().collect();
        if asked.applied < self.etcd.log.len() {
            self.tally.hit("a watch on a member that lags");
        }
        self.etcd.watches.push(Watch {
            number,
            who,
            member,
            silent: false,
            last: self.now,
        });
        let begun = Event::WatchBegun(who, number);
        self.send(Party::Etcd(member), who, begun);
        for (_, changes) in behind {
            self.tell(number, &changes);
        }
    }

    /// A member applied a change: every watch there hears of it.
    pub(crate) fn tell_watchers(&mut self, member: usize, _revision: i64, changes: &[Change]) {
        let here = self.etcd.watches.iter();
        let here = here.filter(|watch| watch.member == member && !watch.silent);
        let numbers: Vec<u64> = here.map(|watch| watch.number).collect();
        for number in numbers {
            self.tell(number, changes);
        }
    }

    fn tell(&mut self, number: u64, changes: &[Change]) {
        let ill = self.misbehaviour;
        if self.chance.in_hundred(ill.loses) {
            return self.tally.hit("a watch event lost");
        }
        if self.chance.in_hundred(ill.repeats) {
            self.tally.hit("a watch event twice");
            let takes = self.chance.millis(1, 2_000);
            self.after(takes, Event::WatchTold(number, changes.to_vec(), self.now));
        }
        let mut takes = self.chance.mostly_short(1, 5) + Duration::from_micros(50);
        if self.chance.in_hundred(ill.delays) {
            self.tally.hit("a watch event late");
            takes += self.chance.millis(100, 4_000);
        }
        let reorders = self.chance.in_hundred(ill.reorders);
        let now = self.now;
        let Some(watch) = self.watch(number) else {
            return;
        };
        let mut at = now.after(takes);
        if reorders {
            self.tally.hit("a watch event out of order");
        } else {
            at = at.max(watch.last.after(Duration::from_micros(1)));
            watch.last = at;
        }
        self.at(at, Event::WatchTold(number, changes.to_vec(), now));
    }

    /// News of a watch arrives, or is sent again because it did not.
    pub(crate) fn watch_told(&mut self, number: u64, changes: Vec<Change>, since: Moment) {
        let Some(watch) = self.watch(number).map(|watch| watch.clone()) else {
            return;
        };
        let (from, to) = (Party::Etcd(watch.member), watch.who);
        if self.network.is_open(from, to) {
            return self.feed_hears_watch(watch.who, number, changes);
        }
        if self.now.since(since) > GIVES_UP {
            return self.end_watch(number, "connection timed out");
        }
        let again = Event::WatchTold(number, changes, since);
        self.after(Duration::from_millis(200), again);
    }

    /// The watch is over and whoever asked knows.
    pub(crate) fn end_watch(&mut self, number: u64, why: &'static str) {
        let found = self.etcd.watches.iter();
        let Some(place) = found.clone().position(|watch| watch.number == number) else {
            return;
        };
        let watch = self.etcd.watches.remove(place);
        let event = Event::EtcdAnswered(watch.who, number, Answer::Failed(why));
        self.after(Duration::from_millis(1), event);
    }

    fn watch(&mut self, number: u64) -> Option<&mut Watch> {
        let mut watches = self.etcd.watches.iter_mut();
        watches.find(|watch| watch.number == number)
    }
}
