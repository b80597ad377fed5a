//! What an agent does in a cycle once it knows what etcd says: race, lead, follow, hand over, demote itself.

use trunkline_core::{MemberName, Moment};

use super::agent::Errand;
use super::postgres::{State, Then};
use crate::network::Party;
use crate::world::World;

impl World {
    /// The lease is kept and the view is known.
    pub(crate) fn agent_decides(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let me = node.name.clone();
        match node.agent.seen.holder.clone() {
            Some(holder) if holder == me => {
                let lease = node.agent.seen.lease.map(|lease| lease.0);
                if lease == node.agent.lease {
                    self.agent_leads(number);
                } else {
                    self.run_errand(number, Errand::Refresh);
                }
            }
            Some(_) => self.lock_is_lost(number),
            None => {
                node.agent.leader_until = None;
                if self.may_race(number) {
                    self.run_errand(number, Errand::Acquire);
                } else {
                    self.follows(number);
                }
            }
        }
    }

    pub(crate) fn agent_won(&mut self, number: usize) {
        self.nodes[number].agent.seen.holder = Some(self.nodes[number].name.clone());
        if self.nodes[number].agent.seen.failover.take().is_some() {
            self.nodes[number].agent.leader_until = Some(self.now.after(self.pace.ttl));
            return self.run_errand(number, Errand::Clear);
        }
        self.agent_leads(number);
    }

    /// It holds the lock, confirmed just now.
    pub(crate) fn agent_leads(&mut self, number: usize) {
        let until = self.now.after(self.pace.ttl);
        let node = &mut self.nodes[number];
        node.agent.leader_until = Some(until);
        let paused = node.agent.seen.pause;
        if self.hands_over(number) {
            return;
        }
        let node = &mut self.nodes[number];
        match (node.postgres.state, node.postgres.primary) {
            (State::Running, true) if node.agent.seen.standby => {
                self.stop_postgres(number, Then::Follows);
            }
            (State::Running, true) => node.agent.demoted = false,
            (State::Running, false) if node.agent.seen.standby => {}
            (State::Running, false) => {
                node.agent.demoted = false;
                self.promote_postgres(number);
            }
            (State::Crashed | State::Stopped, _) if paused => {
                node.postgres.noticed = true;
                return self.run_errand(number, Errand::Release);
            }
            (State::Crashed | State::Stopped, primary) => self.start_postgres(number, primary),
            (State::Starting | State::Stopping, _) => {}
        }
        self.agent_publishes(number);
    }

    /// A due request makes the leader give up its lock; true if the cycle goes on with that.
    fn hands_over(&mut self, number: usize) -> bool {
        let node = &self.nodes[number];
        if node.agent.releases {
            if node.postgres.state == State::Stopping {
                self.agent_sleeps(number);
            } else {
                self.run_errand(number, Errand::Release);
            }
            return true;
        }
        let Some((leader, candidate)) = node.agent.seen.failover.clone() else {
            return false;
        };
        let for_me = leader.as_ref().is_none_or(|leader| *leader == node.name);
        let others = |other: usize| {
            let named = candidate
                .as_ref()
                .is_none_or(|name| *name == self.nodes[other].name);
            let may = named && !self.nodes[other].nofailover;
            other != number && may && self.agent_reaches(number, other)
        };
        let possible = (0..self.nodes.len()).any(others);
        if !for_me || !possible || !node.postgres.writes() {
            self.nodes[number].agent.seen.failover = None;
            self.run_errand(number, Errand::Clear);
            return true;
        }
        let name = node.name.clone();
        self.trace(|| format!("{name}: hands over to {candidate:?}"));
        self.nodes[number].agent.demoted = true;
        self.nodes[number].agent.releases = true;
        self.stop_postgres(number, Then::Follows);
        self.agent_sleeps(number);
        true
    }

    /// Another holds the lock, or took it from us.
    pub(crate) fn lock_is_lost(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        node.agent.leader_until = None;
        node.agent.releases = false;
        self.follows(number);
    }

    fn follows(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        node.agent.leader_until = None;
        let paused = node.agent.seen.pause;
        match (node.postgres.state, node.postgres.primary) {
            (State::Running | State::Starting, true) if !paused => self.demote(number),
            (State::Crashed | State::Stopped, _) if !paused => self.start_postgres(number, false),
            (State::Running | State::Starting | State::Stopping, _) => {}
            (State::Crashed | State::Stopped, _) => node.postgres.noticed = true,
        }
        self.agent_publishes(number);
    }

