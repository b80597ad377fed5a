//! The pools of readers: replicas, synchronous standbys, any member.
//!
//! They are fail-static: a stale list of replicas is harmless, an empty one is an outage. So a member whose lag
//! cannot be told stays for a grace, and where nobody in the pool answers any more, those that etcd says are
//! running are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ledger::{Known, replayed};
use super::primary::Primary;
use super::reason::{Because, Out, Row};
use super::table::{Place, Pool, Residence, Target, Verdict};
use super::{Ledger, Snapshot, silence};
use crate::config::router::{Listener, OnLeave, To};
use crate::probe::{NoAnswer, Probe};
use crate::wire::member::{Role, State};
use crate::{Lsn, MemberName, Observed};

/// How long a pool of readers may be routed by without another look: a router that was frozen looks first.
const VALID: Duration = Duration::from_secs(5);

pub(super) fn pool(
    listener: &Listener,
    primary: &Primary,
    ledger: &Ledger,
    s: &Snapshot<'_>,
) -> Pool {
    let mut places: BTreeMap<MemberName, Place> = ledger
        .members()
        .iter()
        .map(|(name, known)| (name.clone(), place(name, known, listener, primary, s)))
        .collect();
    let mut valid_until = s.now.after(VALID);
    if !places.values().any(serves)
        && let Some(to) = listener.fallback
    {
        let instead = fall_back(listener, to, primary, ledger, s);
        let names = instead.targets.into_iter().map(|target| target.member);
        places.extend(names.map(|name| (name, Place::Fallback)));
        valid_until = valid_until.min(instead.valid_until);
    }
    if !places.values().any(serves) {
        keep_the_silent(&mut places, ledger);
    }
    leave_out_lower_tiers(&mut places, listener, ledger);
    let targets: Vec<Target> = places
        .iter()
        .filter(|(_, place)| serves(place))
        .filter_map(|(name, _)| target(name, s))
        .collect();
    let verdict = if targets.is_empty() {
        Verdict::Hold(Because::EmptyPool)
    } else {
        Verdict::Route
    };
    Pool {
        residents: residents(&targets, &places, listener, primary, ledger, s),
        listener: listener.name.clone(),
        verdict,
        targets,
        places,
        valid_until,
        evidence: None,
    }
}

/// Whether a member at this place gets new sessions.
const fn serves(place: &Place) -> bool {
    match place {
        Place::In | Place::Kept | Place::Fallback => true,
        Place::Out(_) => false,
    }
}

/// The pool to use where this one is empty. Tags choose among the members of a pool, not among pools.
fn fall_back(
    listener: &Listener,
    to: To,
    primary: &Primary,
    ledger: &Ledger,
    s: &Snapshot<'_>,
) -> Pool {
    let tags = BTreeMap::new();
    let instead = Listener {
        to,
        fallback: None,
        tags,
        ..listener.clone()
    };
    super::pool(&instead, primary, ledger, s)
}

/// Whether a member belongs into the pool, by itself.
fn place(
    name: &MemberName,
    known: &Known,
    listener: &Listener,
    primary: &Primary,
    s: &Snapshot<'_>,
) -> Place {
    let out = |why| Place::Out(why);
    if target(name, s).is_none() {
        return out(Out::NoAddress);
    }
    if shares_its_address(name, primary, s) {
        return out(Out::SharedAddress);
    }
    if silence::is_dead(name, s) {
        return out(Out::Dead);
    }
    // Whoever leads a standby cluster is a reader like the others to a pool of any.
    let is_one_of_any = listener.to == To::Any && primary.row == Row::StandbyCluster;
    if leads(name, primary, s) && !is_one_of_any {
        return match (listener.to, primary.routes()) {
            (To::Any, true) if tags_match(known, &listener.tags) => Place::In,
            (To::Any, true) => out(Out::TagMissing),
            (To::Any, false) => out(Out::NotProven),
            _ => out(Out::IsLeader),
        };
    }
    if known.published.tags.noloadbalance() {
        return out(Out::NoLoadBalance);
    }
    if !tags_match(known, &listener.tags) {
        return out(Out::TagMissing);
    }
    if listener.to == To::Sync && !is_sync(name, s) {
        return out(Out::NotSync);
    }
    match s.probes.get(name).map(|probe| answers(probe, known)) {
        None => out(Out::NotAskedYet),
        Some(Err(why)) => out(why),
        Some(Ok(probe)) => within_lag(probe, known, listener, s),
    }
}

