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
    pub(crate) fn begin<F>(&mut self, job: Job, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = JobOutcome> + Send + 'static,
    {
        if let Some(replaced) = self.current.take() {
            tracing::info!("{job} takes the place of: {}", replaced.in_flight.job);
            replaced.cancel.cancel();
        }
        self.begun += 1;
        let (number, began) = (self.begun, clock::now());
        let cancel = CancellationToken::new();
        self.current = Some(Current {
            number,
            in_flight: InFlight {
                job: job.clone(),
                since: began,
                cancelled: false,
            },
            cancel: cancel.clone(),
        });
        let (ends, wake) = (self.ends_in.clone(), Arc::clone(&self.wake));
        let work = work(cancel);
        self.tasks.spawn("job", async move {
            let outcome = work.await;
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
        jobs.begin(Job::Promote, |cancel| async move {
            cancel.cancelled().await;
            JobOutcome::Cancelled
        });
        jobs.begin(Job::PutAside, |_| async { JobOutcome::Done });
        let end = end_of(&mut jobs, &wake).await;
        assert_eq!((end.job, end.outcome), (Job::PutAside, JobOutcome::Done));
        assert_eq!(jobs.in_flight(), None);
    }

    #[tokio::test]
    async fn a_job_told_to_give_up_is_in_flight_until_it_has() {
        let wake = Arc::new(Notify::new());
        let mut jobs = Jobs::new(Arc::clone(&wake), Tasks::new());
        jobs.begin(Job::Promote, |cancel| async move {
            let given_up: Option<()> = cancel.run_until_cancelled(pending()).await;
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
