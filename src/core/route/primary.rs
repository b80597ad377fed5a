//! The write table: where writes go and whether the sessions of the last primary may live.
//!
//! A write target needs both, the lock and the role: the leader key appears before PostgreSQL is promoted, and a
//! member that says it holds the lock may be stopping. Ignorance (nobody can be asked) and contradiction
//! (somebody else holds the lock) are different inputs and lead to different rows.

use std::time::Duration;

use super::ledger::Proven;
use super::reason::{Because, Row};
use super::table::{Residence, Target};
use super::{Ledger, Snapshot};
use crate::cluster::{Lock, Tenure};
use crate::config::router::WhenUnproven;
use crate::probe::{Says, accepts};
use crate::proof::{P1_LIVE, P2_CARRIES};
use crate::{MemberName, Moment, StoreNumber};

mod pool;

/// How long a due switchover request keeps new clients waiting.
const HANDOVER: Duration = Duration::from_secs(10);
/// How long sessions outlive a leader key that is gone: a running primary may take it again.
const RETAKE: Duration = Duration::from_secs(2);

/// The decision on the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primary {
    /// Which row of the table applied.
    pub row: Row,
    /// The member it is about: the holder of the lock, or L.
    pub member: Option<MemberName>,
    /// What new write clients do.
    pub new: New,
    /// What becomes of the sessions on `member`; those on any other end.
    pub sessions: Residence,
    /// Whether the member's PostgreSQL is to be asked for itself (P3).
    pub asks_postgres: bool,
    /// When the evidence for `new` ends.
    pub valid_until: Moment,
    /// When the decision may change by time alone.
    pub again: Moment,
}

/// What new write clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum New {
    /// They go to the member.
    Route,
    /// They wait.
    Hold,
    /// They are refused at once.
    Refuse,
}

pub(super) fn decide(ledger: &Ledger, s: &Snapshot<'_>) -> Primary {
    let Some(view) = s.view.value() else {
        return Primary::hold(Row::NothingKnown, None);
    };
    match &view.lock {
        Lock::Held { tenure, .. } if !ledger.members().contains_key(&tenure.holder) => {
            Primary::hold(Row::Garbage, None)
        }
        // Whether or not etcd can be asked: nobody is writable here, and readers of the leader need no lock.
        Lock::Held { tenure, .. } if view.config.is_standby_cluster() => standby(&tenure.holder),
        Lock::Held { tenure, .. } if can_be_asked(tenure, ledger, s) => held(tenure, ledger, s),
        Lock::Held { tenure, .. } => blind(tenure, ledger, s),
        Lock::Garbage { .. } => Primary::hold(Row::Garbage, None),
        Lock::Vacant if view.config.is_standby_cluster() => match ledger.tenure() {
            Some((last, _)) => standby(&last.holder),
            None => Primary::hold(Row::NoLeader, None),
        },
        Lock::Vacant => vacant(view.exists, ledger, s),
    }
}

/// Whether etcd answers for this tenure: it was proven lately, or is so new that it could not be yet.
fn can_be_asked(tenure: &Tenure, ledger: &Ledger, s: &Snapshot<'_>) -> bool {
    if tenure.store == StoreNumber::REMEMBERED {
        return false;
    }
    let lately = |at: Moment| s.now.since(at) < P1_LIVE;
    let proven = ledger
        .lock()
        .is_some_and(|lock| lock.tenure == *tenure && lately(lock.asked));
    proven
        || ledger
            .tenure()
            .is_some_and(|(known, first)| known == tenure && lately(*first))
}

/// `leader` leads a standby cluster, or did last: there is nobody to write to.
fn standby(leader: &MemberName) -> Primary {
    Primary {
        new: New::Refuse,
        ..Primary::hold(Row::StandbyCluster, Some(leader))
    }
}

/// etcd says that `tenure`'s holder has the lock. Its sessions live no longer than the lease does for certain, or its
/// own word carries them: a lease that is about to end may be over before etcd is found silent.
fn held(tenure: &Tenure, ledger: &Ledger, s: &Snapshot<'_>) -> Primary {
    let decided = by_holder(tenure, ledger, s);
    let lease = ledger.lock().filter(|lock| lock.tenure == *tenure);
    let ends = lease.filter(|lock| lock.lasts() < lock.asked.after(P1_LIVE));
    match ends {
        Some(lock) if decided.sessions == Residence::Stay && !ledger.was_paused() => {
            let word = ledger.proven().map_or(Moment::BOOT, word_until);
            let ends = Primary {
                sessions: Residence::End,
                ..decided
            };
            ends.keep(lock.lasts().max(word), s.now)
        }
        Some(_) | None => decided,
    }
}

