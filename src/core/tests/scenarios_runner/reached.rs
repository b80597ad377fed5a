//! What the scenarios reached, of all that a look can decide.

use std::collections::BTreeSet;

use trunkline_core::route::primary::New;
use trunkline_core::route::{Alarm, Because, Out, Place, Residence, Row, Table, Verdict};

/// Everything a look can decide that is no row and no reason, by the names the matches below give it.
const KINDS: &[&str] = &[
    "new clients routed",
    "new clients held",
    "new clients refused",
    "a pool that routes",
    "a pool that holds by the write table",
    "a pool that holds because it is empty",
    "a pool that holds because its member is dead",
    "a pool that refuses",
    "a member in",
    "a member kept",
    "a member by fallback",
    "sessions that stay",
    "sessions that stay for a while",
    "sessions that end",
    "alarm: leader key garbage",
    "alarm: holder silent",
    "alarm: two primaries",
    "alarm: foreign answer",
    "alarm: shared address",
    "alarm: store rebuilt",
    "alarm: remembered",
    "alarm: unreadable key",
    "alarm: no cluster",
    "alarm: no cluster in etcd's v3 store",
    "the lock read elsewhere",
];

/// What was reached.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    rows: BTreeSet<Row>,
    outs: BTreeSet<Out>,
    kinds: BTreeSet<&'static str>,
}

impl Reached {
    /// Takes in a decision.
    pub(crate) fn note(&mut self, table: &Table) {
        self.rows.insert(table.primary.row);
        self.kinds.insert(match table.primary.new {
            New::Route => "new clients routed",
            New::Hold => "new clients held",
            New::Refuse => "new clients refused",
        });
        self.kinds
            .extend(table.read_elsewhere.then_some("the lock read elsewhere"));
        self.kinds.extend(table.alarms.iter().map(alarm));
        for pool in &table.pools {
            self.kinds.insert(verdict(&pool.verdict));
            self.kinds
                .extend(pool.residents.values().copied().map(residence));
            for place in pool.places.values() {
                match place {
                    Place::In => drop(self.kinds.insert("a member in")),
                    Place::Kept => drop(self.kinds.insert("a member kept")),
                    Place::Fallback => drop(self.kinds.insert("a member by fallback")),
                    Place::Out(why) => drop(self.outs.insert(*why)),
                }
            }
        }
    }

    /// What was not, in words.
    pub(crate) fn missing(&self) -> Vec<String> {
        let rows = Row::ALL.iter().filter(|row| !self.rows.contains(row));
        let outs = Out::ALL.iter().filter(|out| !self.outs.contains(out));
        let kinds = KINDS.iter().filter(|kind| !self.kinds.contains(*kind));
        let rows = rows.map(|row| format!("the row {row:?}"));
        let outs = outs.map(|out| format!("the reason {out:?}"));
        rows.chain(outs)
            .chain(kinds.map(ToString::to_string))
            .collect()
    }
}

fn verdict(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Route => "a pool that routes",
        Verdict::Hold(Because::Row { .. }) => "a pool that holds by the write table",
        // Who left a pool is why sessions end; what is left of the pool holds because it is empty.
        Verdict::Hold(Because::EmptyPool | Because::LeftOut(..)) => {
            "a pool that holds because it is empty"
        }
        Verdict::Hold(Because::Dead(_)) => "a pool that holds because its member is dead",
        Verdict::Refuse(_) => "a pool that refuses",
    }
}

fn residence(residence: Residence) -> &'static str {
    match residence {
        Residence::Stay => "sessions that stay",
        Residence::Until(_) => "sessions that stay for a while",
        Residence::End => "sessions that end",
    }
}

fn alarm(alarm: &Alarm) -> &'static str {
    match alarm {
        Alarm::LeaderKeyGarbage => "alarm: leader key garbage",
        Alarm::HolderSilent(_) => "alarm: holder silent",
        Alarm::TwoPrimaries(..) => "alarm: two primaries",
        Alarm::ForeignAnswer(..) => "alarm: foreign answer",
        Alarm::SharedAddress(..) => "alarm: shared address",
        Alarm::StoreRebuilt => "alarm: store rebuilt",
        Alarm::Remembered => "alarm: remembered",
        Alarm::Unreadable(..) => "alarm: unreadable key",
        Alarm::NoCluster => "alarm: no cluster",
        Alarm::NoClusterInVersion3 => "alarm: no cluster in etcd's v3 store",
    }
}
