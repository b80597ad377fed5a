//! The witness of agents: what PostgreSQLs acknowledged, and who was promoted, held against the promises.
//!
//! It is written from the promises (A1, A2, A4 of the agent's design), not from the code: it reads the world as it
//! is, and of an agent no more than that it is one of ours and since when it gets to run.

use std::collections::BTreeMap;
use std::time::Duration;

use trunkline_core::Moment;
use trunkline_core::ha::{Action, Decision, Outcome, Reason, Snapshot};

use crate::network::Party;
use crate::node::RestIllness;
use crate::node::log::Log;
use crate::node::postgres::State;
use crate::world::World;

use super::terms::Term;

/// How long answers of members may have been under way.
const ANSWERS: Duration = Duration::from_secs(5);

/// A leader of ours that let go of the lock for somebody who has everything.
#[derive(Clone, Debug)]
struct Handover {
    by: usize,
    log: Log,
    acknowledged: u64,
    at: Moment,
    /// Who had everything then.
    had: Vec<usize>,
}

/// Whether both went apart and call their timelines by one number, as two promotions do that know nothing of each
/// other. PostgreSQL's own tools find nothing to rewind then: that is for a person.
fn is_namesake(one: &Log, other: &Log) -> bool {
    one.timeline() == other.timeline() && one.branch() != other.branch()
}

/// What the witness remembers.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(super) terms: Vec<Term>,
    pub(super) writers: BTreeMap<u64, usize>,
    pub(super) wrote: BTreeMap<usize, (u32, Moment)>,
    handover: Option<Handover>,
}

impl World {
    /// A primary is made: by promotion, or of a new cluster.
    pub(crate) fn promoted(&mut self, number: usize, branch: u64) {
        self.begins_term(number, branch);
        let name = self.nodes[number].name.clone();
        // Whoever comes out of recovery late, under another's lock, is not the one it was let go for.
        let late = self.holder().is_some_and(|holder| holder != number);
        let handover = self.record.handover.take_if(|_| !late);
        let Some(handover) = handover else {
            return;
        };
        let has = handover
            .log
            .is_in_upto(handover.acknowledged, &self.nodes[number].postgres.log);
        let could = |other: &usize| self.could_have_led(*other, number, handover.at);
        if has {
            self.tally.hit("a handover that lost nothing");
        } else if handover.had.iter().any(could) {
            let (by, at) = (self.nodes[handover.by].name.clone(), handover.at);
            self.fails(|| {
                format!("I2: {name} is promoted and lacks what {by} acknowledged before {at}")
            });
        } else {
            self.tally.hit("a handover whose heir went away");
        }
    }

    /// Whether this node, which had everything, could have taken over, or told `winner` that it has more.
    fn could_have_led(&self, number: usize, winner: usize, since: Moment) -> bool {
        let node = &self.nodes[number];
        let well = node.well_since.is_some_and(|well| well <= since);
        let apart = self
            .network
            .cut_since(Party::Node(number), Party::Node(winner), since);
        number != winner && well && !apart && node.postgres.state == State::Running
    }

    /// An agent of ours is about to do something.
    pub(crate) fn is_about_to(&mut self, number: usize, decision: &Decision) {
        let hands_over = matches!(decision.action, Action::Release { optime: Some(_) })
            && decision.reason == Reason::HandingOver;
        if !hands_over {
            return;
        }
        let postgres = &self.nodes[number].postgres;
        if postgres.writes() {
            let name = self.nodes[number].name.clone();
            return self.fails(|| format!("I2: {name} lets go of the lock and takes writes"));
        }
        let (log, acknowledged) = (postgres.log.clone(), postgres.acknowledged);
        let has = |other: &usize| {
            *other != number && log.is_in_upto(acknowledged, &self.nodes[*other].postgres.log)
        };
        let had: Vec<usize> = (0..self.nodes.len()).filter(has).collect();
        if had.is_empty() {
            let name = self.nodes[number].name.clone();
            self.fails(|| format!("I2: {name} lets go of the lock, and nobody has everything"));
        }
        self.tally.hit("a handover");
        self.record.handover = Some(Handover {
            by: number,
            log,
            acknowledged,
            at: self.now,
            had,
        });
    }

