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
use crate::router::clients::Phase;
use crate::truth::Truth;
use crate::world::World;

/// How long an agent that wakes up has to stop PostgreSQL.
const AWAKE: Duration = Duration::from_secs(1);
/// How long answers of members may have been under way.
const ANSWERS: Duration = Duration::from_secs(5);
/// How long a router's evidence carries, with what requests under way add.
const EVIDENCE: Duration = Duration::from_secs(5);
/// Two acknowledge at one time if both do within this.
const SIDE_BY_SIDE: Duration = Duration::from_millis(120);

/// What was promoted when: one term of office.
#[derive(Clone, Copy, Debug)]
struct Term {
    branch: u64,
    node: usize,
    at: Moment,
}

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
    terms: Vec<Term>,
    writers: BTreeMap<u64, usize>,
    wrote: BTreeMap<usize, (u32, Moment)>,
    handover: Option<Handover>,
}

impl World {
    /// What nobody can be blamed for: somebody changed the store or the lock by hand, or nobody is to be demoted.
    fn by_hand(&self) -> bool {
        let ago = self.now.before(self.pace.ttl * 2 + Duration::from_secs(4));
        Truth::within(self.truth.paused, Duration::from_secs(60), self.now)
            || self.truth.was_rebuilt_since(ago)
            || self.truth.by_hand.is_some_and(|at| at >= ago)
    }

    /// Whether the agent of ours on this node gets to run, and has for long enough.
    fn runs(&self, number: usize) -> bool {
        let node = &self.nodes[number];
        let ours = node.ours.as_ref();
        let since = ours.map(|ours| ours.runs_since);
        node.up
            && node.agent.alive
            && !node.agent.frozen
            && since.is_some_and(|since| self.now >= since.after(AWAKE))
    }

    /// A primary is made: by promotion, or of a new cluster.
    pub(crate) fn promoted(&mut self, number: usize, branch: u64) {
        // Whoever comes out of recovery late, under another's lock, succeeds nobody: all others go before it.
        let late = self.holder().is_some_and(|holder| holder != number);
        let at = if late { Moment::BOOT } else { self.now };
        let name = self.nodes[number].name.clone();
        self.record.terms.push(Term {
            branch,
            node: number,
            at,
        });
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
        } else if handover.had.iter().any(could) && !self.by_hand() {
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
        if had.is_empty() && self.truth.lies_until <= self.now && !self.by_hand() {
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
        if let Some(other) = other.filter(|_| !self.by_hand()) {
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

    /// A primary told its clients that their writes are safe.
    pub(crate) fn acknowledges(&mut self, number: usize) {
        let now = self.now;
        let log = &self.nodes[number].postgres.log;
        let (branch, timeline) = (log.branch(), log.timeline());
        let before = *self.record.writers.entry(branch).or_insert(number);
        let terms = self.record.terms.iter();
        let mine = terms.clone().rfind(|term| term.branch == branch);
        let began = mine.map_or(Moment::BOOT, |term| term.at);
        let later = |term: &&Term| term.node != number && term.at > began;
        let successor = terms.rev().find(later).copied();
        let runs = self.runs(number);
        let aside = self.record.wrote.iter().find(|(other, (theirs, at))| {
            **other != number && *theirs == timeline && now.since(*at) < SIDE_BY_SIDE
        });
        let aside = aside.map(|(other, _)| *other);
        self.record.wrote.insert(number, (timeline, now));
        let name = self.nodes[number].name.clone();
        if before != number {
            return self.fails(|| format!("I4: {name} writes what another began, {branch}"));
        }
        if let Some(other) = aside.filter(|other| runs && self.runs(*other) && !self.by_hand()) {
            let other = self.nodes[other].name.clone();
            self.fails(|| format!("I4: {name} and {other} both write on timeline {timeline}"));
        }
        // A store that was put back may give the lock to whoever had it then.
        let Some(successor) = successor.filter(|_| self.holder() != Some(number)) else {
            return;
        };
        if runs && !self.by_hand() {
            let (other, at) = (self.nodes[successor.node].name.clone(), successor.at);
            return self.fails(|| {
                format!("I1: {name} acknowledges a write, {other} was promoted at {at}")
            });
        }
        self.tally
            .hit("a write of an earlier term, by whoever sleeps");
        if now >= successor.at.after(EVIDENCE) && !self.by_hand() {
            self.no_session_there(number);
        }
    }

    /// I1: none of these writes came through a router that runs.
    fn no_session_there(&mut self, number: usize) {
        let excused = self.truth.lies_until > self.now;
        let through = |router: &crate::router::Router| {
            let kills =
                router.cluster.when_unproven == trunkline_core::config::router::WhenUnproven::Kill;
            let runs = !router.frozen && self.now.since(router.thawed) > AWAKE;
            let writes = |client: &crate::router::clients::Client| {
                let here = match &client.phase {
                    Phase::Exchanging(place) | Phase::Open(place, _) => place.node == number,
                    Phase::Waiting(_) | Phase::Connecting(_) => false,
                };
                client.place == 0 && here
            };
            kills && runs && router.clients.values().any(writes)
        };
        if let Some(router) = self.routers.iter().position(through)
            && !excused
        {
            let name = self.nodes[number].name.clone();
            self.fails(|| {
                format!("I1: {name} acknowledges through router {router} after its successor's promotion")
            });
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