/// What the holder of the lock says of itself, and what is proven of it.
fn by_holder(tenure: &Tenure, ledger: &Ledger, s: &Snapshot<'_>) -> Primary {
    let member = Some(&tenure.holder);
    let says = ledger.says(&tenure.holder, s);
    let proven = ledger.proven();
    if says == Says::StandbyLeader {
        return standby(&tenure.holder);
    }
    // Were the new holder proven, it would be L by now.
    if proven.is_some_and(|proven| proven.tenure.holder != tenure.holder) {
        return Primary {
            asks_postgres: false,
            ..Primary::hold(Row::OtherHolds, member)
        };
    }
    let stay = |row| Primary {
        sessions: Residence::Stay,
        ..Primary::hold(row, member)
    };
    if let Some(since) = ledger.handover_since()
        && proven.is_some()
        && s.now.since(since) < HANDOVER
    {
        return Primary {
            again: since.after(HANDOVER),
            ..stay(Row::Handover)
        };
    }
    let in_tenure = proven.is_some_and(|proven| proven.tenure == *tenure);
    if says == Says::InRecovery && in_tenure {
        return Primary::hold(Row::InRecovery, member);
    }
    if ledger.is_contradicted() {
        return stay(Row::Contradicted);
    }
    let live = ledger.lock().filter(|lock| lock.is_live(tenure, s.now));
    match (says, live) {
        (Says::Primary { asked, .. }, Some(lock)) => {
            stay(Row::Proven).route(lock.expires().min(asked.after(P2_CARRIES)))
        }
        (Says::Primary { .. }, None) => stay(Row::LeaseNotProven),
        (Says::InRecovery | Says::NotRunning | Says::StandbyLeader, _) => Primary {
            asks_postgres: true,
            ..stay(Row::NotRunning)
        },
        (Says::Nothing, live) if in_tenure => {
            let silent = Primary {
                asks_postgres: true,
                ..stay(Row::SilentProven)
            };
            match (live, accepting(&tenure.holder, ledger, s)) {
                (Some(lock), Some(asked)) => {
                    silent.route(lock.expires().min(asked.after(P2_CARRIES)))
                }
                (Some(_) | None, _) => silent,
            }
        }
        (Says::Nothing, _) => stay(Row::SilentUnproven),
    }
}

/// There is no leader key.
fn vacant(exists: bool, ledger: &Ledger, s: &Snapshot<'_>) -> Primary {
    let Some(proven) = ledger.proven() else {
        let row = if exists {
            Row::NoLeader
        } else {
            Row::NoCluster
        };
        return Primary::hold(row, None);
    };
    // Somebody else held the lock after L and was never proven: L is nobody to fall back to.
    if ledger
        .tenure()
        .is_some_and(|(last, _)| last.holder != proven.tenure.holder)
    {
        return Primary::hold(Row::NoLeader, None);
    }
    let member = Some(&proven.tenure.holder);
    let gone = ledger.gone().unwrap_or(s.now);
    // Only what was asked after the key went says anything of who holds on.
    let says = ledger.says_since(&proven.tenure.holder, gone, s);
    if says == Says::InRecovery || says == Says::StandbyLeader {
        return Primary::hold(Row::GoneInRecovery, member);
    }
    let deadline = ledger.lock().map_or(Moment::BOOT, |lock| lock.deadline);
    let claims = matches!(says, Says::Primary { lock: true, .. });
    if claims && another_claims(&proven.tenure.holder, ledger, s) {
        let until = deadline.min(gone.after(RETAKE));
        return Primary::hold(Row::SplitBrain, member).keep(until, s.now);
    }
    if ledger.was_paused() {
        return paused(says, member, ledger, s);
    }
    match says {
        Says::Primary { lock: true, asked } => {
            let stay = Primary::hold(Row::GoneRetained, member).keep(Moment::NEVER, s.now);
            stay.route(asked.after(P2_CARRIES))
        }
        Says::Primary { lock: false, .. } => {
            Primary::hold(Row::GoneWithoutLock, member).keep(gone.after(RETAKE), s.now)
        }
        Says::InRecovery | Says::StandbyLeader | Says::NotRunning | Says::Nothing => {
            // etcd was silent for so long (or ever since the router started) that only the leader's own word carried
            // its sessions: it carries them on until the leader can have been asked what it makes of the key that is gone.
            let proof = if deadline < gone {
                word_until(proven)
            } else {
                deadline
            };
            let until = proof.min(gone.after(RETAKE));
            Primary::hold(Row::Gone, member).keep(until, s.now)
        }
    }
}

