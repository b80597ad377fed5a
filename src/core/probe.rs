//! One look at a member: what its REST API said (P2) and what its PostgreSQL said (P3), judged.

use std::fmt;

use crate::proof::P2_CARRIES;
use crate::wire::Invalid;
use crate::wire::member::{Role, State};
use crate::wire::rest::StatusDocument;
use crate::{MemberName, Moment, Observed, Scope, SystemId};

/// An answer of a member's REST API to `GET /primary`: the lock in its code, the node in its body.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The HTTP status: 200 means that the member refreshed the lock less than ttl ago by its own clock.
    pub code: u16,
    /// The status document, which comes with any code.
    pub document: StatusDocument,
}

/// What PostgreSQL answered to a start-up packet, as `pg_isready` asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// It asked for authentication or refused it: it accepts connections.
    Yes,
    /// 57P03: it is starting up, shutting down or in recovery without hot standby.
    NotNow,
}

/// Why there is no answer that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nothing was asked yet.
    NotAsked,
    /// The member published no usable address.
    NoAddress,
    /// The connection was refused: nobody listens there.
    Refused,
    /// No answer within the deadline.
    TimedOut,
    /// Anything else that went wrong on the way, in the system's words.
    Failed(String),
    /// Somebody answered who is not that member.
    Foreign(Foreign),
    /// The answer is none.
    Garbage(Invalid),
}

/// How an answer shows that it comes from somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It names another member.
    Name(String),
    /// It names another cluster.
    Scope(String),
    /// Its database belongs to another cluster.
    SystemId(SystemId),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("not asked yet"),
            Self::NoAddress => f.write_str("no address published"),
            Self::Refused => f.write_str("connection refused"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Failed(text) => f.write_str(text),
            Self::Foreign(Foreign::Name(name)) => write!(f, "another member answers: {name}"),
            Self::Foreign(Foreign::Scope(scope)) => write!(f, "another cluster answers: {scope}"),
            Self::Foreign(Foreign::SystemId(id)) => {
                write!(
                    f,
                    "another cluster's database answers: system identifier {id}"
                )
            }
            Self::Garbage(cause) => write!(f, "unusable answer: {cause}"),
        }
    }
}

/// What is known from a member's REST API.
pub type Rest = Observed<Answer, NoAnswer>;
/// What is known from a member's PostgreSQL.
pub type Postgres = Observed<Accepts, NoAnswer>;

/// All that was seen of a member by asking it.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// By its REST API.
    pub rest: Rest,
    /// By its PostgreSQL port; asked only while REST does not say `running`.
    pub postgres: Postgres,
    /// When the last look by REST came to an end, with an answer or without.
    pub looked: Option<Moment>,
    /// When the last question to PostgreSQL was sent that has come to an end, with an answer or without.
    pub pinged: Option<Moment>,
}

impl Probe {
    /// Nothing asked yet.
    #[must_use]
    pub const fn new(now: Moment) -> Self {
        Self {
            rest: Observed::Unknown {
                since: now,
                cause: NoAnswer::NotAsked,
            },
            postgres: Observed::Unknown {
                since: now,
                cause: NoAnswer::NotAsked,
            },
            looked: None,
            pinged: None,
        }
    }

    /// Whether PostgreSQL answers, as a question sent at or after `since` showed; `None` if none has yet.
    #[must_use]
    pub fn postgres_answers(&self, since: Moment) -> Option<bool> {
        let known = self.pinged.is_some_and(|pinged| pinged >= since);
        known.then(|| self.postgres.fresh().is_some())
    }

    /// Takes in that PostgreSQL gave no answer. A silence that the REST API broke meanwhile begins anew: PostgreSQL is
    /// asked only now and then, and the time between is no silence.
    pub fn postgres_unanswered(&mut self, cause: NoAnswer, now: Moment) {
        let heard = self.rest.asked();
        let unanswered = self.postgres.clone().unanswered(cause, now);
        self.postgres = unanswered.dated(|since| {
            let was_broken = heard.is_some_and(|heard| since <= heard);
            if was_broken { now } else { since }
        });
    }
}

