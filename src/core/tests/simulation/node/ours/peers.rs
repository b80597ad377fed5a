//! Asking the other members' REST APIs, all at once, as `src/agent/peers.rs` does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use trunkline_core::ha::{Outcome, PeerWord, settled};
use trunkline_core::wire::rest::StatusDocument;
use trunkline_core::{MemberName, Moment};

use crate::events::Event;
use crate::network::Party;
use crate::node::RestIllness;
use crate::world::World;

/// How long a member may take to answer.
const WITHIN: Duration = Duration::from_secs(2);
/// How often it is asked whether the silent ones have to be waited for.
const LOOKS: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Asking {
    question: u64,
    asked: BTreeSet<MemberName>,
    words: BTreeMap<MemberName, PeerWord>,
    began: Moment,
    until: Moment,
}

impl World {
    pub(super) fn ask_peers(&mut self, number: usize, asked: BTreeSet<MemberName>, by: Moment) {
        let question = self.number();
        let now = self.now;
        let until = now.after(WITHIN).min(by);
        self.after(
            LOOKS.min(until.since(now)),
            Event::PeersDue(number, question),
        );
        for other in 0..self.nodes.len() {
            let name = MemberName::from(&*self.nodes[other].name);
            if asked.contains(&name) {
                let event = Event::PeerAsked(other, number, question);
                self.send(Party::Node(number), Party::Node(other), event);
            }
        }
        self.ours(number).asking = Some(Asking {
            question,
            asked,
            words: BTreeMap::new(),
            began: now,
            until,
        });
    }

    /// A member is asked by an agent of ours.
    pub(crate) fn peer_asked(&mut self, number: usize, from: usize, question: u64) {
        let node = &mut self.nodes[number];
        if !node.up {
            return;
        }
        if node.agent.alive && node.agent.frozen && !node.agent.hangs {
            let again = Event::PeerAsked(number, from, question);
            return node.inbox.push(again);
        }
        let word = match &node.rest {
            _ if !node.agent.alive => None,
            RestIllness::Silent => return,
            RestIllness::Refuses | RestIllness::Garbage => None,
            RestIllness::Stale(_, body) => Some(body.clone()),
            // A peer that somebody else answers for is told by its name in `peers.rs`'s caller, or not at all.
            RestIllness::Foreign(..) => None,
            RestIllness::Well | RestIllness::Slow(_) => self.word(number).map(|(_, body)| body),
        };
        let slow = if let RestIllness::Slow(by) = self.nodes[number].rest {
            Duration::from_millis(by)
        } else {
            Duration::ZERO
        };
        let document = word.and_then(|body| StatusDocument::parse(body.as_bytes()).ok());
        let name = MemberName::from(&*self.nodes[number].name);
        let answer = Event::PeerAnswered(from, question, name, document.map(Box::new));
        let (to, by) = (Party::Node(from), Party::Node(number));
        if let Some(takes) = self.network.carry(by, to, &mut self.chance) {
            self.after(takes + slow, answer);
        }
    }

    pub(crate) fn peer_answered(
        &mut self,
        number: usize,
        question: u64,
        name: MemberName,
        document: Option<Box<StatusDocument>>,
    ) {
        let Some(asking) = &mut self.ours(number).asking else {
            return;
        };
        if asking.question != question {
            return;
        }
        let word = match document {
            Some(document) => PeerWord::Says(document),
            None => PeerWord::Silent("refused".to_owned()),
        };
        asking.words.insert(name, word);
        self.peers_settle(number);
    }

    pub(crate) fn peers_due(&mut self, number: usize, question: u64) {
        let now = self.now;
        let Some(asking) = &self.ours(number).asking else {
            return;
        };
        if asking.question != question {
            return;
        }
        let left = asking.until.since(now);
        if left.is_zero() {
            return self.peers_are_over(number, true);
        }
        self.after(LOOKS.min(left), Event::PeersDue(number, question));
        self.peers_settle(number);
    }

    fn peers_settle(&mut self, number: usize) {
        let now = self.now;
        let ours = self.ours(number);
        let (Some(asking), Some(round)) = (&ours.asking, &ours.round) else {
            return;
        };
        let Some(decided) = &round.decided else {
            return;
        };
        let settles = |waited| settled(&decided.0, &asking.words, waited);
        let all = asking.words.len() >= asking.asked.len();
        if all || settles(now.since(asking.began)) {
            // Settled by patience alone: whoever has not answered is taken for silent.
            let presumed = !settles(Duration::ZERO);
            self.peers_are_over(number, presumed);
        }
    }

    /// Enough is known; or the time is over, and who has not answered is silent.
    fn peers_are_over(&mut self, number: usize, presumed: bool) {
        let ours = self.ours(number);
        let Some(mut asking) = ours.asking.take() else {
            return;
        };
        if presumed {
            for name in asking.asked {
                let silent = || PeerWord::Silent("no answer in time".to_owned());
                asking.words.entry(name).or_insert_with(silent);
            }
        }
        if let Some(round) = &mut ours.round {
            round.peers.extend(asking.words);
        }
        self.step_ends(number, &Outcome::Done);
    }
}