    /// Writes its member key if it is not what it should be.
    pub(crate) fn agent_publishes(&mut self, number: usize) {
        let node = &self.nodes[number];
        let value = node.published(node.agent.seen.standby);
        let fits = node.agent.seen.own.as_ref().is_some_and(|kv| {
            kv.value == value.as_bytes() && kv.lease.map(|lease| lease.0) == node.agent.lease
        });
        let restores = !node.agent.seen.complete && node.agent.leads();
        if fits && restores {
            self.run_errand(number, Errand::Restore);
        } else if fits {
            self.agent_sleeps(number);
        } else {
            self.run_errand(number, Errand::Publish);
        }
    }

    /// Whether an agent's question finds another's agent.
    fn agent_reaches(&self, from: usize, to: usize) -> bool {
        let other = &self.nodes[to];
        other.up
            && other.agent.alive
            && !other.agent.frozen
            && self.network.connects(Party::Node(from), Party::Node(to))
    }

    /// The race for a vacant lock: only the one who is as far as anybody it can ask.
    fn may_race(&self, number: usize) -> bool {
        let node = &self.nodes[number];
        let postgres = &node.postgres;
        if postgres.state != State::Running || postgres.frozen {
            return false;
        }
        if node.agent.pinged.is_some_and(|until| self.now < until) {
            return false;
        }
        if postgres.primary {
            return postgres.log.timeline() >= node.agent.seen.timeline
                && (0..self.nodes.len()).all(|other| {
                    other == number
                        || !self.agent_reaches(number, other)
                        || self.nodes[other].postgres.log.timeline() <= postgres.log.timeline()
                });
        }
        if node.agent.seen.pause && node.agent.seen.failover.is_none() {
            return false;
        }
        if let Some((leader, candidate)) = &node.agent.seen.failover {
            let reaches_candidate = candidate.as_ref().is_some_and(|candidate| {
                let of_name = |other: &usize| self.nodes[*other].name == *candidate;
                let mut all = 0..self.nodes.len();
                all.find(of_name).is_some_and(|other| {
                    let may = !self.nodes[other].nofailover;
                    other == number || (may && self.agent_reaches(number, other))
                })
            });
            if candidate.as_ref() == Some(&node.name) {
                return true;
            }
            // The old leader goes only if nobody else can.
            let another_can = (0..self.nodes.len()).any(|other| {
                let theirs = &self.nodes[other].postgres;
                other != number
                    && !self.nodes[other].nofailover
                    && self.agent_reaches(number, other)
                    && theirs.state == State::Running
                    && theirs.place() >= postgres.place()
            });
            let was_leader = leader.as_ref() == Some(&node.name);
            if reaches_candidate || (was_leader && another_can) {
                return false;
            }
        }
        (0..self.nodes.len()).all(|other| {
            let theirs = &self.nodes[other].postgres;
            other == number
                || self.nodes[other].nofailover
                || !self.agent_reaches(number, other)
                || theirs.state != State::Running
                || (!theirs.primary && theirs.place() <= postgres.place())
        })
    }

    /// A leader that goes on in failsafe mode says so to another member: POST /failsafe.
    fn pings(&mut self, number: usize, other: usize, until: Moment) {
        self.nodes[other].agent.pinged = Some(until);
        if self.nodes[other].is_ours && other != number {
            let name = MemberName::from(&*self.nodes[number].name);
            let at = self.now;
            self.ours(other).memory.pinged = Some((name, at));
            self.ours_wakes(other);
        }
    }

    /// The view cannot be read or the lock not refreshed.
    pub(crate) fn etcd_is_lost(&mut self, number: usize) {
        let node = &self.nodes[number];
        let leads = node.agent.leads() && node.postgres.writes();
        if node.agent.seen.pause || !leads {
            if leads || !node.postgres.writes() || node.agent.seen.pause {
                return self.agent_sleeps(number);
            }
            self.demote(number);
            return self.agent_sleeps(number);
        }
        let members = node.agent.seen.members.clone();
        // Whoever runs as a primary himself does not accept.
        let all_accept = (0..self.nodes.len()).all(|other| {
            other == number
                || !members.contains(&self.nodes[other].name)
                || (self.agent_reaches(number, other) && !self.nodes[other].postgres.writes())
        });
        if node.agent.seen.failsafe && !members.is_empty() && all_accept {
            let until = self.now.after(self.pace.ttl);
            for other in 0..self.nodes.len() {
                if self.agent_reaches(number, other) {
                    self.pings(number, other, until);
                }
            }
            self.nodes[number].agent.pinged = None;
            self.nodes[number].agent.leader_until = Some(until);
            self.tally.hit("a leader goes on in failsafe mode");
        } else {
            self.tally.hit("a leader demotes itself without etcd");
            self.nodes[number].agent.leader_until = None;
            self.demote(number);
        }
        self.agent_sleeps(number);
    }
}
