//! Faults that do harm together and would seldom be drawn so: each a story people met, with its times drawn.

use std::time::Duration;

use trunkline_core::Moment;

use super::{Asked, Cut, Fault, Rest};
use crate::chance::Chance;
use crate::network::{NODES, Party};
use crate::world::START;

/// One of the stories.
pub(super) fn draw(chance: &mut Chance, ttl: u64, nodes: usize) -> Vec<(Moment, Duration, Fault)> {
    let begins = START.after(chance.millis(2_500, 6_000));
    let mut at = |from: u64, to: u64, lasts: (u64, u64), fault: Fault| {
        let begins = begins.after(chance.millis(from, to));
        (begins, chance.millis(lasts.0, lasts.1), fault)
    };
    let long = (1_000 * ttl, 1_000 * ttl + 4_000);
    match begins.since_boot().subsec_millis() % 20 {
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
        kind @ 7..18 => of_agents(kind, &mut at, ttl, nodes, begins),
        // The leader's loop hangs, its REST API goes on saying that it leads, and the router cannot ask etcd.
        18 => vec![
            at(0, 0, long, Fault::AgentHangs(0)),
            at(
                1_000,
                1_000 * ttl,
                (3_000, 9_000),
                Fault::Cut(Cut::RouterFromEtcd(0)),
            ),
        ],
        // A node is cut off from etcd and the others, and the router sees both sides.
        _ => vec![
            at(0, 0, long, Fault::Cut(Cut::NodeFromEtcd(0))),
            at(0, 2_000, (3_000, 9_000), Fault::Cut(Cut::RouterFromEtcd(0))),
            at(0, 2_000, (3_000, 9_000), Fault::AgentFreezes(0)),
        ],
    }
}

type At<'a> = dyn FnMut(u64, u64, (u64, u64), Fault) -> (Moment, Duration, Fault) + 'a;

const fn cut(one: Party, other: Party) -> Fault {
    Fault::Cut(Cut::Apart(one, other))
}

/// Those that agents of ours were made for.
fn of_agents(
    kind: u32,
    at: &mut At<'_>,
    ttl: u64,
    nodes: usize,
    begins: Moment,
) -> Vec<(Moment, Duration, Fault)> {
    let long = (1_000 * ttl, 1_000 * ttl + 4_000);
    match kind {
        7 | 8 => handover_to_nobody(
            at,
            (begins.since_boot().subsec_micros() & 1 == 0).then_some(1),
        ),
        9 | 10 => heir_goes_away(at),
        // The leader's agent sleeps past its lease, and wakes beside a postmaster that cannot be told to end.
        11 => vec![
            at(0, 0, (3_000 * ttl, 3_000 * ttl), Fault::PostmasterHangs(0)),
            at(100, 900, (1_200 * ttl, 1_800 * ttl), Fault::AgentFreezes(0)),
        ],
        // ... or cannot tell etcd that it leads.
        12 => vec![
            at(0, 0, (3_000 * ttl, 3_000 * ttl), Fault::PostmasterHangs(0)),
            at(100, 900, long, Fault::Cut(Cut::NodeFromEtcd(0))),
        ],
        // It crashes and takes long to recover.
        13 if begins.since_boot().subsec_micros() & 1 == 0 => vec![
            at(0, 0, (9_000, 20_000), Fault::SlowDisk(0)),
            at(100, 900, (100, 100), Fault::PostgresDies(0)),
            at(2_000, 9_000, (100, 100), Fault::LeaderDeleted),
        ],
        // Somebody restarts it, that takes long, and somebody else writes into the lock.
        13 => vec![
            at(0, 0, (9_000, 20_000), Fault::SlowDisk(0)),
            at(100, 900, (100, 100), Fault::PostgresRestarts(0)),
            at(500, 4_000, (1_000, 6_000), Fault::LeaderGarbage),
        ],
        // Two who could lead lose the leader and each other.
        14 => vec![
            at(0, 0, (9_000, 20_000), Fault::NodeVanishes(0)),
            at(
                0,
                4_000,
                (9_000, 20_000),
                cut(Party::Node(1), Party::Node(2 % nodes)),
            ),
        ],
        // A standby falls behind, and the leader goes.
        15 => vec![
            at(0, 0, (9_000, 20_000), cut(Party::Node(0), Party::Node(1))),
            at(4_000, 8_000, (9_000, 20_000), Fault::NodeVanishes(0)),
        ],
        // The agent starts again beside a lock that is still its own, with etcd away.
        16 => vec![
            at(0, 0, (300, 2_000), Fault::AgentDies(0)),
            at(100, 1_500, long, Fault::Cut(Cut::NodeFromEtcd(0))),
        ],
        // A scheduled switchover whose time passes unseen.
        _ => vec![
            at(0, 0, (100, 100), Fault::Switchover(Asked::InThreeSeconds)),
            at(200, 900, (7_500, 10_500), Fault::AgentFreezes(0)),
        ],
    }
}

/// A switchover while nobody gets what the leader writes.
fn handover_to_nobody(at: &mut At<'_>, candidate: Option<usize>) -> Vec<(Moment, Duration, Fault)> {
    let mut story = vec![
        at(0, 0, (100, 100), Fault::Switchover(Asked::Now(candidate))),
        at(0, 0, (13_000, 16_000), Fault::PostgresFreezes(1)),
    ];
    for other in 1..NODES {
        let away = cut(Party::Node(0), Party::Node(other));
        story.push(at(0, 0, (3_000, 14_000), away));
    }
    story
}

/// The candidate goes away while the leader stops for it.
fn heir_goes_away(at: &mut At<'_>) -> Vec<(Moment, Duration, Fault)> {
    vec![
        at(0, 0, (100, 100), Fault::Switchover(Asked::Now(Some(1)))),
        at(10, 900, (4_000, 12_000), Fault::PostgresFreezes(1)),
        at(
            10,
            900,
            (4_000, 12_000),
            cut(Party::Node(0), Party::Node(1)),
        ),
    ]
}
