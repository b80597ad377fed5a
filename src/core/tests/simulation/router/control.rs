//! The one who looks and publishes, with the kill switches of `src/router/published.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use trunkline_core::route::change::{self, Change, Event as Changed};
use trunkline_core::route::{self, Address, Residence, Snapshot, Table, Target};
use trunkline_core::wire::member::Host;
use trunkline_core::{MemberName, Moment};

use crate::network::Party;
use crate::world::{START, World};

/// A target of one listener, as its sessions hold it: killed when it is no longer kept.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) number: u64,
    pub(crate) doubted: Moment,
}

impl World {
    /// Looks, decides, publishes, ends.
    pub(crate) fn look(&mut self, number: usize) {
        let now = self.now;
        let addresses = self.addresses(number);
        let router = &mut self.routers[number];
        let snapshot = Snapshot {
            cluster: &router.cluster,
            view: router.feed.follow.view(),
            reading: router.feed.follow.reading(),
            probes: &router.probes,
            addresses: &addresses,
            now,
            wall: wall(now),
        };
        let table = Arc::new(route::look(&mut router.ledger, &snapshot));
        let change = change::between(router.table.as_deref(), &table);
        let had = router.table.replace(Arc::clone(&table));
        let system_id = router.feed.follow.view().value();
        let system_id = system_id.and_then(|view| view.system_id.clone());
        self.tally.decided(&table);
        if had.as_ref().map(|had| had.primary.row) != Some(table.primary.row) {
            let primary = &table.primary;
            self.trace(|| {
                let (row, member) = (primary.row, &primary.member);
                format!("router {number}: {row:?} {member:?} {:?}", primary.sessions)
            });
        }
        self.fill_seats(number, &table);
        let was_elsewhere = had.is_some_and(|had| had.read_elsewhere);
        if table.read_elsewhere && !was_elsewhere {
            self.routers[number].feed.follow.doubt(now);
            self.pump_feed(Party::Router(number));
        }
        self.direct_polls(number, &table, system_id.as_ref());
        self.publish(number, &table, &change);
        self.look_by(number, table.again);
        self.attest(number, &change);
    }

    fn fill_seats(&mut self, number: usize, table: &Table) {
        for (place, pool) in table.pools.iter().enumerate() {
            let living = pool.residents.iter();
            let living = living.filter(|(_, stay)| **stay != Residence::End);
            let targets = pool.targets.iter().chain(living.map(|(target, _)| target));
            for target in targets {
                let seats = &self.routers[number].seats;
                let has = |(of, seat): &(usize, Target)| *of == place && seat == target;
                if !seats.keys().any(has) {
                    let seat = Seat {
                        number: self.number(),
                        doubted: Moment::BOOT,
                    };
                    let key = (place, target.clone());
                    self.routers[number].seats.insert(key, seat);
                }
            }
        }
    }

    fn publish(&mut self, number: usize, table: &Table, change: &Change) {
        let is_news = |event: &Changed| matches!(event, Changed::Verdict { .. });
        if change.events.iter().any(is_news) {
            self.wake_held(number);
        }
        for end in &change.ends {
            let place = table.pools.iter();
            let Some(place) = place.clone().position(|pool| pool.listener == end.listener) else {
                continue;
            };
            let key = (place, end.target.clone());
            if let Some(seat) = self.routers[number].seats.remove(&key) {
                self.kill(number, &seat, place, &end.target);
            }
        }
    }

    fn addresses(&self, number: usize) -> BTreeMap<MemberName, Address> {
        let router = &self.routers[number];
        let remembered = router.ledger.members().iter();
        let remembered = remembered.map(|(name, known)| (name, &known.published));
        let view = router.feed.follow.view().value();
        let published = view.into_iter().flat_map(|view| &view.members);
        remembered
            .chain(published)
            .filter_map(|(name, member)| {
                let url = member.conn.as_ref()?;
                match &url.host {
                    Host::Ip(ip) => Some((name.clone(), SocketAddr::new(*ip, url.port).into())),
                    Host::Name(_) | Host::Socket(_) => None,
                }
            })
            .collect()
    }

    /// The seat of a target, if its sessions may live.
    pub(crate) fn seat(&self, number: usize, place: usize, target: &Target) -> Option<&Seat> {
        let key = (place, target.clone());
        self.routers[number].seats.get(&key)
    }
}

/// What a calendar shows.
pub(crate) fn wall(now: Moment) -> Timestamp {
    let start: Timestamp = "2026-11-21T08:00:00Z"
        .parse()
        .unwrap_or(Timestamp::UNIX_EPOCH);
    start + SignedDuration::try_from(now.since(START)).unwrap_or(SignedDuration::ZERO)
}
