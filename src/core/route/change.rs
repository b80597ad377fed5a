//! From one table to the next: whose sessions end, and what an operator should read.

use std::fmt;

use super::reason::{Alarm, Because, Out};
use super::table::{Place, Pool, Residence, Table, Target, Verdict};
use crate::MemberName;
use crate::cluster::Tenure;

/// Sessions that end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Of which listener.
    pub listener: String,
    /// On which target.
    pub target: Target,
    /// Why: that the member is dead or left a pool of readers, or else the decision on the primary; for the log.
    pub because: Because,
}

/// What changed, each worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody else holds the lock, or nobody.
    Leader(Option<Tenure>),
    /// What a listener does with new clients changed.
    Verdict {
        /// Which listener.
        listener: String,
        /// What it does now.
        verdict: Verdict,
        /// Where to, if it routes.
        targets: Vec<Target>,
        /// Why to the primary, if it is the primary it routes to.
        because: Option<Because>,
    },
    /// A member entered or left a pool.
    Place {
        /// Of which listener.
        listener: String,
        /// Which member.
        member: MemberName,
        /// Where it stands now.
        place: Place,
    },
    /// A state somebody may be needed for began.
    Alarm(Alarm),
    /// It ended.
    AlarmOver(Alarm),
}

/// What the step from `old` to `new` means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Change {
    /// Whose sessions end now.
    pub ends: Vec<End>,
    /// What happened.
    pub events: Vec<Event>,
}

/// Compares two tables of the same cluster; `old` is `None` at start.
pub fn between(old: Option<&Table>, new: &Table) -> Change {
    let mut change = Change::default();
    if old.is_none_or(|old| old.leader != new.leader) {
        change.events.push(Event::Leader(new.leader.clone()));
    }
    for pool in &new.pools {
        let before = old.and_then(|old| old.pools.iter().find(|had| had.listener == pool.listener));
        compare(before, pool, new, &mut change);
    }
    let had = old.map_or(&[][..], |old| &old.alarms);
    let began = new.alarms.iter().filter(|alarm| !had.contains(alarm));
    change.events.extend(began.cloned().map(Event::Alarm));
    let over = had.iter().filter(|alarm| !new.alarms.contains(alarm));
    change.events.extend(over.cloned().map(Event::AlarmOver));
    change
}

fn compare(old: Option<&Pool>, new: &Pool, table: &Table, change: &mut Change) {
    let because = table.primary.because();
    let why = |target: &Target| {
        let member = &target.member;
        match new.places.get(member) {
            _ if table.dead.contains(member) => Because::Dead(member.clone()),
            // A leader's pool goes by the write table, which says more.
            Some(Place::Out(Out::NotLeader | Out::NotProven))
            | Some(Place::In | Place::Kept | Place::Fallback)
            | None => because.clone(),
            Some(Place::Out(out)) => Because::LeftOut(member.clone(), *out),
        }
    };
    let may_live =
        |target: &Target| !matches!(new.residents.get(target), None | Some(Residence::End));
    for (target, residence) in old.iter().flat_map(|old| &old.residents) {
        if *residence != Residence::End && !may_live(target) {
            change.ends.push(End {
                listener: new.listener.clone(),
                target: target.clone(),
                because: why(target),
            });
        }
    }
    if old.is_none_or(|old| old.verdict != new.verdict || old.targets != new.targets) {
        change.events.push(Event::Verdict {
            listener: new.listener.clone(),
            verdict: new.verdict.clone(),
            targets: new.targets.clone(),
            because: Some(because).filter(|_| is_the_primary(&new.targets, table)),
        });
    }
    for (member, place) in &new.places {
        let before = old.and_then(|old| old.places.get(member));
        if before != Some(place) {
            change.events.push(Event::Place {
                listener: new.listener.clone(),
                member: member.clone(),
                place: place.clone(),
            });
        }
    }
}

fn is_the_primary(targets: &[Target], table: &Table) -> bool {
    matches!(targets, [only] if table.primary.member.as_ref() == Some(&only.member))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route => f.write_str("routing"),
            Self::Hold(because) => write!(f, "holding: {because}"),
            Self::Refuse(because) => write!(f, "refusing: {because}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In => f.write_str("in"),
            Self::Kept => f.write_str("in: kept, since nobody in the pool answers"),
            Self::Fallback => f.write_str("in: fallback, since the pool is empty"),
            Self::Out(why) => write!(f, "out: {why}"),
        }
    }
}
