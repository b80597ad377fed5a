//! The members' part of the document: what each says of itself, and how it answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use trunkline_core::config::router::Cluster;
use trunkline_core::follow::Trouble;
use trunkline_core::probe::Probe;
use trunkline_core::proof::Reading;
use trunkline_core::route::ledger::Known;
use trunkline_core::route::{self, Address, readers};
use trunkline_core::wire::member::Host;
use trunkline_core::{MemberName, Observed, Timeline};
use trunkline_io::clock;

use super::cluster::AsOf;
use super::{MemberStats, RestStats, Tally};
use crate::published::{Seat, Snapshot};
use crate::traffic::Bytes;

/// Every known member, by name.
pub(super) fn all(
    cluster: &Cluster,
    snapshot: &Snapshot,
    tallies: &BTreeMap<(String, String), Tally>,
    as_of: &AsOf,
) -> Vec<MemberStats> {
    let lags = lags(cluster, snapshot);
    let lag_of = |name: &MemberName| lags.get(name).copied();
    let members = snapshot.members.iter();
    members
        .map(|(name, known)| MemberStats {
            bytes: moved(&cluster.name, name, tallies),
            ..MemberStats::of(name, known, lag_of(name), snapshot, as_of)
        })
        .collect()
}

/// The bytes that a member exchanged with clients of all listeners there are and were.
fn moved(cluster: &str, member: &MemberName, tallies: &BTreeMap<(String, String), Tally>) -> Bytes {
    let own = tallies.iter().filter(|((of, _), _)| of == cluster);
    own.filter_map(|(_, tally)| tally.bytes.get(member))
        .copied()
        .sum()
}

impl MemberStats {
    /// What a member says of itself is taken from its REST API, or where that is silent from its key.
    fn of(
        name: &MemberName,
        known: &Known,
        lag_bytes: Option<u64>,
        snapshot: &Snapshot,
        as_of: &AsOf,
    ) -> Self {
        let published = &known.published;
        let unasked = Probe::new(snapshot.at);
        let probe = snapshot.probes.get(name).unwrap_or(&unasked);
        let told = probe.rest.fresh().map(|(answer, _)| &answer.document);
        let (role, state, timeline) = match told {
            Some(told) => (Some(&told.role), Some(&told.state), told.timeline),
            None => (
                published.role.as_ref(),
                published.state.as_ref(),
                published.timeline,
            ),
        };
        Self {
            name: name.to_string(),
            address: address(name, known, snapshot).map(|address| address.to_string()),
            role: role.map(ToString::to_string),
            state: state.map(ToString::to_string),
            timeline: timeline.map(|Timeline(number)| number),
            said_by: if told.is_some() { "rest" } else { "key" },
            lag_bytes,
            rest: RestStats::of(probe, as_of),
            tags: published.tags.0.clone().into_iter().collect(),
            key: match known.keyless {
                None => "present",
                Some(_) => "gone",
            },
            sessions: seats(snapshot)
                .filter(|seat| seat.target.member == *name)
                .map(|seat| seat.sessions.load(Ordering::Relaxed))
                .sum(),
            bytes: Bytes::default(),
        }
    }
}

impl RestStats {
    fn of(probe: &Probe, as_of: &AsOf) -> Self {
        let cause = match &probe.rest {
            Observed::Fresh { .. } => None,
            Observed::Stale { cause, .. } | Observed::Unknown { cause, .. } => {
                Some(cause.to_string())
            }
        };
        Self {
            ok: cause.is_none(),
            cause,
            age_seconds: probe.rest.asked().map(|asked| as_of.age(asked)),
        }
    }
}

/// Every seat there are sessions on or may be.
fn seats(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<Seat>> {
    snapshot.lanes.iter().flat_map(|lane| &lane.residents)
}

/// Where routing reaches the member; where it does not, what it published, if that is an address.
fn address(name: &MemberName, known: &Known, snapshot: &Snapshot) -> Option<Address> {
    let routed = seats(snapshot).find(|seat| seat.target.member == *name);
    let published = || match known.published.conn.as_ref() {
        Some(url) => match &url.host {
            Host::Ip(ip) => Some(Address::Tcp(SocketAddr::new(*ip, url.port))),
            Host::Name(_) | Host::Socket(_) => None,
        },
        None => None,
    };
    routed
        .map(|seat| seat.target.address.clone())
        .or_else(published)
}

/// How far each member is behind, by the same sum that `max_lag` is held against.
fn lags(cluster: &Cluster, snapshot: &Snapshot) -> BTreeMap<MemberName, u64> {
    let look = route::Snapshot {
        cluster,
        view: &snapshot.view,
        // Lag depends on neither of these.
        reading: &Observed::<Reading, _>::Unknown {
            since: snapshot.at,
            cause: Trouble::NotAsked,
        },
        addresses: &BTreeMap::new(),
        probes: &snapshot.probes,
        now: snapshot.at,
        wall: clock::wall(),
    };
    let lag = |(name, known): (&MemberName, &Known)| {
        let lag = readers::lag(snapshot.probes.get(name)?, known, &look)?;
        Some((name.clone(), lag))
    };
    snapshot.members.iter().filter_map(lag).collect()
}
