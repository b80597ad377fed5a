//! Asking PostgreSQL what it is again and again, over a connection that is kept and made anew where it broke.

use trunkline_core::postgres::{Database, Silence};
use trunkline_core::{Lsn, Moment, Timeline};

use super::query::{self, Row, Session, Target, status};

/// A connection that is kept and made anew where it broke: for one who asks again and again.
#[derive(Debug)]
pub struct Heartbeat {
    target: Target,
    replication: Option<Target>,
    application: &'static str,
    session: Option<Session>,
    /// The timeline of a standby without WAL receiver, and what it said beside: the same again, the same timeline.
    known: Option<(String, Option<Lsn>, Option<Lsn>, Timeline)>,
}

/// What every heartbeat's session is set to (contract 4.3).
const HEARTBEAT_OPTIONS: &str =
    "-c statement_timeout=2000 -c pg_stat_statements.track=none -c search_path=pg_catalog";

impl Heartbeat {
    /// A heartbeat to this target, not connected yet. Patroni's own call themselves `Patroni heartbeat` and
    /// `Patroni restapi`.
    #[must_use]
    pub const fn new(target: Target, application: &'static str) -> Self {
        Self {
            target,
            replication: None,
            application,
            session: None,
            known: None,
        }
    }

    /// With a target over the replication protocol, so that it can say the timeline of a standby without WAL receiver
    /// too.
    #[must_use]
    pub fn replicating(mut self, target: Target) -> Self {
        self.replication = Some(target);
        self
    }

    /// Asks somebody else from now on, where that is another one.
    pub fn retarget(&mut self, target: Target, replication: Option<Target>) {
        if self.target != target {
            self.target = target;
            self.session = None;
        }
        self.replication = replication;
    }

    /// Closes the connection.
    pub fn close(&mut self) {
        self.session = None;
    }

    /// What PostgreSQL says of itself. Cancel safe; takes no longer than to the deadline.
    ///
    /// # Errors
    /// When it does not say, and why.
    pub async fn ask(&mut self, deadline: Moment) -> Result<Database, Silence> {
        let rows = self.rows(status::QUERY, deadline).await?;
        let answer = rows
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next().flatten());
        let answer = answer.ok_or_else(|| Silence::Failed("it answered nothing".to_owned()))?;
        let mut says = status::read(&answer)
            .map_err(|error| Silence::Failed(format!("its answer cannot be read: {error}")))?;
        if says.timeline.is_none() {
            says.timeline = self.timeline(&says, deadline).await;
        }
        Ok(says)
    }

    /// The timeline of a standby that does not stream.
    async fn timeline(&mut self, says: &Database, deadline: Moment) -> Option<Timeline> {
        if let Some((started, received, replayed, timeline)) = &self.known
            && (started, *received, *replayed) == (&says.started, says.received, says.replayed)
        {
            return Some(*timeline);
        }
        let target = self.replication.as_ref()?;
        let identified = query::identify(target, deadline).await;
        // Without it everything else is still worth having.
        let timeline = identified
            .inspect_err(|silence| tracing::debug!("IDENTIFY_SYSTEM: {silence}"))
            .ok()?
            .timeline;
        self.known = Some((says.started.clone(), says.received, says.replayed, timeline));
        Some(timeline)
    }

    /// The rows that a statement answers that may be asked twice: if the connection turns out to be broken it is made
    /// anew once. Cancel safe; takes no longer than to the deadline.
    ///
    /// # Errors
    /// When it does not answer, and why.
    pub async fn rows(&mut self, statement: &str, deadline: Moment) -> Result<Vec<Row>, Silence> {
        // Taken: one that is dropped in the middle of an answer is not used again.
        if let Some(mut session) = self.session.take().filter(Session::is_open) {
            let answer = session.rows(statement, deadline).await;
            if session.is_open() {
                self.session = Some(session);
                return answer;
            }
            if matches!(answer, Ok(_) | Err(Silence::TimedOut)) {
                return answer;
            }
        }
        let mut session =
            Session::open(&self.target, self.application, HEARTBEAT_OPTIONS, deadline).await?;
        let answer = session.rows(statement, deadline).await;
        self.session = Some(session).filter(Session::is_open);
        answer
    }
}