    /// An agent of ours did something.
    pub(crate) fn carried_out(
        &mut self,
        number: usize,
        snapshot: &Snapshot,
        decision: &Decision,
        outcome: &Outcome,
    ) {
        let won = decision.action == Action::Acquire && *outcome == Outcome::Done;
        if won && !self.nodes[number].postgres.primary {
            self.may_win(number, snapshot);
        }
    }

    /// I3: a standby that took the lock was allowed to, by what is true of it and of everybody it reaches.
    fn may_win(&mut self, number: usize, snapshot: &Snapshot) {
        self.tally.hit("an election won by one of ours");
        let name = self.nodes[number].name.clone();
        if self.nodes[number].nofailover {
            return self.fails(|| format!("I3: {name} takes the lock, and is never to"));
        }
        let asked_for = snapshot
            .request()
            .and_then(|request| request.candidate.as_ref())
            .is_some_and(|candidate| candidate.as_str() == name);
        if asked_for {
            return;
        }
        let mine = &self.nodes[number].postgres.log;
        let said = self.status_optime();
        let behind = said.saturating_sub(mine.end);
        let most = snapshot.config().maximum_lag_on_failover;
        if behind > most && snapshot.request().is_none() {
            return self.fails(|| format!("I3: {name} takes the lock, {behind} bytes behind"));
        }
        let long = self.now.before(ANSWERS);
        let goes_before = |other: &usize| {
            let there = &self.nodes[*other];
            let reached = *other != number
                && !there.nofailover
                && there.rest == RestIllness::Well
                && there.well_since.is_some_and(|since| since <= long)
                && !self
                    .network
                    .cut_since(Party::Node(number), Party::Node(*other), long);
            let ahead = there.postgres.grew <= long && there.postgres.log.end > mine.end;
            let published = self.etcd.truth.get(&format!("members/{}", there.name));
            reached
                && published.is_some()
                && there.postgres.state == State::Running
                && (ahead || there.postgres.primary)
        };
        let other = (0..self.nodes.len()).find(goes_before);
        if let Some(other) = other {
            let other = self.nodes[other].name.clone();
            self.fails(|| format!("I3: {name} takes the lock, and {other} goes before it"));
        }
    }

    fn status_optime(&self) -> u64 {
        let status = self.etcd.truth.text("status").unwrap_or_default();
        let status: Option<serde_json::Value> = serde_json::from_str(&status).ok();
        status
            .and_then(|status| status["optime"].as_u64())
            .unwrap_or(0)
    }

    /// I3: who is promoted holds the lock at that moment.
    pub(crate) fn begins_promotion(&mut self, number: usize) {
        let holds = self.holder() == Some(number);
        if !holds && !self.by_hand() {
            let name = self.nodes[number].name.clone();
            self.fails(|| format!("I3: {name} is promoted without the lock"));
        }
    }

    /// I5: everybody of ours but the leader follows it.
    pub(crate) fn all_follow(&self, leader: usize) -> bool {
        let log = &self.nodes[leader].postgres.log;
        let follows = |number: usize| {
            let node = &self.nodes[number];
            let postgres = &node.postgres;
            number == leader
                || !node.is_ours
                || (postgres.streams == Some(leader) && postgres.log.is_in(log))
                || is_namesake(&postgres.log, log)
        };
        (0..self.nodes.len()).all(follows)
    }

    /// Keeps up since when each node has been well: its machine, its agent and its PostgreSQL.
    pub(crate) fn watch_health(&mut self, number: usize) {
        let now = self.now;
        let node = &mut self.nodes[number];
        let well = node.up
            && node.agent.alive
            && !node.agent.frozen
            && !node.postgres.frozen
            && node.rest == RestIllness::Well
            && node.postgres.state == State::Running;
        if well {
            node.well_since.get_or_insert(now);
        } else {
            node.well_since = None;
        }
    }
}
