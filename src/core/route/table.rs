//! What a look decides: where every listener routes, why not elsewhere, which sessions may live, until when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::address::Address;
use super::primary::Primary;
use super::reason::{Alarm, Because, Out};
use crate::cluster::Tenure;
use crate::{MemberName, Moment};

/// The outcome of a look.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Who holds the lock, as far as etcd's last word goes.
    pub leader: Option<Tenure>,
    /// Since when, as far as this router saw it.
    pub leader_since: Option<Moment>,
    /// The decision on the primary, which the write pools and others rest on.
    pub primary: Primary,
    /// One for each listener, in the order of the configuration.
    pub pools: Vec<Pool>,
    /// How every member is to be asked from now on; who is not named is unknown and not asked.
    pub members: BTreeMap<MemberName, Asks>,
    /// The members found dead: their sessions end, whatever pool they are in.
    pub dead: BTreeSet<MemberName>,
    /// Whether the lock is to be read again at once, from another endpoint.
    pub read_elsewhere: bool,
    /// What somebody may be needed for.
    pub alarms: Vec<Alarm>,
    /// When to look again even if nothing happens.
    pub again: Moment,
}

/// How a member is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asks {
    /// The time from one question to its REST API to the next, one in flight.
    pub every: Duration,
    /// Whether its PostgreSQL is asked too (P3).
    pub postgres: bool,
    /// An answer asked for before this moment does not count: ask at once if the last was.
    pub not_before: Moment,
}

impl Asks {
    /// How soon after a question a doubt has the same asked again, however many sessions doubt.
    const SOONEST: Duration = Duration::from_millis(50);

    /// When the next question is due that is like the one sent at `last`; `wanted` says whether such questions are
    /// asked without a doubt, `doubted` when a session last had one (at boot: never). A moment that is not after
    /// `now` means now, [`Moment::NEVER`] not until something changes.
    #[must_use]
    pub fn due(&self, last: Option<Moment>, wanted: bool, doubted: Moment, now: Moment) -> Moment {
        match last {
            // A doubt younger than the last question wants an answer, also of whom is not asked otherwise.
            Some(sent) if sent <= doubted => sent.after(self.every.min(Self::SOONEST)),
            None if doubted > Moment::BOOT => now,
            Some(_) | None if !wanted => Moment::NEVER,
            Some(sent) if sent >= self.not_before => sent.after(self.every),
            Some(_) | None => now,
        }
    }
}

/// A place to send sessions: a member, at an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Which member.
    pub member: MemberName,
    /// Where its PostgreSQL listens.
    pub address: Address,
}

/// What a listener does with a new client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to one of the targets.
    Route,
    /// It waits.
    Hold(Because),
    /// It is told to go away.
    Refuse(Because),
}

/// Where a member stands in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Among the targets.
    In,
    /// Among the targets because nobody in the pool answers: kept, since an empty pool would be worse.
    Kept,
    /// Among the targets because the pool is empty and this one is of the listener's `fallback`.
    Fallback,
    /// Left out.
    Out(Out),
}

/// What becomes of the sessions that are on a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residence {
    /// They may live.
    Stay,
    /// They may live until then, if nothing changes.
    Until(Moment),
    /// They end.
    End,
}

/// What one listener routes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The listener's name.
    pub listener: String,
    /// What it does with a new client.
    pub verdict: Verdict,
    /// Where it may send one.
    pub targets: Vec<Target>,
    /// Every known member, and why it is in or out.
    pub places: BTreeMap<MemberName, Place>,
    /// What becomes of sessions by where they are; on a target that is not named here they end.
    pub residents: BTreeMap<Target, Residence>,
    /// After this moment nobody may be routed by this pool any more.
    pub valid_until: Moment,
    /// When the one target of a pool for the leader was last asked and found accepting; a target that a session
    /// had reason to doubt later than that gets nobody. Pools of several do not wait: there are others.
    pub evidence: Option<Moment>,
}

impl Pool {
    /// Whether a target that was doubted at `doubted` (at boot: never) has not shown since that it accepts.
    #[must_use]
    pub fn waits_for_evidence(&self, doubted: Moment) -> bool {
        doubted > Moment::BOOT && self.evidence.is_some_and(|evidence| evidence <= doubted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_is_over_when_the_leader_was_asked_after_it_and_never_began_for_readers() {
        let at = |seconds| Moment::from_boot(Duration::from_secs(seconds));
        let mut pool = Pool {
            listener: "write".into(),
            verdict: Verdict::Route,
            targets: Vec::new(),
            places: BTreeMap::new(),
            residents: BTreeMap::new(),
            valid_until: Moment::NEVER,
            evidence: Some(at(5)),
        };
        let waits = [4, 5, 6].map(|doubted| pool.waits_for_evidence(at(doubted)));
        assert_eq!(waits, [false, true, true]);
        pool.evidence = Some(Moment::BOOT);
        assert!(!pool.waits_for_evidence(Moment::BOOT), "nobody doubts it");
        pool.evidence = None;
        assert!(!pool.waits_for_evidence(at(6)));
    }
}
