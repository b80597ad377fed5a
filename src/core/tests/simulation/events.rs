//! What happens when: everything in a run is an event in one queue, ordered by its moment and then by its number.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use trunkline_core::follow::Change;
use trunkline_core::wire::rest::StatusDocument;
use trunkline_core::{MemberName, Moment};

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
    WatchAsked(u64, Party, usize, i64),
    WatchBegun(Party, u64),
    WatchTold(u64, Vec<Change>, Moment),
    AgentWakes(usize, u64),
    AgentTimesOut(usize, u64),
    AgentRestarts(usize),
    OursWakes(usize, u64),
    OursDecides(usize, u64),
    OursWaited(usize, u64),
    OursRested(usize, u64),
    PeerAsked(usize, usize, u64),
    PeerAnswered(usize, u64, MemberName, Option<Box<StatusDocument>>),
    PeersDue(usize, u64),
    JobMoves(usize, u64),
    PostmasterEnded(usize),
    /// A signal that waited for this start of PostgreSQL: to end at once, or in order.
    PostgresSignalled(usize, u64, bool),
    PostgresTick,
    PostgresMoves(usize, u64),
    RestAsked(usize, usize, u64),
    RestSlow(usize, usize, u64, Heard),
    PostgresAsked(usize, usize, u64),
    NodeAnswered(usize, u64, Heard),
    /// Of somebody in his present life: the second number.
    Feed(Party, u64),
    EtcdTimesOut(Party, u64),
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
            | Self::WatchBegun(Party::Router(router), _)
            | Self::NodeAnswered(router, ..)
            | Self::Feed(Party::Router(router), _)
            | Self::EtcdTimesOut(Party::Router(router), _)
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
            | Self::WatchBegun(..)
            | Self::Feed(..)
            | Self::EtcdTimesOut(..)
            | Self::EtcdCatchesUp(_)
            | Self::WatchAsked(..)
            | Self::WatchTold(..)
            | Self::AgentWakes(..)
            | Self::AgentTimesOut(..)
            | Self::AgentRestarts(_)
            | Self::OursWakes(..)
            | Self::OursDecides(..)
            | Self::OursWaited(..)
            | Self::OursRested(..)
            | Self::PeerAsked(..)
            | Self::PeerAnswered(..)
            | Self::PeersDue(..)
            | Self::JobMoves(..)
            | Self::PostmasterEnded(_)
            | Self::PostgresSignalled(..)
            | Self::PostgresTick
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

    /// The node whose agent has to run for it, where it is one of ours.
    pub(crate) const fn agent(&self) -> Option<usize> {
        match self {
            Self::EtcdAnswered(Party::Node(node), ..)
            | Self::WatchBegun(Party::Node(node), _)
            | Self::Feed(Party::Node(node), _)
            | Self::EtcdTimesOut(Party::Node(node), _)
            | Self::OursWakes(node, _)
            | Self::OursDecides(node, _)
            | Self::OursWaited(node, _)
            | Self::OursRested(node, _)
            | Self::PeerAnswered(node, ..)
            | Self::PeersDue(node, _)
            | Self::JobMoves(node, _)
            | Self::PostmasterEnded(node) => Some(*node),
            Self::EtcdTick
            | Self::EtcdAsked(_)
            | Self::EtcdAgrees(..)
            | Self::EtcdReplies(..)
            | Self::EtcdAnswered(..)
            | Self::EtcdCatchesUp(_)
            | Self::WatchAsked(..)
            | Self::WatchBegun(..)
            | Self::WatchTold(..)
            | Self::AgentWakes(..)
            | Self::AgentTimesOut(..)
            | Self::AgentRestarts(_)
            | Self::PeerAsked(..)
            | Self::PostgresSignalled(..)
            | Self::PostgresTick
            | Self::PostgresMoves(..)
            | Self::RestAsked(..)
            | Self::RestSlow(..)
            | Self::PostgresAsked(..)
            | Self::NodeAnswered(..)
            | Self::Feed(..)
            | Self::EtcdTimesOut(..)
            | Self::Poll(..)
            | Self::PollTimesOut(..)
            | Self::Look(..)
            | Self::ClientComes(_)
            | Self::ClientMoves(..)
            | Self::ClientConnects(..)
            | Self::ClientConnected(..)
            | Self::ServerClosed(..)
            | Self::Begins(_)
            | Self::Ends(_)
            | Self::AllIsWell => None,
        }
    }
}

/// What is to come: moments in their order, and what happens then in places that are used again.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    order: BinaryHeap<Reverse<(Moment, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    number: u64,
}

impl Queue {
    pub(crate) fn add(&mut self, at: Moment, event: Event) {
        self.number += 1;
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.order.push(Reverse((at, self.number, place)));
    }

    pub(crate) fn next(&mut self) -> Option<(Moment, Event)> {
        let Reverse((at, _, place)) = self.order.pop()?;
        self.free.push(place);
        Some((at, self.events[place].take()?))
    }
}
