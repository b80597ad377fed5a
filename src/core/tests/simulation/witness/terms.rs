//! The witness of terms (I1, I4): whoever was primary before acknowledges nothing once its successor is promoted.
//!
//! Terms are in the order of the locks that their promotions rest on, whenever a promotion came to its end. Nobody is
//! excused for holding the lock now, and nobody but a node that sleeps for a promotion that was late. What is held
//! against a write of an earlier term, and what excuses it:
//!
//! - *A node whose agent runs* acknowledges none from the moment of the promotion on. An agent that wakes up has so long
//!   to stop PostgreSQL: [`AWAKE`]. Of Patroni's own no more is asked than it promises, which is nothing.
//! - *A router that runs* carries none, whoever wrote it: from the moment of the promotion on where the earlier leader
//!   is ours, whatever became of its agent. Patroni's says that it leads without saying until when: where etcd says
//!   nothing better, its word carries its sessions for three seconds. By Patroni's own rules for its times that is
//!   within its lease, unless its loop hangs and its REST API does not. And one that runs on without its key has two
//!   seconds to take it back ([`Carries`]). A router that wakes up has so long to look: [`LOOKS`].
//! - *A lock that was taken by hand*, a store that was wiped or put back: whoever held the lock cannot know, and believes
//!   in it as long as its lease would have lasted, and so does a router ([`World::by_hand`]). Who holds the lock in a
//!   store that was put back leads by it, and its writes are of the last term again.
//! - *In pause* nobody is demoted, and a router ends nothing that nobody contradicts; who has not heard of its end goes
//!   on so for a while.
//! - *`when_unproven: keep`* is the operator's word that sessions outlive every proof, while etcd cannot be asked and
//!   the leader is silent; as soon as either speaks, all of the above holds.

use std::time::Duration;

use trunkline_core::Moment;
use trunkline_core::config::router::WhenUnproven;

use super::carries::Carries;
use crate::router::Router;
use crate::router::clients::{Client, Phase};
use crate::truth::{LockWas, Truth};
use crate::world::World;

/// How long an agent that wakes up has to stop PostgreSQL.
const AWAKE: Duration = Duration::from_millis(300);
/// How long a router that wakes up has to look.
const LOOKS: Duration = Duration::from_millis(10);
/// How long the word of a leader of Patroni's carries its sessions.
const WORD: Duration = Duration::from_secs(3);
/// Two acknowledge at one time if both do within this.
const SIDE_BY_SIDE: Duration = Duration::from_millis(120);

/// What was promoted when: one term of office.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    branch: u64,
    node: usize,
    /// Which of the true locks it rests on, by its place; who makes a cluster takes it only afterwards.
    lock: Option<usize>,
    /// When the promotion was done.
    at: Moment,
}

