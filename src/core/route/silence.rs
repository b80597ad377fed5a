//! Members found dead: whatever is asked of them, nothing comes back.
//!
//! TCP may take a quarter of an hour to give up a peer that vanished, and a frozen process never closes anything;
//! a member whose REST API and PostgreSQL are both silent is given up long before. A refusal is no silence: the
//! machine that refuses is alive, and its kernel has ended the sessions of a process that is gone. And a router
//! that hears nobody at all knows nothing of anybody: the silence may be its own.

use std::time::Duration;

use super::Snapshot;
use crate::probe::{NoAnswer, Rest};
use crate::proof::P1_LIVE;
use crate::{MemberName, Moment, Observed};

/// How long a member was not heard before it counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(3);
/// How long its PostgreSQL's port has been silent by then: one lost packet is not enough.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// Whether `member` was heard once and now, asked by both ways, is silent.
pub(super) fn is_dead(member: &MemberName, s: &Snapshot<'_>) -> bool {
    let Some(probe) = s.probes.get(member) else {
        return false;
    };
    let Some(heard) = probe.rest.asked().max(probe.postgres.asked()) else {
        return false;
    };
    is_silent(&probe.rest)
        // What was silent before the REST API was heard last says nothing of now.
        && silent_since(&probe.postgres).is_some_and(|since| {
            probe.rest.asked().is_none_or(|rest| since > rest) && s.now.since(since) >= ASKED_AGAIN
        })
        && s.now.since(heard) >= DEAD_AFTER
        && hears_anybody(s)
}

/// Whether nobody answers for the member's REST API, or only a stranger. Whose kernel refuses, or who answers nonsense,
/// is alive.
fn is_silent(rest: &Rest) -> bool {
    match rest {
        Observed::Fresh { .. } => false,
        Observed::Stale { cause, .. } | Observed::Unknown { cause, .. } => match cause {
            NoAnswer::TimedOut | NoAnswer::Failed(_) | NoAnswer::Foreign(_) => true,
            NoAnswer::NotAsked | NoAnswer::NoAddress | NoAnswer::Refused | NoAnswer::Garbage(_) => {
                false
            }
        },
    }
}

fn silent_since<T>(asked: &Observed<T, NoAnswer>) -> Option<Moment> {
    match asked {
        Observed::Fresh { .. } => None,
        Observed::Stale { since, cause, .. } | Observed::Unknown { since, cause } => match cause {
            NoAnswer::TimedOut | NoAnswer::Failed(_) => Some(*since),
            NoAnswer::NotAsked
            | NoAnswer::NoAddress
            | NoAnswer::Refused
            | NoAnswer::Foreign(_)
            | NoAnswer::Garbage(_) => None,
        },
    }
}

/// Whether etcd or any member answers this router.
fn hears_anybody(s: &Snapshot<'_>) -> bool {
    let lately = |asked: Moment| s.now.since(asked) < P1_LIVE;
    let etcd = s.reading.fresh().is_some_and(|(_, asked)| lately(asked));
    let answers = |rest: &Rest| rest.fresh().is_some_and(|(_, asked)| lately(asked));
    etcd || s.probes.values().any(|probe| answers(&probe.rest))
}
