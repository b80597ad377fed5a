//! The lease of this agent and the lock that hangs on it: what is proven of both, until when.
//!
//! Stamps are when the *question was sent*, on the clock that counts suspend. A lease that etcd confirmed may end
//! `granted` after that, never earlier; what follows from it is [`Held::ends`].

use std::time::Duration;

use crate::{LeaseId, MemberName, Moment, RaftTerm, Revision};

/// A lease as etcd granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub id: LeaseId,
    /// The TTL that etcd really granted; it may be longer than what was asked for.
    pub granted: Duration,
    /// What was asked for: `ttl` of the day it was granted.
    pub wanted: Duration,
    /// When the grant or the last keepalive that was answered was sent.
    pub confirmed: Moment,
}

impl Lease {
    /// Before this moment it cannot have ended by itself.
    #[must_use]
    pub const fn ends(&self) -> Moment {
        self.confirmed.after(self.granted)
    }
}

/// Whether a lease that was kept alive in one raft term lives for its whole time, as an answer shows that a majority of
/// etcd agreed to afterwards, from an endpoint in this other term.
///
/// Who was etcd's leader answers a keepalive for as long as its election timeout after another was elected, and the lease
/// ends a whole time after *that* election. A majority agrees to nothing in a term once it has elected the leader of a later
/// one, and an endpoint is in no earlier term than what it tells of.
#[must_use]
pub fn is_confirmed(kept: RaftTerm, agreed: RaftTerm) -> bool {
    kept == agreed
}

/// The lock, as this agent last proved to hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The create revision of the leader key: the tenure.
    pub began: Revision,
    /// When the question that proved it was sent.
    pub confirmed: Moment,
    /// The TTL of the lease it hangs on.
    pub granted: Duration,
}

impl Held {
    /// Before this moment nobody else can have taken it, unless somebody deleted the key by hand.
    #[must_use]
    pub const fn ends(&self) -> Moment {
        self.confirmed.after(self.granted)
    }

    /// When PostgreSQL has to begin to stop if nothing confirms the lock until then: late enough not to give up
    /// a healthy primary for a short silence, early enough to have it stopped, whatever it does, before
    /// [`Held::ends`].
    #[must_use]
    pub fn demote_at(&self) -> Moment {
        self.ends().before(stop_budget(self.granted))
    }
}

/// How long a primary that lost etcd gets to stop: a quarter of the lease, between one and five seconds.
#[must_use]
pub fn stop_budget(granted: Duration) -> Duration {
    (granted / 4).clamp(Duration::from_secs(1), Duration::from_secs(5))
}

/// What came of asking etcd to keep the lease alive, or for one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Keeping {
    /// It lives; it may be another one than before.
    Kept(Lease),
    /// etcd did not answer; its words.
    Unreachable(String),
}

/// What came of changing a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// It was changed.
    Done,
    /// It was not: what the change was made from is no longer so, or the lease it was to hang on is gone.
    Refused,
    /// etcd did not answer; its words. The key may have been changed all the same.
    Unreachable(String),
}

/// What came of asking etcd to keep the lock (contract 1.4, refresh lock).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Renewal {
    /// The leader key is this agent's, on its living lease.
    Confirmed(Lease, Held),
    /// Somebody else holds it, or nobody does and it could not be put: etcd said so.
    Lost {
        /// Who does.
        holder: Option<MemberName>,
    },
    /// etcd did not answer; its words.
    Unreachable(String),
}

/// What came of trying to take the lock by creating the leader key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Acquisition {
    /// It is this agent's.
    Won(Lease, Held),
    /// Somebody else was first.
    Lost,
    /// etcd did not answer. The key may have been created all the same: the view will tell.
    Unreachable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keepalive_counts_only_if_etcd_had_no_election_since() {
        assert!(is_confirmed(RaftTerm(7), RaftTerm(7)));
        // Another leader was elected: before the keepalive, or since.
        assert!(!is_confirmed(RaftTerm(7), RaftTerm(8)));
        // The endpoint that was asked last has not heard of the election yet.
        assert!(!is_confirmed(RaftTerm(8), RaftTerm(7)));
    }
}
