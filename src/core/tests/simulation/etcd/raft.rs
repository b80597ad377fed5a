//! Who leads, what is committed, who has applied what, and when leases run out.

use std::collections::BTreeMap;
use std::time::Duration;

use trunkline_core::Moment;

use super::store::{Done, Op};
use crate::events::Event;
use crate::network::{ETCDS, Party};
use crate::world::World;

/// How often leadership and leases are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// How long members wait for a leader that is silent.
const ELECTION: Duration = Duration::from_secs(1);

impl World {
    /// Elections, catching up, leases that ran out.
    pub(crate) fn etcd_ticks(&mut self) {
        self.after(TICK, Event::EtcdTick);
        self.lonely_leaders_step_down();
        match self.etcd.leader {
            Some(leader) if self.has_quorum(leader) => {
                self.etcd.leaderless = None;
                self.followers_follow(leader);
                self.leases_run_out(leader);
            }
            Some(_) | None => {
                let since = *self.etcd.leaderless.get_or_insert(self.now);
                if self.now.since(since) >= ELECTION {
                    self.elect();
                }
            }
        }
    }

    /// A leader that hears no quorum for an election's time leads no more: it renews no leases either.
    fn lonely_leaders_step_down(&mut self) {
        for number in 0..ETCDS {
            let alone = self.works(number) && !self.has_quorum(number);
            let member = &mut self.etcd.members[number];
            if !alone || member.lessor.is_none() {
                member.alone = None;
            } else if self.now.since(*member.alone.get_or_insert(self.now)) >= ELECTION {
                member.lessor = None;
                if self.etcd.leader == Some(number) {
                    self.etcd.leader = None;
                }
            }
        }
    }

    fn works(&self, member: usize) -> bool {
        let member = &self.etcd.members[member];
        member.alive && !member.frozen
    }

    fn hear_each_other(&self, one: usize, other: usize) -> bool {
        one == other
            || (self.works(one)
                && self.works(other)
                && self.network.connects(Party::Etcd(one), Party::Etcd(other)))
    }

    /// Whether more than half of the members work and hear `member`.
    pub(crate) fn has_quorum(&self, member: usize) -> bool {
        let heard = (0..ETCDS).filter(|other| self.hear_each_other(member, *other));
        self.works(member) && heard.count() > ETCDS / 2
    }

    /// Whether `member` leads or hears a leader, and the leader a quorum.
    pub(crate) fn leads_for(&self, member: usize) -> bool {
        self.etcd
            .leader
            .is_some_and(|leader| self.has_quorum(leader) && self.hear_each_other(member, leader))
    }

    /// Who counts leases as far as `member` knows: the leader; itself, if it led and has not heard of another.
    pub(crate) fn lessor_for(&self, member: usize) -> Option<usize> {
        if self.etcd.members[member].lessor.is_some() {
            return Some(member);
        }
        self.etcd
            .leader
            .filter(|leader| self.hear_each_other(member, *leader))
    }

    /// Commits an entry: a quorum has it, and what it does is true from now on.
    pub(crate) fn commit(&mut self, op: Op) -> Done {
        let Some(leader) = self.etcd.leader else {
            return Done::Refused;
        };
        let before = self.etcd.truth.text("leader");
        let (done, _) = self.etcd.truth.apply(&op);
        if let Op::Grant(lease, seconds) = &op {
            let ends = self.now.after(Duration::from_secs(seconds.unsigned_abs()));
            if let Some(lessor) = &mut self.etcd.members[leader].lessor {
                lessor.insert(*lease, ends);
            }
        }
        self.etcd.log.push(op);
        self.lock_changes(before.as_deref());
        let length = self.etcd.log.len();
        for member in 0..ETCDS {
            if self.hear_each_other(member, leader) {
                self.etcd.members[member].received = length;
                if member == leader {
                    self.catch_up(member);
                } else {
                    let takes = self.chance.mostly_short(2, 20);
                    self.after(takes, Event::EtcdCatchesUp(member));
                }
            }
        }
        done
    }

    /// A member applies what it has, and tells who watches.
    pub(crate) fn catch_up(&mut self, number: usize) {
        let member = &mut self.etcd.members[number];
        if !member.alive || member.frozen || member.stalled {
            return;
        }
        let mut told = Vec::new();
        while member.applied < member.received {
            let op = &self.etcd.log[member.applied];
            let (_, changes) = member.store.apply(op);
            member.applied += 1;
            if !changes.is_empty() {
                member
                    .history
                    .push((member.store.revision, changes.clone()));
                told.push((member.store.revision, changes));
            }
        }
        for (revision, changes) in told {
            self.tell_watchers(number, revision, &changes);
        }
    }

    fn followers_follow(&mut self, leader: usize) {
        for member in 0..ETCDS {
            if self.hear_each_other(leader, member) {
                self.etcd.members[member].term = self.etcd.term;
                self.etcd.members[member].received = self.etcd.log.len();
                if member != leader {
                    self.etcd.members[member].lessor = None;
                }
                self.catch_up(member);
            }
        }
    }

    fn leases_run_out(&mut self, leader: usize) {
        let Some(lessor) = &mut self.etcd.members[leader].lessor else {
            return;
        };
        let over = lessor.iter().filter(|(_, ends)| **ends <= self.now);
        let over: Vec<(i64, Moment)> = over.map(|(lease, ends)| (*lease, *ends)).collect();
        for (lease, ends) in over {
            if let Some(lessor) = &mut self.etcd.members[leader].lessor {
                lessor.remove(&lease);
            }
            self.trace(|| format!("etcd: lease {lease} ran out"));
            self.lease_ended(lease, ends);
            let _ = self.commit(Op::Revoke(lease));
        }
    }

    /// A member that has everything committed, and is heard by a quorum, leads. It arms every lease in full.
    fn elect(&mut self) {
        let length = self.etcd.log.len();
        let can = |world: &Self, member: usize| {
            world.etcd.members[member].received == length && world.has_quorum(member)
        };
        let candidates: Vec<usize> = (0..ETCDS).filter(|member| can(self, *member)).collect();
        if candidates.is_empty() {
            return;
        }
        let leader = self.chance.one_of(&candidates);
        if self.etcd.leader != Some(leader) {
            self.tally.hit("etcd elects another leader");
        }
        self.etcd.term += 1;
        self.etcd.leader = Some(leader);
        self.etcd.leaderless = None;
        let now = self.now;
        let member = &mut self.etcd.members[leader];
        member.stalled = false;
        member.term = self.etcd.term;
        self.catch_up(leader);
        let member = &mut self.etcd.members[leader];
        let full = |seconds: &i64| now.after(Duration::from_secs(seconds.unsigned_abs() + 1));
        let leases = member.store.leases.iter();
        let lessor: BTreeMap<i64, Moment> = leases.map(|(id, ttl)| (*id, full(ttl))).collect();
        member.lessor = Some(lessor);
        // Whoever votes is in the new term.
        for other in 0..ETCDS {
            if self.hear_each_other(leader, other) {
                self.etcd.members[other].term = self.etcd.term;
            }
        }
        let term = self.etcd.term;
        self.trace(|| format!("etcd: member {leader} leads in term {term}"));
    }
}
