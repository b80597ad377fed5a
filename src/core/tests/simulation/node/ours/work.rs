//! What jobs do to PostgreSQL and its files, and how long each takes.

use std::time::Duration;

use trunkline_core::ha::{Job, JobOutcome, Mode};
use trunkline_core::postgres::{ControlState, Identity, Upstream};
use trunkline_core::slots::SlotChange;
use trunkline_core::{Lsn, SystemId, Timeline};

use crate::network::Party;
use crate::node::SYSTEM_ID;
use crate::node::log::Log;
use crate::node::postgres::State;
use crate::world::World;

impl World {
    /// The job begins; how long it takes until it is worth a look.
    pub(super) fn sets_out(&mut self, number: usize, job: &Job) -> Duration {
        match job {
            Job::Start(mode, _) => {
                let (primary, follows) = match mode {
                    Mode::Primary => (true, None),
                    Mode::Standby(follows) => (false, follows.clone()),
                };
                self.nodes[number].postgres.follows = follows;
                if !self.nodes[number].postgres.is_up() {
                    self.start_postgres(number, primary);
                }
                Duration::from_millis(20)
            }
            Job::Promote => {
                self.begins_promotion(number);
                self.promote_postgres(number);
                Duration::from_millis(5)
            }
            Job::Stop(stop) if stop.checkpoint => self.takes(number, 100, 600),
            Job::Stop(_) => self.chance.millis(1, 8),
            Job::Bootstrap => self.takes(number, 1_500, 3_000),
            Job::Clone(_) => self.takes(number, 1_000, 4_000),
            Job::Rewind(_) | Job::CrashRecovery => self.takes(number, 500, 2_500),
            Job::CheckRewind(_) | Job::Wipe | Job::PutAside => self.takes(number, 60, 400),
            Job::Checkpoint => self.takes(number, 300, 4_000),
            Job::Follow(_) | Job::Reload | Job::Slots(_) => self.chance.mostly_short(20, 300),
        }
    }

    /// The job's time is over: what it was to do is done, or cannot be.
    pub(super) fn is_done(&mut self, number: usize, job: &Job) -> JobOutcome {
        match job {
            Job::Bootstrap => self.makes_cluster(number),
            Job::PutAside => {
                self.postgres_dies(number, true);
                self.put_aside(number);
                JobOutcome::Done
            }
            Job::Clone(from) => self.copies(number, from, true),
            Job::Rewind(from) => self.copies(number, from, false),
            Job::CheckRewind(from) => match self.leads_now(number, from) {
                Some(leader) => {
                    let theirs = &self.nodes[leader].postgres.log;
                    let apart = !self.nodes[number].postgres.log.is_in(theirs);
                    JobOutcome::RewindNeeded(apart)
                }
                None => JobOutcome::Failed("the leader does not answer as a primary".to_owned()),
            },
            Job::CrashRecovery => {
                let postgres = &mut self.nodes[number].postgres;
                postgres.control = ControlState::ShutDown;
                postgres.checkpoint = postgres.log.end;
                JobOutcome::Done
            }
            Job::Wipe => {
                self.put_aside(number);
                JobOutcome::Done
            }
            Job::Checkpoint => {
                let postgres = &mut self.nodes[number].postgres;
                if !postgres.writes() || postgres.stands_still() {
                    return JobOutcome::Failed("PostgreSQL did not answer".to_owned());
                }
                postgres.checkpoint = postgres.log.end;
                postgres.checkpoint_timeline = postgres.log.timeline();
                JobOutcome::Done
            }
            Job::Follow(upstream) => {
                let again = self.chance.mostly_short(100, 3_000);
                let at = self.now.after(again);
                let postgres = &mut self.nodes[number].postgres;
                postgres.follows.clone_from(upstream);
                postgres.streams = None;
                postgres.streams_from = at;
                JobOutcome::Done
            }
            Job::Slots(changes) => self.changes_slots(number, changes),
            Job::Reload => {
                self.ours(number).reload_due = false;
                JobOutcome::Done
            }
            Job::Start(..) | Job::Stop(_) | Job::Promote => JobOutcome::Done,
        }
    }

    /// There is no data directory any more.
    pub(crate) fn put_aside(&mut self, number: usize) {
        let postgres = &mut self.nodes[number].postgres;
        if postgres.is_up() {
            return;
        }
        postgres.state = State::Stopped;
        postgres.empty = true;
        postgres.primary = false;
        postgres.follows = None;
        postgres.slots.clear();
    }

    fn makes_cluster(&mut self, number: usize) -> JobOutcome {
        if self.chance.in_hundred(8) {
            return JobOutcome::Failed("initdb ended with 1".to_owned());
        }
        let branch = self.number();
        let postgres = &mut self.nodes[number].postgres;
        postgres.empty = false;
        postgres.log = Log::new(branch);
        (postgres.primary, postgres.signal) = (true, false);
        postgres.state = State::Running;
        postgres.control = ControlState::InProduction;
        postgres.life = branch;
        (postgres.checkpoint, postgres.checkpoint_timeline) = (postgres.log.end, 1);
        self.promoted(number, branch);
        match SystemId::parse(SYSTEM_ID) {
            Some(system_id) => JobOutcome::Made(Identity {
                system_id,
                timeline: Timeline(1),
            }),
            None => JobOutcome::Failed("no system identifier".to_owned()),
        }
    }

    /// Takes over what another has: all of it, or with pg_rewind what differs.
    fn copies(&mut self, number: usize, from: &Upstream, anew: bool) -> JobOutcome {
        let source = self.reaches(number, from);
        let source = source.filter(|source| {
            let there = &self.nodes[*source].postgres;
            there.state == State::Running && !there.frozen && (anew || there.primary)
        });
        let Some(source) = source else {
            return JobOutcome::Failed("the source cannot be copied from".to_owned());
        };
        let log = self.nodes[source].postgres.log.clone();
        let postgres = &mut self.nodes[number].postgres;
        postgres.log = log;
        postgres.empty = false;
        postgres.primary = false;
        postgres.state = State::Stopped;
        postgres.control = ControlState::InProduction;
        postgres.checkpoint = postgres.log.end;
        (postgres.signal, postgres.backup_label) = (anew, true);
        JobOutcome::Done
    }

    fn leads_now(&self, number: usize, upstream: &Upstream) -> Option<usize> {
        let leader = self.reaches(number, upstream)?;
        let postgres = &self.nodes[leader].postgres;
        (postgres.writes() && !postgres.stands_still()).then_some(leader)
    }

    /// The node of an address, if it can be reached.
    fn reaches(&self, number: usize, upstream: &Upstream) -> Option<usize> {
        let other = self.node_of(upstream)?;
        let open = self
            .network
            .connects(Party::Node(number), Party::Node(other));
        (other != number && open && self.nodes[other].up).then_some(other)
    }

    fn changes_slots(&mut self, number: usize, changes: &[SlotChange]) -> JobOutcome {
        let postgres = &mut self.nodes[number].postgres;
        if postgres.state != State::Running || postgres.stands_still() {
            return JobOutcome::Failed("PostgreSQL did not answer".to_owned());
        }
        let end = postgres.log.end;
        for change in changes {
            match change {
                SlotChange::Create(name) => drop(postgres.slots.insert(name.clone(), end)),
                SlotChange::Drop(name) => drop(postgres.slots.remove(name)),
                SlotChange::Advance(name, Lsn(to)) => {
                    postgres.slots.insert(name.clone(), *to);
                }
            }
        }
        JobOutcome::Done
    }
}
