//! POST /switchover and POST /failover: what is asked for, whether it can be, and what came of it (contract 2.5).
//!
//! The checks stand in Patroni's order with Patroni's words. One is ours (A4): a switchover that is not scheduled
//! is asked for in etcd only once a candidate streams; one that does not would lose what the leader acknowledged.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::{Map, Value};

use super::reply::Reply;
use super::told::Told;
use crate::cluster::{ClusterView, Tenure};
use crate::ha::PeerWord;
use crate::keys::Key;
use crate::wire::config::SynchronousMode;
use crate::wire::failover::Failover;
use crate::wire::member::{ApiUrl, Member, State};
use crate::wire::rest::Xlog;
use crate::{MemberName, Revision};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The leader named hands over.
    Switchover,
    /// The candidate named takes over, whoever leads.
    Failover,
}

/// A request that makes sense by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// What.
    pub what: What,
    /// Who is to hand over; named in every switchover.
    pub leader: Option<MemberName>,
    /// Who is to take over; named in every failover.
    pub candidate: Option<MemberName>,
    /// When, if not at once.
    pub at: Option<Timestamp>,
}

/// What the answers of the members asked allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feasible {
    /// To go ahead.
    Yes,
    /// To ask again: somebody could take over, but does not stream yet. What to answer if that stays so.
    NotYet(Reply),
    /// Nothing; what to answer.
    No(Reply),
}

/// How things stood before the request was put into etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    tenure: Option<Tenure>,
    requested: Option<Revision>,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::Switchover => "switchover",
            Self::Failover => "failover",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Switchover => "Switchover",
            Self::Failover => "Failover",
        }
    }

    /// The same as something that was done.
    const fn done(self) -> &'static str {
        match self {
            Self::Switchover => "switched",
            Self::Failover => "failed",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Handover {
    /// Reads a request that came over `what`'s path at `wall`.
    ///
    /// # Errors
    /// The answer, if it makes no sense.
    pub fn read(
        what: What,
        body: &Map<String, Value>,
        told: &Told,
        wall: Timestamp,
    ) -> Result<Self, Reply> {
        let leader = name(body, "leader")?;
        let candidate = match name(body, "candidate")? {
            Some(candidate) => Some(candidate),
            None => name(body, "member")?,
        };
        // A failover that names the leader is a switchover.
        let what = match (what, &leader) {
            (What::Failover, None) => What::Failover,
            (What::Failover, Some(_)) | (What::Switchover, _) => What::Switchover,
        };
        let bad = |text: &str| Err(Reply::sentence(400, text));
        if what == What::Failover && candidate.is_none() {
            return bad("Failover could be performed only to a specific candidate");
        }
        if what == What::Switchover && leader.is_none() {
            return bad("Switchover could be performed only from a specific leader");
        }
        let at = match body.get("scheduled_at").filter(|at| is_given(at)) {
            None => None,
            Some(_) if what == What::Failover => return bad("Failover can't be scheduled"),
            Some(_) if told.config.pause => {
                return bad("Can't schedule switchover in the paused state");
            }
            Some(at) => Some(moment(what, at, wall)?),
        };
        if told.config.pause && candidate.is_none() {
            return bad("Switchover is possible only to a specific candidate in a paused state");
        }
        if leader.is_some() && leader == candidate {
            return bad("Switchover target and source are the same");
        }
        Ok(Self {
            what,
            leader,
            candidate,
            at,
        })
    }

    /// Who may take over, with where each is asked.
    ///
    /// # Errors
    /// The answer, if that is nobody.
    pub fn candidates(
        &self,
        view: &ClusterView,
    ) -> Result<BTreeMap<MemberName, Option<ApiUrl>>, Reply> {
        let holder = view.lock.tenure().map(|tenure| &tenure.holder);
        if self.leader.is_some() && self.leader.as_ref() != holder {
            return Err(Reply::sentence(412, "leader name does not match"));
        }
        let is_listed = |name: &MemberName| view.sync.as_ref().is_some_and(|sync| sync.names(name));
        let mode = view.config.synchronous_mode;
        let address = |(name, member): (&MemberName, &Member)| (name.clone(), member.api.clone());
        if let Some(candidate) = &self.candidate {
            let must_be_listed = self.what == What::Switchover && mode == SynchronousMode::On;
            if must_be_listed && !is_listed(candidate) {
                let text = "candidate name does not match with sync_standby";
                return Err(Reply::sentence(412, text));
            }
            // A failover to the leader itself passes here, as in Patroni; the leader then refuses it.
            let found: BTreeMap<_, _> = view
                .members
                .iter()
                .filter(|(name, _)| *name == candidate)
                .map(address)
                .collect();
            return if found.is_empty() {
                Err(Reply::sentence(412, "candidate does not exists"))
            } else {
                Ok(found)
            };
        }
        let synchronous = mode != SynchronousMode::Off;
        let found: BTreeMap<_, _> = view
            .members
            .iter()
            .filter(|(name, _)| Some(*name) != holder && (!synchronous || is_listed(name)))
            .map(address)
            .collect();
        if !found.is_empty() {
            return Ok(found);
        }
        Err(self.impossible(if synchronous {
            "can not find sync_standby"
        } else {
            "cluster does not have members except leader"
        }))
    }

    /// Whether the members asked let it go ahead.
    #[must_use]
    pub fn feasible(&self, answers: &BTreeMap<MemberName, PeerWord>) -> Feasible {
        let with = |standing: Standing| -> Vec<&str> {
            let of_it = answers
                .iter()
                .filter(|(_, word)| Standing::of(word) == standing);
            of_it.map(|(name, _)| name.as_str()).collect()
        };
        let streaming = with(Standing::Streams);
        let running = with(Standing::Runs);
        let coming = with(Standing::Comes);
        let waits = |names: &[&str], what: &str| {
            let verb = if names.len() == 1 { "does" } else { "do" };
            let why = format!("{} {verb} not {what}", names.join(", "));
            Feasible::NotYet(self.impossible(&why))
        };
        match self.what {
            What::Switchover if !streaming.is_empty() => Feasible::Yes,
            What::Switchover if !running.is_empty() => waits(&running, "stream from the leader"),
            What::Switchover if !coming.is_empty() => waits(&coming, "run yet"),
            What::Failover if !(streaming.is_empty() && running.is_empty()) => Feasible::Yes,
            What::Switchover | What::Failover => {
                Feasible::No(self.impossible("no good candidates have been found"))
            }
        }
    }

    /// How long to wait for something to come of it, at the longest (contract 2.5, step 8).
    #[must_use]
    pub fn patience(&self, loop_wait: Duration) -> Duration {
        2 * loop_wait.max(Duration::from_secs(10))
    }

    /// The value of the `failover` key that asks for it.
    #[must_use]
    pub fn key(&self) -> String {
        let failover = Failover {
            leader: self.leader.clone(),
            candidate: self.candidate.clone(),
            scheduled_at: self.at,
        };
        failover.to_json()
    }

    /// What came of it, once the view shows that.
    #[must_use]
    pub fn outcome(&self, before: &Before, view: &ClusterView) -> Option<Reply> {
        let tenure = view.lock.tenure()?;
        let had = before.tenure.as_ref().map(|tenure| &tenure.holder);
        let (title, done) = (self.what.title(), self.what.done());
        if had != Some(&tenure.holder) {
            let to = &tenure.holder;
            let text = match &self.candidate {
                Some(candidate) if candidate != to => {
                    let opening = done[..1].to_uppercase() + &done[1..];
                    format!("{opening} over to \"{to}\" instead of \"{candidate}\"")
                }
                Some(_) | None => format!("Successfully {done} over to \"{to}\""),
            };
            return Some(Reply::sentence(200, text));
        }
        let is_over = view.failover.is_none() && Before::requested(view) > before.requested;
        is_over.then(|| Reply::sentence(503, format!("{title} failed")))
    }

    /// The answer when nothing has come of it for too long.
    #[must_use]
    pub fn unknown(&self) -> Reply {
        Reply::sentence(503, format!("{} status unknown", self.what.title()))
    }

    fn impossible(&self, why: &str) -> Reply {
        Reply::sentence(412, format!("{} is not possible: {why}", self.what.name()))
    }
}

impl Before {
    /// How things stand.
    #[must_use]
    pub fn of(view: &ClusterView) -> Self {
        Self {
            tenure: view.lock.tenure().cloned(),
            requested: Self::requested(view),
        }
    }

    /// When the last request was put, or taken away.
    fn requested(view: &ClusterView) -> Option<Revision> {
        view.written.get(&Key::Failover).map(|key| key.modified)
    }
}

/// How far a member is on the way to becoming the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has what the leader acknowledges as it goes.
    Streams,
    /// It runs.
    Runs,
    /// It will run soon: it is being started, or copied.
    Comes,
    /// It does not answer, or must not lead.
    Never,
}

