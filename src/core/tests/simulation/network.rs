//! Who reaches whom: links that are cut, slow or lossy, one direction at a time.
//!
//! It knows parties and delays, nothing of what is said.

use std::time::Duration;

use trunkline_core::Moment;

use crate::chance::Chance;

/// How many etcd members, nodes and routers there can be.
pub(crate) const ETCDS: usize = 3;
pub(crate) const NODES: usize = 4;
pub(crate) const ROUTERS: usize = 2;
const PARTIES: usize = ETCDS + NODES + ROUTERS;

/// Somebody with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Etcd(usize),
    Node(usize),
    Router(usize),
}

impl Party {
    const fn index(self) -> usize {
        match self {
            Self::Etcd(number) => number,
            Self::Node(number) => ETCDS + number,
            Self::Router(number) => ETCDS + NODES + number,
        }
    }
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    /// How many faults cut it now.
    cuts: u32,
    /// What a packet takes longer, in milliseconds.
    slow: u64,
    /// How many of a thousand packets are lost.
    loss: u32,
    /// When it was last cut or not well.
    ill: Option<Moment>,
}

/// All links.
#[derive(Debug, Default)]
pub(crate) struct Network {
    links: [[Link; PARTIES]; PARTIES],
}

impl Network {
    pub(crate) fn cut(&mut self, from: Party, to: Party) {
        self.link(from, to).cuts += 1;
    }

    pub(crate) fn mend(&mut self, from: Party, to: Party, now: Moment) {
        self.link(from, to).ill = Some(now);
        let cuts = &mut self.link(from, to).cuts;
        *cuts = cuts.saturating_sub(1);
    }

    /// Makes a link slow and lossy, or with zeros well again.
    pub(crate) fn worsen(&mut self, from: Party, to: Party, slow: u64, loss: u32, now: Moment) {
        let link = self.link(from, to);
        link.ill = Some(now);
        (link.slow, link.loss) = (slow, loss);
    }

    pub(crate) const fn is_open(&self, from: Party, to: Party) -> bool {
        self.links[from.index()][to.index()].cuts == 0
    }

    /// Whether both hear each other.
    pub(crate) const fn connects(&self, one: Party, other: Party) -> bool {
        self.is_open(one, other) && self.is_open(other, one)
    }

    /// Whether the link between both was ill, one way or the other, at any time since.
    pub(crate) fn cut_since(&self, one: Party, other: Party, since: Moment) -> bool {
        let ill = |from: Party, to: Party| {
            let link = self.links[from.index()][to.index()];
            let now = link.cuts > 0 || link.slow > 0 || link.loss > 0;
            now || link.ill.is_some_and(|ill| ill >= since)
        };
        ill(one, other) || ill(other, one)
    }

    /// How long something said now takes, or that it never arrives.
    pub(crate) fn carry(&self, from: Party, to: Party, chance: &mut Chance) -> Option<Duration> {
        let link = self.links[from.index()][to.index()];
        if link.cuts > 0 || (link.loss > 0 && chance.in_thousand(link.loss)) {
            return None;
        }
        let slow = if link.slow > 0 {
            chance.millis(link.slow / 4, link.slow)
        } else {
            Duration::ZERO
        };
        Some(chance.mostly_short(1, 6) + Duration::from_micros(50) + slow)
    }

    fn link(&mut self, from: Party, to: Party) -> &mut Link {
        &mut self.links[from.index()][to.index()]
    }
}