impl World {
    /// Whether somebody changed the store or the lock by hand so lately that a lease of then may still be believed in;
    /// or nobody is to be demoted.
    pub(crate) fn by_hand(&self) -> bool {
        let ago = self.now.before(self.pace.ttl);
        Truth::within(self.truth.paused, self.pace.ttl, self.now)
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

    /// A primary is made.
    pub(super) fn begins_term(&mut self, number: usize, branch: u64) {
        let name = &self.nodes[number].name;
        let is_his = |lock: &LockWas| lock.holder.as_ref() == Some(name);
        self.record.terms.push(Term {
            branch,
            node: number,
            lock: self.truth.locks.iter().rposition(is_his),
            at: self.now,
        });
    }

    /// Whoever made a cluster takes its lock: his term begins with that.
    pub(crate) fn lock_taken(&mut self) {
        let place = self.truth.locks.len().saturating_sub(1);
        let Some(holder) = self.holder() else {
            return;
        };
        let his = self
            .record
            .terms
            .iter_mut()
            .rfind(|term| term.node == holder);
        // A lock that was put back with the store makes its holder's term the present one.
        let put_back = self.truth.rebuilds.last() == Some(&self.now);
        if let Some(term) = his {
            if put_back {
                term.lock = Some(place);
            }
            term.lock.get_or_insert(place);
        }
    }

    /// A primary told its clients that their writes are safe.
    pub(crate) fn acknowledges(&mut self, number: usize) {
        let log = &self.nodes[number].postgres.log;
        let (branch, timeline) = (log.branch(), log.timeline());
        let before = *self.record.writers.entry(branch).or_insert(number);
        if before != number {
            let name = self.nodes[number].name.clone();
            return self.fails(|| format!("I4: {name} writes what another began, {branch}"));
        }
        self.writes_alone(number, timeline);
        let Some(successor) = self.successor(number, branch) else {
            return;
        };
        if self.runs(number) && !self.by_hand() {
            let name = self.nodes[number].name.clone();
            let (other, at) = (self.nodes[successor.node].name.clone(), successor.at);
            return self.fails(|| {
                format!("I1: {name} acknowledges a write, {other} was promoted at {at}")
            });
        }
        self.tally
            .hit("a write of an earlier term, by whoever sleeps");
        for router in 0..self.routers.len() {
            self.carries_nothing(router, number, successor);
        }
    }

    /// I4: no two write on one timeline.
    fn writes_alone(&mut self, number: usize, timeline: u32) {
        let now = self.now;
        let aside = self.record.wrote.iter().find(|(other, (theirs, at))| {
            **other != number && *theirs == timeline && now.since(*at) < SIDE_BY_SIDE
        });
        let aside = aside.map(|(other, _)| *other);
        self.record.wrote.insert(number, (timeline, now));
        let runs = self.runs(number);
        if let Some(other) = aside.filter(|other| runs && self.runs(*other)) {
            let (name, other) = (&self.nodes[number].name, &self.nodes[other].name);
            let (name, other) = (name.clone(), other.clone());
            self.fails(|| format!("I4: {name} and {other} both write on timeline {timeline}"));
        }
    }

    /// Who was promoted after the one who writes this branch.
    fn successor(&self, number: usize, branch: u64) -> Option<Term> {
        let terms = &self.record.terms;
        let mine = terms.iter().rfind(|term| term.branch == branch);
        let mine = mine.and_then(|term| term.lock);
        let succeeds = |term: &&Term| term.node != number && term.lock > mine;
        terms.iter().rfind(succeeds).copied()
    }

    /// I1: none of these writes came through this router.
    fn carries_nothing(&mut self, router: usize, number: usize, successor: Term) {
        let through = &self.routers[router];
        let runs = !through.frozen && self.now.since(through.thawed) > LOOKS;
        let on_it = |client: &Client| {
            let here = match &client.phase {
                Phase::Exchanging(place) | Phase::Open(place, _) => place.node == number,
                Phase::Waiting(_) | Phase::Connecting(_) => false,
            };
            client.place == 0 && here
        };
        if !runs || !through.clients.values().any(on_it) || self.by_hand() {
            return;
        }
        let carries = self.what_carries(through, number, successor.at);
        if let Some(what) = carries {
            return self.tally.hit(what);
        }
        let at = successor.at;
        let (name, other) = (&self.nodes[number].name, &self.nodes[successor.node].name);
        let (name, other) = (name.clone(), other.clone());
        self.fails(|| {
            format!("I1: {name} acknowledges through router {router}, {other} was promoted at {at}")
        });
    }

    /// What keeps sessions on an earlier leader, by what this router was told.
    fn what_carries(&self, router: &Router, number: usize, since: Moment) -> Option<&'static str> {
        let node = &self.nodes[number];
        let keeps = router.cluster.when_unproven == WhenUnproven::Keep;
        match router.witness.carries(&node.name, keeps, self.now) {
            Some(Carries::Pause) => Some("an earlier term carried in pause"),
            Some(Carries::Operator) => Some("an earlier term carried because the operator says so"),
            // It counts its lease from the answer, which may come a round of retries later.
            Some(Carries::Word)
                if !node.is_ours && self.now < since.after(WORD + self.pace.retry) =>
            {
                Some("an earlier term carried by its word")
            }
            Some(Carries::Retake) if !node.is_ours => {
                Some("an earlier term that may retake its key")
            }
            Some(Carries::Word | Carries::Retake) | None => None,
        }
    }
}