/// Reads the body of a REST answer and makes sure that it is `member`'s of `scope` and of the database `id`.
///
/// # Errors
/// [`NoAnswer::Garbage`] for a body that is no status document, [`NoAnswer::Foreign`] for somebody else's.
pub fn judge(
    code: u16,
    body: &[u8],
    member: &MemberName,
    scope: &Scope,
    id: Option<&SystemId>,
) -> Result<Answer, NoAnswer> {
    let document = StatusDocument::parse(body).map_err(NoAnswer::Garbage)?;
    let foreign = |what| Err(NoAnswer::Foreign(what));
    match &document.patroni.name {
        Some(name) if name != member.as_str() => return foreign(Foreign::Name(name.clone())),
        Some(_) | None => {}
    }
    match &document.patroni.scope {
        Some(theirs) if theirs != scope.as_str() => return foreign(Foreign::Scope(theirs.clone())),
        Some(_) | None => {}
    }
    match (&document.database_system_identifier, id) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            return foreign(Foreign::SystemId(theirs.clone()));
        }
        (Some(_) | None, _) => {}
    }
    Ok(Answer { code, document })
}

/// What a member's REST API says of it now, in the words the routing table is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// A running primary; `lock` says whether it also says that it holds the lock.
    Primary {
        /// Answered 200: it refreshed the lock less than ttl ago.
        lock: bool,
        /// When that was asked.
        asked: Moment,
    },
    /// Running, in recovery.
    InRecovery,
    /// The leader of a standby cluster.
    StandbyLeader,
    /// Starting, stopping, restarting, stopped, crashed, or in a role on the way to another.
    NotRunning,
    /// It cannot be asked, or not since it would count.
    Nothing,
}

impl Says {
    /// Reads the last answer, if it was asked at or after `since` and is less than three seconds old.
    #[must_use]
    pub fn of(rest: &Rest, since: Moment, now: Moment) -> Self {
        let Some((answer, asked)) = rest.fresh() else {
            return Self::Nothing;
        };
        if asked < since || now.since(asked) >= P2_CARRIES {
            return Self::Nothing;
        }
        let running = matches!(answer.document.state, State::Running);
        match answer.document.role {
            Role::StandbyLeader => Self::StandbyLeader,
            Role::Primary if running => Self::Primary {
                lock: answer.code == 200,
                asked,
            },
            Role::Replica if running => Self::InRecovery,
            Role::Primary
            | Role::Replica
            | Role::Demoted
            | Role::Promoted
            | Role::Uninitialized
            | Role::Other(_) => Self::NotRunning,
        }
    }
}

/// When a member's PostgreSQL was last heard to accept, if that is less than three seconds ago.
///
/// A PostgreSQL does not say whose it is. Where a stranger answers at the member's REST address, the member's machine
/// may be gone and its addresses be another's: then nothing that accepts there is known to be the member's.
#[must_use]
pub fn accepts(probe: &Probe, now: Moment) -> Option<Moment> {
    if let Observed::Stale {
        cause: NoAnswer::Foreign(_),
        ..
    }
    | Observed::Unknown {
        cause: NoAnswer::Foreign(_),
        ..
    } = &probe.rest
    {
        return None;
    }
    match probe.postgres.fresh() {
        Some((Accepts::Yes, asked)) if now.since(asked) < P2_CARRIES => Some(asked),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_a_question_sent_after_the_doubt_tells_whether_postgresql_answers() {
        let at = |seconds| Moment::from_boot(Duration::from_secs(seconds));
        let mut probe = Probe::new(at(0));
        assert_eq!(probe.postgres_answers(at(1)), None);
        probe.postgres.answered(Accepts::Yes, at(2));
        probe.pinged = Some(at(2));
        let told = [2, 3].map(|since| probe.postgres_answers(at(since)));
        assert_eq!(told, [Some(true), None]);
        probe.postgres = probe.postgres.unanswered(NoAnswer::TimedOut, at(5));
        probe.pinged = Some(at(4));
        let told = [2, 4, 5].map(|since| probe.postgres_answers(at(since)));
        assert_eq!(told, [Some(false), Some(false), None]);
    }
}