/// etcd cannot be asked; `tenure` is the last it told of.
fn blind(tenure: &Tenure, ledger: &Ledger, s: &Snapshot<'_>) -> Primary {
    let member = Some(&tenure.holder);
    let Some(proven) = ledger.proven() else {
        return Primary::hold(Row::Blind, member);
    };
    if proven.tenure.holder != tenure.holder {
        return Primary::hold(Row::OtherHolds, member);
    }
    let says = ledger.says(&tenure.holder, s);
    let deadline = ledger.lock().map_or(Moment::BOOT, |lock| lock.deadline);
    let until = deadline.max(word_until(proven));
    match says {
        Says::Primary { lock: true, .. } if another_claims(&tenure.holder, ledger, s) => {
            Primary::hold(Row::SplitBrain, member).keep(deadline, s.now)
        }
        Says::InRecovery | Says::StandbyLeader => Primary::hold(Row::BlindContradicted, member),
        Says::Primary { .. } | Says::NotRunning | Says::Nothing if ledger.was_paused() => {
            paused(says, member, ledger, s)
        }
        Says::Primary { lock: true, asked } => {
            let confirmed = Primary::hold(Row::BlindConfirmed, member).keep(until, s.now);
            // An agent that says when it will demote is taken at its word, also where that is sooner.
            let demotes = proven.word_until.unwrap_or(Moment::NEVER);
            if s.now >= demotes {
                return confirmed;
            }
            confirmed.route(asked.after(P2_CARRIES).min(demotes))
        }
        Says::Primary { lock: false, .. } => Primary::hold(Row::BlindContradicted, member),
        Says::NotRunning | Says::Nothing => {
            let until = match s.cluster.when_unproven {
                WhenUnproven::Kill => until,
                WhenUnproven::Keep => Moment::NEVER,
            };
            Primary::hold(Row::Blind, member).keep(until, s.now)
        }
    }
}

/// Until when the leader's own word carries its sessions while etcd is silent: to the end of its lease, where it says
/// when that is, be it sooner or later than the three seconds of one that does not.
fn word_until(proven: &Proven) -> Moment {
    let carries = proven.word.map(|asked| asked.after(P2_CARRIES));
    proven.word_until.or(carries).unwrap_or(Moment::BOOT)
}

/// The cluster was paused when the lock was last seen: its lease may run out while all is well.
fn paused(says: Says, member: Option<&MemberName>, ledger: &Ledger, s: &Snapshot<'_>) -> Primary {
    let stay = Primary {
        asks_postgres: true,
        ..Primary::hold(Row::Paused, member)
    };
    let stay = stay.keep(Moment::NEVER, s.now);
    let in_ttl = ledger
        .lock()
        .is_some_and(|lock| s.now.since(lock.asked) <= lock.ttl);
    let accepting = member.and_then(|member| accepting(member, ledger, s));
    // Whoever else says that it holds the lock speaks louder than a PostgreSQL that says only that it accepts.
    let accepting =
        accepting.filter(|_| member.is_none_or(|member| !another_claims(member, ledger, s)));
    match (says, accepting) {
        (Says::Primary { lock: true, asked }, _) => stay.route(asked.after(P2_CARRIES)),
        (_, Some(asked)) if in_ttl => stay.route(asked.after(P2_CARRIES)),
        (_, _) => stay,
    }
}

/// When the PostgreSQL of `member` was last heard to accept. A standby accepts too: one whose last word was that it
/// is no primary is not taken for one because it went silent.
fn accepting(member: &MemberName, ledger: &Ledger, s: &Snapshot<'_>) -> Option<Moment> {
    if ledger.last_word_denies(member, s) {
        return None;
    }
    s.probes.get(member).and_then(|probe| accepts(probe, s.now))
}

/// Whether a member other than `holder` says that it holds the lock, asked since the present tenure is known. Whoever
/// claimed it before the key went still counts, for as long as his word does: he may have taken it meanwhile.
fn another_claims(holder: &MemberName, ledger: &Ledger, s: &Snapshot<'_>) -> bool {
    ledger
        .members()
        .keys()
        .filter(|name| *name != holder)
        .any(|name| matches!(ledger.says(name, s), Says::Primary { lock: true, .. }))
}

impl Primary {
    /// New clients wait, sessions end: what every row begins with.
    fn hold(row: Row, member: Option<&MemberName>) -> Self {
        Self {
            row,
            member: member.cloned(),
            new: New::Hold,
            sessions: Residence::End,
            asks_postgres: false,
            valid_until: Moment::NEVER,
            again: Moment::NEVER,
        }
    }

    /// The same, with new clients going to the member as long as the evidence lasts.
    fn route(self, valid_until: Moment) -> Self {
        Self {
            new: New::Route,
            valid_until,
            again: valid_until.min(self.again),
            ..self
        }
    }

    /// The same, with the member's sessions living until `until`.
    fn keep(self, until: Moment, now: Moment) -> Self {
        let sessions = match until {
            _ if now >= until => return self,
            Moment::NEVER => Residence::Stay,
            until => Residence::Until(until),
        };
        Self {
            sessions,
            again: until.min(self.again),
            ..self
        }
    }

    /// Whether new write clients have somewhere to go.
    #[must_use]
    pub const fn routes(&self) -> bool {
        matches!(self.new, New::Route)
    }

    /// Why, for log, page and client.
    #[must_use]
    pub fn because(&self) -> Because {
        Because::Row {
            row: self.row,
            member: self.member.clone(),
        }
    }

    /// The member as a target, if its address is known.
    #[must_use]
    pub fn target(&self, s: &Snapshot<'_>) -> Option<Target> {
        let member = self.member.clone()?;
        let address = s.addresses.get(&member)?.clone();
        Some(Target { member, address })
    }
}