impl Standing {
    fn of(word: &PeerWord) -> Self {
        let document = match word {
            PeerWord::Says(document) => document,
            PeerWord::Silent(_) => return Self::Never,
        };
        if document.tags.nofailover() || document.watchdog_failed {
            return Self::Never;
        }
        let comes = matches!(
            document.state,
            State::Starting | State::Restarting | State::CreatingReplica
        );
        if document.xlog == Xlog::default() {
            return if comes { Self::Comes } else { Self::Never };
        }
        match document.replication_state.as_deref() {
            Some("streaming") => Self::Streams,
            Some(_) | None => Self::Runs,
        }
    }
}

/// A member's name in a request; an empty one is none.
fn name(body: &Map<String, Value>, field: &str) -> Result<Option<MemberName>, Reply> {
    match body.get(field).filter(|value| is_given(value)) {
        None => Ok(None),
        Some(Value::String(name)) if !name.contains('/') => Ok(Some(name.as_str().into())),
        Some(_) => Err(Reply::page(400)),
    }
}

fn is_given(value: &Value) -> bool {
    !value.is_null() && value.as_str() != Some("")
}

fn moment(what: What, at: &Value, wall: Timestamp) -> Result<Timestamp, Reply> {
    let action = what.name();
    let text = at.as_str().unwrap_or_default().trim();
    let Ok(moment) = text.parse::<Timestamp>() else {
        return Err(if text.parse::<DateTime>().is_ok() {
            let words = "Timezone information is mandatory for the scheduled";
            Reply::sentence(400, format!("{words} {action}"))
        } else {
            let words = "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601";
            Reply::sentence(422, words)
        });
    };
    if moment < wall {
        let text = format!("Cannot schedule {action} in the past");
        return Err(Reply::sentence(422, text));
    }
    Ok(moment)
}
