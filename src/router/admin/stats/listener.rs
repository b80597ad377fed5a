//! A listener's part of the document: what it does with a client that comes now, and why with each member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use trunkline_core::MemberName;
use trunkline_core::config::router::To;
use trunkline_core::route::{Out, Place, Pool, Row, Target};

use super::cluster::AsOf;
use super::{CounterStats, ListenerStats, PlaceStats, Tally, TargetStats, Tone};
use crate::admin::ready::Standing;
use crate::door::{Count, Door};
use crate::published::{Lane, Seat, Snapshot};
use crate::traffic::Bytes;

impl ListenerStats {
    /// A listener, by the snapshot its sessions route by; `None` if that knows no such listener.
    pub(super) fn of(
        door: &Door,
        snapshot: &Snapshot,
        tallies: &BTreeMap<(String, String), Tally>,
        as_of: &AsOf,
    ) -> Option<Self> {
        let lane = snapshot.lane(&door.config.name)?;
        let pool = &lane.pool;
        let standing = Standing::of(door, pool, as_of.now);
        let count = &door.count;
        let whose = (door.cluster.clone(), door.config.name.clone());
        let tally = tallies.get(&whose).cloned().unwrap_or_default();
        Some(Self {
            name: door.config.name.clone(),
            bind: door.config.bind.iter().map(ToString::to_string).collect(),
            to: door.config.to.as_str(),
            leaving: door.leaving,
            state: standing.word(),
            because: match &standing {
                Standing::Routing => destination(door, pool, snapshot),
                Standing::Holding(because) | Standing::Refusing(because) => because.clone(),
            },
            clients: count.clients.load(Relaxed),
            held: count.held.load(Relaxed),
            sessions: lane
                .residents
                .iter()
                .map(|seat| seat.sessions.load(Relaxed))
                .sum(),
            bytes: tally.bytes.values().copied().sum(),
            targets: targets(lane),
            members: pool
                .places
                .iter()
                .map(|(member, place)| PlaceStats {
                    bytes: tally.bytes.get(member).copied().unwrap_or_default(),
                    ..PlaceStats::of(member, place, door, lane, snapshot)
                })
                .collect(),
            counters: tally.counters,
        })
    }
}

impl Tally {
    pub(super) fn of(count: &Count) -> Self {
        Self {
            counters: CounterStats {
                accepted: count.accepted.load(Relaxed),
                held_total: count.held_total.load(Relaxed),
                refused: count.refused.load(Relaxed),
                killed: count.killed.load(Relaxed),
            },
            bytes: count.bytes.read(),
        }
    }
}

/// Why a pool that routes does: for the leader's pool by the write table, for readers by who is in.
fn destination(door: &Door, pool: &Pool, snapshot: &Snapshot) -> String {
    let names: Vec<&str> = pool
        .targets
        .iter()
        .map(|target| target.member.as_str())
        .collect();
    let names = names.join(", ");
    if pool.places.values().any(|place| *place == Place::Fallback) {
        return format!("no member of the pool can be used: new sessions fall back to {names}");
    }
    match door.config.to {
        To::Primary => snapshot.table.primary.because().to_string(),
        To::StandbyLeader => format!("new sessions go to {names}, which leads the standby cluster"),
        To::Replicas | To::Sync | To::Any => format!("new sessions go to {names}"),
    }
}

fn targets(lane: &Lane) -> Vec<TargetStats> {
    let target = |seat: &Arc<Seat>| {
        let Target { member, address } = &seat.target;
        TargetStats {
            member: member.to_string(),
            address: address.to_string(),
            sessions: seat.sessions.load(Relaxed),
        }
    };
    lane.targets.iter().map(target).collect()
}

impl PlaceStats {
    fn of(
        member: &MemberName,
        place: &Place,
        door: &Door,
        lane: &Lane,
        snapshot: &Snapshot,
    ) -> Self {
        let is_in = lane
            .pool
            .targets
            .iter()
            .any(|target| target.member == *member);
        let (why, tone) = match place {
            Place::In => (welcome(member, door, snapshot), Tone::Serves),
            Place::Kept => (
                "kept, since nobody in the pool answers".to_owned(),
                Tone::Waiting,
            ),
            Place::Fallback => (
                "serves as the fallback, since nobody in the pool can".to_owned(),
                Tone::Waiting,
            ),
            Place::Out(out) => (out.to_string(), tone(*out)),
        };
        Self {
            member: member.to_string(),
            is_in,
            why,
            sessions: lane
                .residents
                .iter()
                .filter(|seat| seat.target.member == *member)
                .map(|seat| seat.sessions.load(Relaxed))
                .sum(),
            bytes: Bytes::default(),
            tone,
        }
    }
}

/// Why a member is in.
fn welcome(member: &MemberName, door: &Door, snapshot: &Snapshot) -> String {
    let leads = snapshot.table.primary.member.as_ref() == Some(member);
    let lag_unknown = || {
        let known = snapshot.members.get(member);
        known.is_some_and(|known| known.lag_unknown.is_some())
    };
    let why = match (door.config.to, leads) {
        (To::StandbyLeader, _) => "leads the standby cluster",
        (To::Primary | To::Any, true) if snapshot.table.primary.row == Row::Proven => {
            "the proven primary"
        }
        (To::Primary | To::Any, true) => "the primary that was proven last",
        (To::Primary | To::Replicas | To::Sync | To::Any, _) => match door.config.max_lag {
            Some(_) if lag_unknown() => "runs; lag unknown, overlooked for a while",
            Some(_) => "runs, lag within max_lag",
            None if door.config.to == To::Sync => "runs, is a synchronous standby",
            None => "runs",
        },
    };
    why.to_owned()
}

/// Whether a member that is left out belongs out.
const fn tone(out: Out) -> Tone {
    match out {
        Out::IsLeader
        | Out::NotLeader
        | Out::NoLoadBalance
        | Out::TagMissing
        | Out::NotSync
        | Out::Backup
        | Out::NotPreferred => Tone::Expected,
        Out::NoAddress
        | Out::NotProven
        | Out::NotAskedYet
        | Out::NoAnswer
        | Out::Dead
        | Out::NotRunning
        | Out::Lagging
        | Out::LagUnknown => Tone::Waiting,
        Out::SharedAddress | Out::Foreign | Out::StrayPrimary => Tone::Alarm,
    }
}
