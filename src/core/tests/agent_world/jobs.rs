//! How jobs end, and what is so then.

use trunkline_core::ha::{Job, JobEnd, JobOutcome, Mode};
use trunkline_core::postgres::{ControlState, DataDirectory, Identity, Silence};
use trunkline_core::slots::SlotChange;
use trunkline_core::{Observed, SystemId, Timeline};

use super::{SYSTEM_ID, World};

impl World {
    /// The job in flight ends so, and what it was to bring about is so if it was done.
    pub(crate) fn job_ends(&mut self, outcome: JobOutcome) {
        let flight = self.job.take().expect("a job in flight");
        if outcome == JobOutcome::Done || matches!(outcome, JobOutcome::Made(_)) {
            self.comes_true(&flight.job);
        } else if let (Job::Start(..), JobOutcome::Failed(_)) = (&flight.job, &outcome) {
            self.node.is_down(ControlState::InProduction, self.now);
        }
        let end = JobEnd {
            job: flight.job,
            began: flight.since,
            ended: self.now,
            outcome,
        };
        self.memory.ended(end);
    }

    /// The job in flight is done.
    pub(crate) fn job_done(&mut self) {
        let outcome = match self.job.as_ref().map(|flight| &flight.job) {
            Some(Job::Bootstrap) => JobOutcome::Made(Identity {
                system_id: SystemId::parse(SYSTEM_ID).expect("an identifier"),
                timeline: Timeline(1),
            }),
            Some(Job::CheckRewind(_)) => JobOutcome::RewindNeeded(false),
            _ => JobOutcome::Done,
        };
        self.job_ends(outcome);
    }

    fn comes_true(&mut self, job: &Job) {
        let (node, now) = (&mut self.node, self.now);
        match job {
            Job::Bootstrap => {
                node.has_data(false);
                node.runs(true, now);
            }
            Job::PutAside | Job::Wipe => {
                node.data = DataDirectory::Empty;
                node.system_id = None;
                node.is_down(ControlState::InProduction, now);
            }
            Job::Clone(_) => {
                node.has_data(false);
                if let DataDirectory::Present { backup_label, .. } = &mut node.data {
                    *backup_label = true;
                }
                node.is_down(ControlState::InArchiveRecovery, now);
            }
            Job::Start(Mode::Primary, _) => node.runs(true, now),
            Job::Start(Mode::Standby(_), _) => {
                node.runs(false, now);
                if let Observed::Fresh { value, .. } = &mut node.database {
                    value.replay_paused = false;
                }
            }
            Job::Stop(stop) => {
                let led = node.state == ControlState::InProduction;
                node.is_down(
                    match (stop.immediate, led) {
                        (true, true) => ControlState::InProduction,
                        (true, false) => ControlState::InArchiveRecovery,
                        (false, true) => ControlState::ShutDown,
                        (false, false) => ControlState::ShutDownInRecovery,
                    },
                    now,
                );
            }
            Job::Promote => {
                let before = node.timeline;
                node.timeline = Timeline(before.0 + 1);
                node.runs(true, now);
                if let Observed::Fresh { value, .. } = &mut node.database {
                    value.checkpoint_timeline = Some(before);
                }
            }
            Job::Follow(upstream) => {
                if let DataDirectory::Present { follows, .. } = &mut node.data {
                    follows.clone_from(upstream);
                }
            }
            Job::Rewind(_) => node.state = ControlState::InArchiveRecovery,
            Job::CrashRecovery => node.is_down(ControlState::ShutDown, now),
            Job::Checkpoint => {
                if let Observed::Fresh { value, .. } = &mut node.database {
                    value.checkpoint_timeline = value.timeline;
                }
            }
            Job::Reload => self.reload_due = false,
            Job::Slots(changes) => self.slots_change(changes),
            Job::CheckRewind(_) => {}
        }
    }

    fn slots_change(&mut self, changes: &[SlotChange]) {
        let Observed::Fresh { value, .. } = &mut self.node.database else {
            return;
        };
        for change in changes {
            match change {
                SlotChange::Create(name) => value.slots.push(trunkline_core::postgres::Slot {
                    name: name.clone(),
                    restart: Some(self.node.at),
                    ..Default::default()
                }),
                SlotChange::Drop(name) => value.slots.retain(|slot| slot.name != *name),
                SlotChange::Advance(name, lsn) => {
                    for slot in value.slots.iter_mut().filter(|slot| slot.name == *name) {
                        slot.restart = Some(*lsn);
                    }
                }
            }
        }
    }

    /// PostgreSQL ends by itself.
    pub(crate) fn crash(&mut self) {
        let state = self.node.state;
        self.node.is_down(state, self.now);
        self.node.is_silent(Silence::NotAsked, self.now);
    }
}
