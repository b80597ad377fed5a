//! A lock that is somebody else's, or a lease that has ended: PostgreSQL stops before anything else (A1).

use super::action::{Action, Decision, Job, Stop};
use super::memory::Bootstrap;
use super::reason::{Demotion, Reason};
use super::snapshot::Snapshot;
use super::standing::{Holder, Server};
use crate::lease::Renewal;

/// Stops a PostgreSQL that may write and must not.
pub(super) fn decide(s: &Snapshot) -> Option<Decision> {
    // In pause nobody is demoted (contract 5.18); while a cluster is being made nobody knows this PostgreSQL.
    if s.is_paused() || s.memory.bootstrap != Bootstrap::No || !s.may_write() {
        return None;
    }
    let why = why(s)?;
    if let Some(Job::Stop(stop)) = s.job_in_flight()
        && stop.immediate
    {
        return None;
    }
    let reason = Reason::Demoting(why);
    // No word with anybody: SIGQUIT, and SIGKILL where that does not help.
    let stop = Job::Stop(Stop::at_once(s.now));
    Some(Decision::now(s, Action::Begin(stop), reason))
}

fn why(s: &Snapshot) -> Option<Demotion> {
    if s.held.is_some() && s.certain().is_none() {
        return Some(Demotion::LeaseEnded);
    }
    let contradicted = match s.holder() {
        Holder::Other(_) | Holder::Garbled => true,
        Holder::Nobody => matches!(s.renewal, Some(Renewal::Lost { .. })),
        Holder::Me | Holder::Unknown => false,
    };
    if !contradicted {
        return None;
    }
    Some(match (s.job_in_flight(), &s.renewal, s.server()) {
        (Some(job), _, _) => Demotion::LostDuring(job.into()),
        (None, _, Server::Starting) => Demotion::LostWhileStarting,
        (None, Some(Renewal::Lost { .. }), _) => Demotion::UpdateRefused,
        (None, _, _) => Demotion::NoLock,
    })
}
