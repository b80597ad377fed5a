//! Choosing one target of a pool for a new session.

use std::net::IpAddr;

use super::table::Target;
use crate::config::router::{Balance, Listener};

/// What a choice depends on beside the pool.
#[derive(Clone, Copy, Debug)]
pub struct Draw<'a> {
    /// Sessions on each target, in the targets' order.
    pub loads: &'a [u32],
    /// How many choices this listener has made: round robin's turn.
    pub turn: u64,
    /// A random number.
    pub chance: u64,
    /// Where the client comes from; none on a unix socket.
    pub client: Option<IpAddr>,
    /// Targets not to choose again, by place in the list: connecting to them failed.
    pub tried: &'a [usize],
}

/// The choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Picked {
    /// The target at this place in the list.
    Target(usize),
    /// Every target left has as many sessions as `server_maxconn` allows.
    Full,
    /// There is none left.
    Nobody,
}

/// Chooses among `targets` as `listener` says. Weights count for every way of choosing.
pub fn pick(listener: &Listener, targets: &[Target], draw: Draw<'_>) -> Picked {
    let left: Vec<Candidate> = targets
        .iter()
        .enumerate()
        .filter(|(place, _)| !draw.tried.contains(place))
        .map(|(place, target)| Candidate {
            place,
            load: draw.loads.get(place).copied().unwrap_or(0),
            weight: listener.weights.get(&target.member).copied().unwrap_or(1),
            name: target.member.as_str(),
        })
        .filter(|candidate| candidate.weight > 0)
        .collect();
    if left.is_empty() {
        return Picked::Nobody;
    }
    let limit = listener.server_maxconn.unwrap_or(u32::MAX);
    let free: Vec<Candidate> = left
        .into_iter()
        .filter(|candidate| candidate.load < limit)
        .collect();
    let chosen = match listener.balance {
        Balance::LeastConn => least_loaded(&free, draw.turn),
        Balance::RoundRobin => nth_by_weight(&free, draw.turn),
        Balance::Random => nth_by_weight(&free, draw.chance),
        Balance::Source => by_source(&free, draw.client),
    };
    chosen.map_or(Picked::Full, |candidate| Picked::Target(candidate.place))
}

#[derive(Clone, Copy)]
struct Candidate<'t> {
    place: usize,
    load: u32,
    weight: u32,
    name: &'t str,
}

/// The fewest sessions for its weight; equals in turn.
fn least_loaded<'t>(free: &[Candidate<'t>], turn: u64) -> Option<Candidate<'t>> {
    let lighter = |a: &Candidate<'_>, b: &Candidate<'_>| {
        // a.load / a.weight against b.load / b.weight, without division
        let (a, b) = (
            u64::from(a.load) * u64::from(b.weight),
            u64::from(b.load) * u64::from(a.weight),
        );
        a.cmp(&b)
    };
    let least = free.iter().min_by(|a, b| lighter(a, b))?;
    let equals: Vec<_> = free.iter().filter(|c| lighter(c, least).is_eq()).collect();
    equals
        .get(index(turn, equals.len()))
        .map(|candidate| **candidate)
}

/// The `n`th of a list in which every target stands as often as its weight says.
fn nth_by_weight<'t>(free: &[Candidate<'t>], n: u64) -> Option<Candidate<'t>> {
    let total: u64 = free
        .iter()
        .map(|candidate| u64::from(candidate.weight))
        .sum();
    let mut left = n.checked_rem(total)?;
    free.iter().copied().find(|candidate| {
        let weight = u64::from(candidate.weight);
        let here = left < weight;
        left = left.saturating_sub(weight);
        here
    })
}

/// Rendezvous hashing: a client keeps its member when others come and go.
fn by_source<'t>(free: &[Candidate<'t>], client: Option<IpAddr>) -> Option<Candidate<'t>> {
    let client = client.map(|ip| ip.to_string()).unwrap_or_default();
    free.iter().copied().max_by_key(|candidate| {
        let draws = (0..candidate.weight.min(256)).map(|copy| {
            fnv1a([
                client.as_bytes(),
                candidate.name.as_bytes(),
                &copy.to_le_bytes(),
            ])
        });
        draws.max().unwrap_or(0)
    })
}

/// The 64-bit FNV-1a hash: the same on every machine and in every release.
fn fnv1a<const N: usize>(parts: [&[u8]; N]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.into_iter().flatten() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // A last stir: FNV's high bits hardly depend on the last bytes.
    hash ^= hash >> 32;
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn index(n: u64, len: usize) -> usize {
    let len = len.max(1) as u64;
    usize::try_from(n % len).unwrap_or(0)
}