/// Whether the member answers as a running replica, often enough.
fn answers<'p>(probe: &'p Probe, known: &Known) -> Result<&'p Probe, Out> {
    let document = match &probe.rest {
        Observed::Fresh { value, .. } => &value.document,
        Observed::Stale { cause, .. } | Observed::Unknown { cause, .. } => {
            return Err(match cause {
                NoAnswer::NotAsked => Out::NotAskedYet,
                NoAnswer::Foreign(_) => Out::Foreign,
                NoAnswer::NoAddress
                | NoAnswer::Refused
                | NoAnswer::TimedOut
                | NoAnswer::Failed(_)
                | NoAnswer::Garbage(_) => Out::NoAnswer,
            });
        }
    };
    match (&document.state, &document.role) {
        (State::Running, Role::Primary | Role::Promoted) => Err(Out::StrayPrimary),
        (State::Running, _) if known.health.is_up() => Ok(probe),
        (State::Running, _) => Err(Out::NotAskedYet),
        (_, _) => Err(Out::NotRunning),
    }
}

/// Lag that is too large leaves the member out; lag that is unknown does so only after the grace.
fn within_lag(probe: &Probe, known: &Known, listener: &Listener, s: &Snapshot<'_>) -> Place {
    let Some(limit) = listener.max_lag else {
        return Place::In;
    };
    match lag(probe, known, s) {
        Some(lag) if lag > limit => Place::Out(Out::Lagging),
        Some(_) => Place::In,
        None => match known.lag_unknown {
            Some(since) if s.now.since(since) >= s.cluster.lag_grace => Place::Out(Out::LagUnknown),
            Some(_) | None => Place::In,
        },
    }
}

/// How many bytes of WAL a member is behind the leader, by the newest that is known of both.
#[must_use]
pub fn lag(probe: &Probe, known: &Known, s: &Snapshot<'_>) -> Option<u64> {
    Some(leader_position(s)?.ahead_of(replayed(probe, known)?))
}

/// The leader's position: by `/status`, or by its own word where that is newer.
fn leader_position(s: &Snapshot<'_>) -> Option<Lsn> {
    let view = s.view.value()?;
    let told = view.lock.tenure().and_then(|tenure| {
        let (answer, _) = s.probes.get(&tenure.holder)?.rest.fresh()?;
        answer.document.xlog.location
    });
    told.max(view.status.optime)
}

/// Where the pool is empty because nobody answers, and there is nothing to fall back to, those that etcd says are
/// running are kept.
fn keep_the_silent(places: &mut BTreeMap<MemberName, Place>, ledger: &Ledger) {
    for (name, place) in places {
        let Some(known) = ledger.members().get(name) else {
            continue;
        };
        let runs = known.published.state == Some(State::Running)
            && known.published.role == Some(Role::Replica);
        // A member without a key has only its REST API to speak for it.
        if *place == Place::Out(Out::NoAnswer) && known.was_up && known.keyless.is_none() && runs {
            *place = Place::Kept;
        }
    }
}

/// Preferred members first, then the others, then the backups: only one of these serves.
fn leave_out_lower_tiers(
    places: &mut BTreeMap<MemberName, Place>,
    listener: &Listener,
    ledger: &Ledger,
) {
    let tier = |name: &MemberName| {
        if listener.backup.contains(name) {
            Some(Out::Backup)
        } else if has_tags(name, &listener.prefer, ledger) {
            None
        } else {
            Some(Out::NotPreferred)
        }
    };
    let tiers: BTreeSet<_> = places
        .iter()
        .filter(|(_, place)| serves(place))
        .map(|(name, _)| tier(name).map_or(0, |why| if why == Out::Backup { 2 } else { 1 }))
        .collect();
    let Some(best) = tiers.first() else { return };
    for (name, place) in places.iter_mut().filter(|(_, place)| serves(place)) {
        match tier(name) {
            Some(Out::Backup) if *best < 2 => *place = Place::Out(Out::Backup),
            Some(Out::NotPreferred) if *best < 1 => *place = Place::Out(Out::NotPreferred),
            Some(_) | None => {}
        }
    }
}

