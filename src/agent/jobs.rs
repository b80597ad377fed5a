//! The one job in flight: begun, watched, cancelled. What a job does is `postgres`'s; whether it is begun is core's.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use trunkline_core::ha::{InFlight, Job, JobEnd, JobOutcome};
use trunkline_io::clock;
use trunkline_io::shutdown::Tasks;

/// Ends that may wait to be taken: of the job in flight, and of some that were replaced.
const ENDS: usize = 8;

/// The job in flight, if there is one.
#[derive(Debug)]
pub(crate) struct Jobs {
    tasks: Tasks,
    wake: Arc<Notify>,
    begun: u64,
    current: Option<Current>,
    ends_in: mpsc::Sender<(u64, JobEnd)>,
    ends: mpsc::Receiver<(u64, JobEnd)>,
}

#[derive(Debug)]
struct Current {
    number: u64,
    in_flight: InFlight,
    cancel: CancellationToken,
    /// Fires once nothing of it, nor of what it replaced, is at work any more.
    over: CancellationToken,
}

/// What a job is told of what is around it.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// Fires when it is to give up.
    pub(crate) cancel: CancellationToken,
    /// Has fired once nothing is at work any more of the job whose place it took.
    pub(crate) alone: CancellationToken,
}

impl Jobs {
    /// None in flight; `wake` is notified when one ends.
    pub(crate) fn new(wake: Arc<Notify>, tasks: Tasks) -> Self {
        let (ends_in, ends) = mpsc::channel(ENDS);
        Self {
            tasks,
            wake,
            begun: 0,
            current: None,
            ends_in,
            ends,
        }
    }

    /// The job in flight.
    pub(crate) fn in_flight(&self) -> Option<InFlight> {
        self.current
            .as_ref()
            .map(|current| current.in_flight.clone())
    }

    /// Begins a job. One that is in flight is cancelled and its end dropped: only a stop may take another's place.
    /// The new one counts as in flight until the other one is over, too: two never work on one data directory.
    pub(crate) fn begin<F>(&mut self, job: Job, work: impl FnOnce(Turn) -> F)
    where
        F: Future<Output = JobOutcome> + Send + 'static,
    {
        let mut alone = CancellationToken::new();
        if self.current.is_none() {
            alone.cancel();
        }
        if let Some(replaced) = self.current.take() {
            alone = replaced.over;
            tracing::info!("{job} takes the place of: {}", replaced.in_flight.job);
            replaced.cancel.cancel();
        }
        self.begun += 1;
        let (number, began) = (self.begun, clock::now());
        let (cancel, over) = (CancellationToken::new(), CancellationToken::new());
        self.current = Some(Current {
            number,
            in_flight: InFlight {
                job: job.clone(),
                since: began,
                cancelled: false,
            },
            cancel: cancel.clone(),
            over: over.clone(),
        });
        let (ends, wake) = (self.ends_in.clone(), Arc::clone(&self.wake));
        let work = work(Turn {
            cancel,
            alone: alone.clone(),
        });
        self.tasks.spawn("job", async move {
            // Whatever becomes of this task.
            let _over = over.drop_guard();
            let outcome = work.await;
            alone.cancelled().await;
            let ended = clock::now();
            let end = JobEnd {
                job,
                began,
                ended,
                outcome,
            };
            if ends.send((number, end)).await.is_ok() {
                wake.notify_one();
            }
        });
    }

    /// Tells the job in flight to give up. It goes on counting as in flight until it has.
    pub(crate) fn cancel(&mut self) {
        if let Some(current) = &mut self.current {
            current.in_flight.cancelled = true;
            current.cancel.cancel();
        }
    }

    /// How the job in flight ended, once it has.
    pub(crate) fn ended(&mut self) -> Option<JobEnd> {
        while let Ok((number, end)) = self.ends.try_recv() {
            if self
                .current
                .as_ref()
                .is_some_and(|current| current.number == number)
            {
                self.current = None;
                return Some(end);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use super::*;

    async fn end_of(jobs: &mut Jobs, wake: &Notify) -> JobEnd {
        let end = async {
            loop {
                if let Some(end) = jobs.ended() {
                    return end;
                }
                wake.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), end)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_job_that_was_replaced_ends_unheard() {
        let wake = Arc::new(Notify::new());
        let mut jobs = Jobs::new(Arc::clone(&wake), Tasks::new());
        jobs.begin(Job::Promote, |turn| async move {
            turn.cancel.cancelled().await;
            JobOutcome::Cancelled
        });
        jobs.begin(Job::PutAside, |_| async { JobOutcome::Done });
        let end = end_of(&mut jobs, &wake).await;
        assert_eq!((end.job, end.outcome), (Job::PutAside, JobOutcome::Done));
        assert_eq!(jobs.in_flight(), None);
    }

    #[tokio::test]
    async fn a_job_is_not_over_while_the_one_it_replaced_is_at_work() {
        let wake = Arc::new(Notify::new());
        let mut jobs = Jobs::new(Arc::clone(&wake), Tasks::new());
        let slow = CancellationToken::new();
        let goes_on = slow.clone();
        jobs.begin(Job::Promote, |_| async move {
            goes_on.cancelled().await;
            JobOutcome::Done
        });
        for _ in 0..2 {
            jobs.begin(Job::PutAside, |turn| async move {
                assert!(!turn.alone.is_cancelled());
                JobOutcome::Done
            });
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
            assert_eq!(jobs.ended(), None);
        }
        slow.cancel();
        assert_eq!(end_of(&mut jobs, &wake).await.job, Job::PutAside);
        jobs.begin(Job::Wipe, |turn| async move {
            assert!(turn.alone.is_cancelled());
            JobOutcome::Done
        });
        assert_eq!(end_of(&mut jobs, &wake).await.job, Job::Wipe);
    }

    #[tokio::test]
    async fn a_job_told_to_give_up_is_in_flight_until_it_has() {
        let wake = Arc::new(Notify::new());
        let mut jobs = Jobs::new(Arc::clone(&wake), Tasks::new());
        jobs.begin(Job::Promote, |turn| async move {
            let given_up: Option<()> = turn.cancel.run_until_cancelled(pending()).await;
            assert_eq!(given_up, None);
            JobOutcome::Cancelled
        });
        jobs.cancel();
        assert!(jobs.in_flight().unwrap().cancelled);
        let end = end_of(&mut jobs, &wake).await;
        assert_eq!(end.outcome, JobOutcome::Cancelled);
        assert_eq!(jobs.in_flight(), None);
    }
}
