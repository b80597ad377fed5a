//! The one job in flight: begun, watched, cancelled, ended, as `src/agent/jobs.rs` has it. What each does is in
//! `work`.

use std::time::Duration;

use trunkline_core::Moment;
use trunkline_core::ha::{InFlight, Job, JobEnd, JobOutcome, Stop};

use crate::events::Event;
use crate::node::postgres::{State, Then};
use crate::world::World;

#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) in_flight: InFlight,
    number: u64,
}

impl World {
    pub(super) fn begin_job(&mut self, number: usize, job: &Job) {
        let now = self.now;
        let (flight, name) = (self.number(), self.nodes[number].name.clone());
        self.tally.job(job);
        self.trace(|| format!("{name}: job {job:?}"));
        if let Some(replaced) = self.ours(number).job.take() {
            let only_stops = matches!(job, Job::Stop(_));
            self.tally.hit("a job takes another's place");
            if !only_stops {
                self.fails(|| format!("{name}: {job:?} takes the place of {replaced:?}"));
            }
            self.is_cancelled(number, &replaced.in_flight.job);
        }
        self.ours(number).job = Some(Flight {
            in_flight: InFlight {
                job: job.clone(),
                since: now,
                cancelled: false,
            },
            number: flight,
        });
        let takes = self.sets_out(number, job);
        self.after(takes, Event::JobMoves(number, flight));
        if let Job::Stop(Stop {
            deadline: Some(deadline),
            ..
        }) = *job
        {
            let time = deadline.since(now);
            self.after(time / 2, Event::JobMoves(number, flight));
            self.after(time / 4 * 3, Event::JobMoves(number, flight));
        }
    }

    pub(super) fn cancel_job(&mut self, number: usize) {
        let Some(flight) = &mut self.ours(number).job else {
            return;
        };
        flight.in_flight.cancelled = true;
        let moves = Event::JobMoves(number, flight.number);
        let soon = self.chance.millis(1, 50);
        self.after(soon, moves);
    }

    /// The agent is gone, and with it what it had in flight.
    pub(super) fn job_dies(&mut self, number: usize) {
        if let Some(flight) = self.ours(number).job.take() {
            self.is_cancelled(number, &flight.in_flight.job);
        }
    }

    /// What is left of a job that nobody sees through.
    fn is_cancelled(&mut self, number: usize, job: &Job) {
        if let Job::Clone(_) | Job::Bootstrap = job {
            self.put_aside(number);
        }
    }

    /// PostgreSQL went from one state to another: whoever waits for that looks.
    pub(crate) fn postgres_changed(&mut self, number: usize) {
        if !self.nodes[number].is_ours || !self.nodes[number].agent.alive {
            return;
        }
        if let Some(flight) = &self.ours(number).job {
            let moves = Event::JobMoves(number, flight.number);
            self.after(Duration::from_micros(100), moves);
        }
        // The end of the postmaster wakes the cycle; nothing else of it does.
        if !self.nodes[number].postgres.is_up() {
            self.after(Duration::from_micros(200), Event::PostmasterEnded(number));
        }
    }

    /// The job in flight looks whether it is done.
    pub(crate) fn job_moves(&mut self, number: usize, which: u64) {
        let Some(flight) = self.ours(number).job.clone() else {
            return;
        };
        if flight.number != which {
            return;
        }
        let Some(outcome) = self.job_outcome(number, &flight) else {
            return;
        };
        let (now, name) = (self.now, self.nodes[number].name.clone());
        self.trace(|| format!("{name}: {:?} ended: {outcome:?}", flight.in_flight.job));
        let ours = self.ours(number);
        ours.job = None;
        ours.ends.push(JobEnd {
            job: flight.in_flight.job,
            began: flight.in_flight.since,
            ended: now,
            outcome,
        });
        self.ours_wakes(number);
    }

    /// What came of it, if it has ended.
    fn job_outcome(&mut self, number: usize, flight: &Flight) -> Option<JobOutcome> {
        let since = flight.in_flight.since;
        let cancelled = flight.in_flight.cancelled;
        let failed = |why: &str| Some(JobOutcome::Failed(why.to_owned()));
        let postgres = &self.nodes[number].postgres;
        match &flight.in_flight.job {
            Job::Stop(stop) => self.stop_outcome(number, *stop, since),
            Job::Start(_, patience) => match postgres.state {
                State::Running => Some(JobOutcome::Done),
                State::Starting if self.now.since(since) >= *patience => {
                    Some(JobOutcome::StillStarting)
                }
                State::Starting if cancelled => Some(JobOutcome::Cancelled),
                State::Starting => {
                    let left = since.after(*patience).since(self.now);
                    let again = left
                        .min(Duration::from_secs(1))
                        .max(Duration::from_millis(1));
                    self.after(again, Event::JobMoves(number, flight.number));
                    None
                }
                State::Stopping => None,
                State::Stopped | State::Crashed => {
                    failed("the postmaster ended while it was starting")
                }
            },
            Job::Promote => match (postgres.writes(), postgres.promoting) {
                (true, _) => Some(JobOutcome::Done),
                (false, true) => None,
                (false, false) => failed("PostgreSQL went away while it was promoted"),
            },
            job @ (Job::Bootstrap
            | Job::PutAside
            | Job::Clone(_)
            | Job::Follow(_)
            | Job::CheckRewind(_)
            | Job::Rewind(_)
            | Job::CrashRecovery
            | Job::Wipe
            | Job::Checkpoint
            | Job::Reload
            | Job::Slots(_)) => {
                if cancelled {
                    self.is_cancelled(number, job);
                    return Some(JobOutcome::Cancelled);
                }
                Some(self.is_done(number, job))
            }
        }
    }

    fn stop_outcome(&mut self, number: usize, stop: Stop, since: Moment) -> Option<JobOutcome> {
        let now = self.now;
        let postgres = &self.nodes[number].postgres;
        if !postgres.is_up() {
            return Some(JobOutcome::Done);
        }
        if let Some(deadline) = stop.deadline {
            let time = deadline.since(since);
            if now >= since.after(time / 4 * 3) {
                self.tally.hit("PostgreSQL killed because it did not stop");
                self.postgres_dies(number, true);
                return Some(JobOutcome::Done);
            }
            if now >= since.after(time / 2) {
                self.tally.hit("PostgreSQL told to end at once");
                self.signal_postgres(number, true);
                return None;
            }
        }
        let running = matches!(
            self.nodes[number].postgres.state,
            State::Running | State::Starting
        );
        // A checkpoint before it is done by now.
        if running || stop.immediate {
            self.signal_postgres(number, stop.immediate);
        }
        None
    }

    /// SIGQUIT or SIGINT: it is heard by a postmaster that runs, and waits for any other.
    fn signal_postgres(&mut self, number: usize, at_once: bool) {
        let life = self.nodes[number].postgres.life;
        if self.nodes[number].postgres.frozen {
            let waits = Event::PostgresSignalled(number, life, at_once);
            self.nodes[number].inbox.push(waits);
        } else {
            self.signalled(number, life, at_once);
        }
    }

    pub(crate) fn signalled(&mut self, number: usize, life: u64, at_once: bool) {
        if self.nodes[number].postgres.life != life {
            return;
        }
        if at_once {
            self.postgres_dies(number, true);
        } else {
            self.stop_postgres(number, Then::Stays);
        }
    }
}