/// Sessions of readers stay where they are, whatever the pool does, unless their member became primary or is
/// no member any more.
fn residents(
    targets: &[Target],
    places: &BTreeMap<MemberName, Place>,
    listener: &Listener,
    primary: &Primary,
    ledger: &Ledger,
    s: &Snapshot<'_>,
) -> BTreeMap<Target, Residence> {
    let is_written_to = !matches!(primary.row, Row::OtherHolds | Row::StandbyCluster);
    let welcome_primary = listener.to == To::Any || listener.fallback == Some(To::Primary);
    ledger
        .members()
        .keys()
        .filter_map(|name| target(name, s))
        .map(|target| {
            // A member that took the lock and is not proven is no worse a place to read than it was; in a standby
            // cluster nobody is written to.
            let was_written_to = primary.member.as_ref() == Some(&target.member) && is_written_to;
            let left = match places.get(&target.member) {
                Some(Place::Out(Out::SharedAddress | Out::Dead)) => Residence::End,
                Some(Place::Out(Out::IsLeader | Out::StrayPrimary)) if !welcome_primary => {
                    Residence::End
                }
                Some(Place::Out(_)) if was_written_to => primary.sessions,
                Some(Place::Out(Out::StrayPrimary)) => Residence::End,
                Some(Place::Out(_)) if listener.on_leave == OnLeave::Kill => Residence::End,
                Some(Place::Out(_) | Place::In | Place::Kept | Place::Fallback) | None => {
                    Residence::Stay
                }
            };
            let stays = if targets.contains(&target) {
                Residence::Stay
            } else {
                left
            };
            (target, stays)
        })
        .collect()
}

fn target(name: &MemberName, s: &Snapshot<'_>) -> Option<Target> {
    Some(Target {
        member: name.clone(),
        address: s.addresses.get(name)?.clone(),
    })
}

/// Whether `name` is the primary by etcd's word, or is routed to as such while the leader key is gone.
fn leads(name: &MemberName, primary: &Primary, s: &Snapshot<'_>) -> bool {
    primary.member.as_ref() == Some(name) && (holds_the_lock(name, s) || primary.routes())
}

fn holds_the_lock(name: &MemberName, s: &Snapshot<'_>) -> bool {
    let tenure = s.view.value().and_then(|view| view.lock.tenure());
    tenure.is_some_and(|tenure| tenure.holder == *name)
}

/// Names compare without case in `/sync`, and it counts only while its leader is the holder of the lock.
fn is_sync(name: &MemberName, s: &Snapshot<'_>) -> bool {
    let Some(view) = s.view.value() else {
        return false;
    };
    let Some(sync) = &view.sync else { return false };
    let leads = match (&sync.leader, view.lock.tenure()) {
        (Some(leader), Some(tenure)) => tenure.holder.is_case_insensitively(leader.as_str()),
        // The lock is gone for now: the last word on who is synchronous still holds.
        (Some(_), None) => true,
        (None, _) => false,
    };
    leads && sync.names(name)
}

/// Whether `name` has all of `tags`.
pub(super) fn has_tags(
    name: &MemberName,
    tags: &BTreeMap<String, String>,
    ledger: &Ledger,
) -> bool {
    ledger
        .members()
        .get(name)
        .is_some_and(|known| tags_match(known, tags))
}

fn tags_match(known: &Known, tags: &BTreeMap<String, String>) -> bool {
    tags.iter().all(|(tag, value)| {
        known
            .published
            .tags
            .get(tag)
            .is_some_and(|has| has == *value)
    })
}

fn shares_its_address(name: &MemberName, primary: &Primary, s: &Snapshot<'_>) -> bool {
    let Some(address) = s.addresses.get(name) else {
        return false;
    };
    primary.member.as_ref() != Some(name)
        && s.addresses
            .iter()
            .any(|(other, theirs)| other != name && theirs == address)
}

/// The pairs of members that have one address.
pub(super) fn shared_addresses(s: &Snapshot<'_>) -> Vec<(MemberName, MemberName)> {
    let mut owners = BTreeMap::new();
    let mut pairs = Vec::new();
    for (name, address) in s.addresses {
        if let Some(owner) = owners.insert(address, name) {
            pairs.push((owner.clone(), name.clone()));
        }
    }
    pairs
}
