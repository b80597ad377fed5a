//! Faults that do harm together and would seldom be drawn so: each a story people met, with its times drawn.

use std::time::Duration;

use trunkline_core::Moment;

use super::{Asked, Cut, Fault, Rest};
use crate::chance::Chance;
use crate::world::START;

/// One of the stories.
pub(super) fn draw(chance: &mut Chance, ttl: u64) -> Vec<(Moment, Duration, Fault)> {
    let begins = START.after(chance.millis(2_500, 6_000));
    let mut at = |from: u64, to: u64, lasts: (u64, u64), fault: Fault| {
        let begins = begins.after(chance.millis(from, to));
        (begins, chance.millis(lasts.0, lasts.1), fault)
    };
    let long = (1_000 * ttl, 1_000 * ttl + 4_000);
    match begins.since_boot().subsec_millis() % 8 {
        // An old leader that goes on saying it leads, while etcd cannot be asked.
        0 => vec![
            at(0, 0, (9_000, 12_000), Fault::Rest(0, Rest::Stale)),
            at(
                300,
                1_000,
                (100, 100),
                Fault::Switchover(Asked::Now(Some(1))),
            ),
            at(
                800,
                4_000,
                (4_000, 8_000),
                Fault::Cut(Cut::RouterFromEtcd(0)),
            ),
        ],
        // The store is wiped in pause, as runbooks do.
        1 => vec![
            at(0, 0, (9_000, 14_000), Fault::Paused),
            at(1_000, 3_000, (100, 100), Fault::StoreWiped),
        ],
        // A router sleeps through a failover.
        2 => vec![
            at(0, 500, (1_000, 9_000), Fault::RouterFreezes(0)),
            at(0, 1_000, (100, 100), Fault::Switchover(Asked::Now(None))),
        ],
        // The leader sleeps until another has its lock, and wakes.
        3 => vec![
            at(0, 500, long, Fault::NodeFreezes(0)),
            at(0, 9_000, (500, 4_000), Fault::Cut(Cut::RouterFromEtcd(0))),
        ],
        // Nobody reaches etcd, and it comes back with all keys expired.
        4 => vec![at(0, 0, (1_200 * ttl, 2_000 * ttl), Fault::AllEtcdFreezes)],
        // A router starts while there is nothing in the store.
        5 => vec![
            at(0, 0, (100, 100), Fault::NodeVanishes(0)),
            at(0, 100, (100, 100), Fault::StoreWiped),
            at(1_000, 2_500, (100, 100), Fault::RouterRestarts(0)),
        ],
        // The leader key goes and its holder cannot know.
        6 => vec![
            at(0, 0, long, Fault::Cut(Cut::NodeFromEtcd(0))),
            at(500, 1_000 * ttl, (100, 100), Fault::LeaderDeleted),
        ],
        // A node is cut off from etcd and the others, and the router sees both sides.
        _ => vec![
            at(0, 0, long, Fault::Cut(Cut::NodeFromEtcd(0))),
            at(0, 2_000, (3_000, 9_000), Fault::Cut(Cut::RouterFromEtcd(0))),
            at(0, 2_000, (3_000, 9_000), Fault::AgentFreezes(0)),
        ],
    }
}
