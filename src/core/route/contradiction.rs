//! Claims of members against what etcd says: each makes the lock be read once more before anybody is routed.
//!
//! A claim that etcd has answered stays on record, so that a member which keeps contradicting (a stray primary,
//! say) cannot keep everybody waiting; it stays an alarm.

use std::collections::BTreeMap;

use crate::cluster::Tenure;
use crate::{MemberName, Moment};

/// What a member says against the holder of the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// It holds the lock itself and runs as primary.
    HoldsTheLock,
    /// It is on a higher timeline.
    HigherTimeline,
    /// It is the holder, was proven, and is in recovery.
    InRecovery,
}

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) member: MemberName,
    pub(super) what: What,
    pub(super) against: Tenure,
}

/// The claims made now, each with when it was first made.
#[derive(Clone, Debug, Default)]
pub(super) struct Contradictions {
    made: BTreeMap<Claim, Moment>,
    /// When the last proof of the lock was asked for.
    answered: Option<Moment>,
}

impl Contradictions {
    /// Notes the claims made now and when the last proof of the lock was asked for.
    pub(super) fn note(&mut self, claims: Vec<Claim>, proof: Option<Moment>, now: Moment) {
        let before = std::mem::take(&mut self.made);
        self.made = claims
            .into_iter()
            .map(|claim| {
                let since = before.get(&claim).copied().unwrap_or(now);
                (claim, since)
            })
            .collect();
        self.answered = proof;
    }

    /// Whether a claim was made that no proof asked for since then has answered.
    pub(super) fn are_open(&self) -> bool {
        self.made
            .values()
            .any(|since| self.answered.is_none_or(|asked| asked < *since))
    }
}
