//! What happens when: everything in a run is an event in one queue, ordered by its moment and then by its number.

use std::collections::BTreeMap;

use trunkline_core::Moment;
use trunkline_core::follow::Change;

use crate::etcd::{Answer, Request};
use crate::faults::Fault;
use crate::network::Party;
use crate::node::Heard;

#[derive(Clone, Debug)]
pub(crate) enum Event {
    EtcdTick,
    EtcdAsked(Request),
    EtcdAgrees(Request, u64),
    EtcdReplies(Request, Option<Answer>, usize),
    EtcdAnswered(Party, u64, Answer),
    EtcdCatchesUp(usize),
    WatchAsked(u64, usize, usize, i64),
    WatchBegun(usize, u64),
    WatchTold(u64, Vec<Change>, Moment),
    AgentWakes(usize, u64),
    AgentTimesOut(usize, u64),
    PostgresMoves(usize, u64),
    RestAsked(usize, usize, u64),
    RestSlow(usize, usize, u64, Heard),
    PostgresAsked(usize, usize, u64),
    NodeAnswered(usize, u64, Heard),
    /// Of a router in its present life: the second number.
    Feed(usize, u64),
    EtcdTimesOut(usize, u64),
    Poll(usize, u64),
    PollTimesOut(usize, u64),
    Look(usize, u64),
    ClientComes(usize),
    ClientMoves(usize, u64, u64),
    ClientConnects(usize, usize, u64, u64),
    ClientConnected(usize, u64, u64, bool),
    ServerClosed(usize, u64, u64),
    Begins(Fault),
    Ends(Fault),
    AllIsWell,
}

impl Event {
    /// The router it reaches, if it is one that may be frozen.
    pub(crate) const fn router(&self) -> Option<usize> {
        match self {
            Self::EtcdAnswered(Party::Router(router), ..)
            | Self::WatchBegun(router, _)
            | Self::NodeAnswered(router, ..)
            | Self::Feed(router, _)
            | Self::EtcdTimesOut(router, _)
            | Self::Poll(router, _)
            | Self::PollTimesOut(router, _)
            | Self::Look(router, _)
            | Self::ClientComes(router)
            | Self::ClientMoves(router, ..)
            | Self::ClientConnected(router, ..)
            | Self::ServerClosed(router, ..) => Some(*router),
            Self::EtcdTick
            | Self::EtcdAsked(_)
            | Self::EtcdAgrees(..)
            | Self::EtcdReplies(..)
            | Self::EtcdAnswered(..)
            | Self::EtcdCatchesUp(_)
            | Self::WatchAsked(..)
            | Self::WatchTold(..)
            | Self::AgentWakes(..)
            | Self::AgentTimesOut(..)
            | Self::PostgresMoves(..)
            | Self::RestAsked(..)
            | Self::RestSlow(..)
            | Self::PostgresAsked(..)
            | Self::ClientConnects(..)
            | Self::Begins(_)
            | Self::Ends(_)
            | Self::AllIsWell => None,
        }
    }
}

/// What is to come.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    events: BTreeMap<(Moment, u64), Event>,
    number: u64,
}

impl Queue {
    pub(crate) fn add(&mut self, at: Moment, event: Event) {
        self.number += 1;
        self.events.insert((at, self.number), event);
    }

    pub(crate) fn next(&mut self) -> Option<(Moment, Event)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}
