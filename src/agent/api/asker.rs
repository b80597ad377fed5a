//! Asking PostgreSQL for whoever asks us: many requests, one query at a time, and never a long wait.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use trunkline_core::postgres::{Database, Silence};
use trunkline_io::shutdown::Tasks;

use super::Later;

/// How long PostgreSQL has for its answer, and a request for its own share of one: other members wait two seconds.
const DEADLINE: Duration = Duration::from_millis(1500);
/// How many requests may wait for the next query. More connections than that there are not.
const WAITING: usize = 512;

/// The query itself. It may be dropped at any time.
pub type Ask = Arc<dyn Fn() -> Later<Answer> + Send + Sync>;

type Answer = Result<Database, Silence>;

/// Asks PostgreSQL. A request is answered by a query that began after it came.
#[derive(Clone)]
pub struct Asker(mpsc::Sender<oneshot::Sender<Answer>>);

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asker")
    }
}

impl Asker {
    /// Begins to take questions, until the tasks end.
    #[must_use]
    pub fn start(ask: Ask, tasks: &Tasks) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let ending = tasks.ending().clone();
        tasks.spawn("asking PostgreSQL for the REST API", async move {
            ending.run_until_cancelled(answer(receiver, ask)).await;
        });
        Self(sender)
    }

    /// What PostgreSQL says; [`Silence::TimedOut`] if it says nothing in time.
    pub async fn ask(&self) -> Answer {
        let (sender, receiver) = oneshot::channel();
        if self.0.try_send(sender).is_err() {
            return Err(Silence::TimedOut);
        }
        match timeout(DEADLINE, receiver).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Silence::TimedOut),
        }
    }
}

async fn answer(mut questions: mpsc::Receiver<oneshot::Sender<Answer>>, ask: Ask) {
    while let Some(first) = questions.recv().await {
        let mut waiting = vec![first];
        while let Ok(next) = questions.try_recv() {
            waiting.push(next);
        }
        // Those who gave up are not worth a query.
        waiting.retain(|question| !question.is_closed());
        if waiting.is_empty() {
            continue;
        }
        let answer = timeout(DEADLINE, ask()).await;
        let answer = answer.unwrap_or(Err(Silence::TimedOut));
        for question in waiting {
            // Whoever is gone needs no answer.
            let _ = question.send(answer.clone());
        }
    }
}
