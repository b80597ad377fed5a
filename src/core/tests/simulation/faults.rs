//! What goes wrong in a run, when and for how long: drawn before the run begins.

use std::time::Duration;

use trunkline_core::Moment;
use trunkline_core::config::router::{To, WhenUnproven};

use crate::chance::Chance;
use crate::network::{ETCDS, Party};
use crate::world::{Pace, START};

mod at_work;
mod together;

/// One thing that goes wrong. Nodes, members and routers by number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    AgentDies(usize),
    /// It is told to end, and started again.
    AgentEnds(usize),
    AgentFreezes(usize),
    /// Its loop hangs, and its REST API goes on saying what it knew.
    AgentHangs(usize),
    SlowDisk(usize),
    PostgresDies(usize),
    PostgresRestarts(usize),
    PostgresFreezes(usize),
    /// The postmaster does, and whoever is connected goes on.
    PostmasterHangs(usize),
    NodeFreezes(usize),
    NodeVanishes(usize),
    EtcdFreezes(usize),
    AllEtcdFreezes,
    EtcdDies(usize),
    EtcdStalls(usize),
    /// It stalls, and answers linearizable reads all the same.
    EtcdReadsStale(usize),
    Cut(Cut),
    Slow(Party, Party, u64, u32),
    Switchover(Asked),
    LeaderDeleted,
    LeaderGarbage,
    Paused,
    StandbyCluster,
    Watches(Watches),
    WatchDies(usize),
    Compaction,
    StoreWiped,
    /// Back by so many entries of the log, with the same cluster id or not.
    StoreRestored(usize, bool),
    /// A member of a store that was begun anew is started.
    EtcdStarts(usize),
    RouterFreezes(usize),
    RouterRestarts(usize),
    Rest(usize, Rest),
}

/// Who no longer hears whom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cut {
    /// Other members of etcd do not hear it; clients do.
    EtcdFromEtcd(usize),
    Apart(Party, Party),
    OneWay(Party, Party),
    NodeFromEtcd(usize),
    RouterFromEtcd(usize),
    RouterFromNodes(usize),
}

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Asked {
    /// Another leader, perhaps this one.
    Now(Option<usize>),
    /// This one, whoever leads.
    Failover(usize),
    InThreeSeconds,
    /// For a time that has long gone: only etcdctl and a store that is put back do that.
    LongAgo,
}

/// What watches do to events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Watches {
    Lose,
    Repeat,
    Delay,
    Reorder,
}

/// What is wrong with a REST API.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rest {
    Slow,
    Silent,
    Refuses,
    /// Another member answers.
    OtherMember,
    /// Another cluster does.
    OtherCluster,
    /// Another cluster does, and gives no name.
    OtherDatabase,
    Stale,
    Garbage,
}

/// Who else may answer at a member's address.
const FOREIGN: [Rest; 3] = [Rest::OtherMember, Rest::OtherCluster, Rest::OtherDatabase];
/// How many kinds there are to draw from.
const KINDS: usize = 48;

impl Fault {
    /// The kind in words, for counting.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::AgentDies(_) => "fault: an agent dies",
            Self::AgentFreezes(_) => "fault: an agent freezes",
            Self::AgentHangs(_) => "fault: an agent hangs",
            Self::AgentEnds(_) => "fault: an agent is told to end",
            Self::SlowDisk(_) => "fault: a disk is slow",
            Self::PostgresDies(_) => "fault: PostgreSQL dies",
            Self::PostgresRestarts(_) => "fault: PostgreSQL restarts",
            Self::PostgresFreezes(_) => "fault: PostgreSQL freezes",
            Self::PostmasterHangs(_) => "fault: a postmaster hangs",
            Self::NodeFreezes(_) => "fault: a node freezes",
            Self::NodeVanishes(_) => "fault: a node vanishes",
            Self::EtcdFreezes(_) => "fault: an etcd member freezes",
            Self::AllEtcdFreezes => "fault: etcd freezes whole",
            Self::EtcdDies(_) => "fault: an etcd member dies",
            Self::Cut(Cut::EtcdFromEtcd(_)) => "fault: an etcd member is isolated",
            Self::EtcdStalls(_) => "fault: an etcd member stalls",
            Self::EtcdReadsStale(_) => "fault: an etcd member reads stale",
            Self::Cut(Cut::Apart(..)) => "fault: a link is cut",
            Self::Cut(Cut::OneWay(..)) => "fault: a link is cut one way",
            Self::Slow(..) => "fault: a link is slow and lossy",
            Self::Cut(Cut::NodeFromEtcd(_)) => "fault: a node loses etcd",
            Self::Cut(Cut::RouterFromEtcd(_)) => "fault: a router loses etcd",
            Self::Cut(Cut::RouterFromNodes(_)) => "fault: a router loses the nodes",
            Self::Switchover(Asked::Now(_)) => "fault: a switchover",
            Self::Switchover(Asked::Failover(_)) => "fault: a failover by hand",
            Self::Switchover(Asked::InThreeSeconds) => "fault: a switchover is scheduled",
            Self::Switchover(Asked::LongAgo) => "fault: a switchover comes too late",
            Self::LeaderDeleted => "fault: the leader key is deleted",
            Self::LeaderGarbage => "fault: the leader key names nobody",
            Self::Paused => "fault: a pause",
            Self::StandbyCluster => "fault: a standby cluster",
            Self::Watches(Watches::Lose) => "fault: watches lose events",
            Self::Watches(Watches::Repeat) => "fault: watches repeat events",
            Self::Watches(Watches::Delay) => "fault: watches are late",
            Self::Watches(Watches::Reorder) => "fault: watches mix the order",
            Self::WatchDies(_) => "fault: a watch dies silently",
            Self::Compaction => "fault: a compaction",
            Self::StoreWiped => "fault: the store is wiped",
            Self::StoreRestored(..) => "fault: the store is put back",
            Self::EtcdStarts(_) => "an etcd member starts anew",
            Self::RouterFreezes(_) => "fault: a router freezes",
            Self::RouterRestarts(_) => "fault: a router restarts",
            Self::Rest(_, Rest::Slow) => "fault: REST is slow",
            Self::Rest(_, Rest::Silent) => "fault: REST is silent",
            Self::Rest(_, Rest::Refuses) => "fault: REST refuses",
            Self::Rest(_, Rest::OtherMember | Rest::OtherCluster | Rest::OtherDatabase) => {
                "fault: REST is foreign"
            }
            Self::Rest(_, Rest::Stale) => "fault: REST is stale",
            Self::Rest(_, Rest::Garbage) => "fault: REST is garbage",
        }
    }

    fn draw(chance: &mut Chance, nodes: usize, routers: usize) -> Self {
        // The first leader is met more often than the others.
        let n = if chance.in_hundred(45) {
            0
        } else {
            chance.place(nodes)
        };
        let (e, r) = (chance.place(ETCDS), chance.place(routers));
        let party = |chance: &mut Chance| match chance.place(3) {
            0 => Party::Etcd(chance.place(ETCDS)),
            1 => Party::Node(chance.place(nodes)),
            _ => Party::Router(chance.place(routers)),
        };
        match chance.place(KINDS) {
            0 => Self::AgentDies(n),
            1 => Self::AgentFreezes(n),
            2 => Self::PostgresDies(n),
            3 => Self::PostgresRestarts(n),
            4 => Self::PostgresFreezes(n),
            5 => Self::NodeFreezes(n),
            6 => Self::NodeVanishes(n),
            7 => Self::EtcdFreezes(e),
            8 => Self::AllEtcdFreezes,
            9 => Self::EtcdDies(e),
            10 => Self::Cut(Cut::EtcdFromEtcd(e)),
            11 => Self::EtcdStalls(e),
            12 => Self::EtcdReadsStale(e),
            13 => Self::Cut(Cut::Apart(party(chance), party(chance))),
            14 => Self::Cut(Cut::OneWay(party(chance), party(chance))),
            15 => {
                let (slow, loss) = (
                    chance.one_of(&[50, 400, 1_500]),
                    chance.one_of(&[0, 100, 500]),
                );
                Self::Slow(party(chance), party(chance), slow, loss)
            }
            16 => Self::Cut(Cut::NodeFromEtcd(n)),
            17 => Self::Cut(Cut::RouterFromEtcd(r)),
            18 => Self::Cut(Cut::RouterFromNodes(r)),
            19 | 20 => {
                let candidate = chance.in_hundred(60).then(|| (n + 1) % nodes);
                Self::Switchover(Asked::Now(candidate))
            }
            21 => Self::Switchover(Asked::InThreeSeconds),
            22 => Self::LeaderDeleted,
            23 => Self::LeaderGarbage,
            24 => Self::Paused,
            25 => Self::StandbyCluster,
            26 => Self::Watches(Watches::Lose),
            27 => Self::Watches(Watches::Repeat),
            28 => Self::Watches(Watches::Delay),
            29 => Self::Watches(Watches::Reorder),
            30 => Self::WatchDies(r),
            31 => Self::Compaction,
            32 => Self::StoreWiped,
            33 => Self::StoreRestored(chance.place(30), chance.in_hundred(60)),
            34 => Self::RouterFreezes(r),
            35 => Self::RouterRestarts(r),
            36 => Self::Rest(n, Rest::Slow),
            37 => Self::Rest(n, Rest::Silent),
            38 => Self::Rest(n, Rest::Refuses),
            39 => Self::Rest(n, chance.one_of(&FOREIGN)),
            40 => Self::Rest(n, Rest::Stale),
            41 => Self::AgentEnds(n),
            42 => Self::SlowDisk(n),
            43 => Self::Switchover(Asked::Failover((n + 1) % nodes)),
            44 => Self::PostmasterHangs(n),
            45 => Self::Switchover(Asked::LongAgo),
            46 => Self::AgentHangs(n),
            _ => Self::Rest(n, Rest::Garbage),
        }
    }
}

/// What the configuration of our agents says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) may_rewind: bool,
    pub(crate) use_slots: bool,
    pub(crate) check_timeline: bool,
    pub(crate) primary_start_timeout: Duration,
    /// `maximum_lag_on_failover`.
    pub(crate) lag: u64,
}

impl Rules {
    fn draw(chance: &mut Chance) -> Self {
        Self {
            may_rewind: chance.in_hundred(80),
            use_slots: chance.in_hundred(50),
            check_timeline: chance.in_hundred(50),
            primary_start_timeout: Duration::from_secs(chance.one_of(&[0, 3, 300])),
            lag: chance.one_of(&[2_000, 1_048_576]),
        }
    }
}

/// Which agents are ours, whether they make the cluster in the run, and who is never to lead.
fn agents(chance: &mut Chance, nodes: usize) -> (Vec<bool>, bool, Option<usize>) {
    let kind = chance.place(10);
    let ours: Vec<bool> = (0..nodes)
        .map(|_| match kind {
            0..4 => false,
            4..7 => true,
            _ => chance.in_hundred(50),
        })
        .collect();
    let all = ours.iter().all(|is_ours| *is_ours);
    let from_nothing = all && chance.in_hundred(30);
    let last = nodes - 1;
    let nofailover = ours[last] && chance.in_hundred(12);
    (ours, from_nothing, nofailover.then_some(last))
}

/// The last node, if it is Patroni's and of an old release.
fn old_member(chance: &mut Chance, ours: &[bool]) -> Option<usize> {
    let last = ours.len() - 1;
    (!ours[last] && chance.in_hundred(20)).then_some(last)
}

/// `ttl`, `loop_wait` and `retry_timeout`, in seconds: what operators set, from the shortest to the usual, and what lies
/// between, where a run is not long for all that can go wrong in it. The longest make the longest runs.
const PACES: [(u64, u64, u64); 12] = [
    (3, 1, 1),
    (3, 1, 1),
    (5, 1, 1),
    (5, 1, 1),
    (6, 2, 2),
    (6, 2, 2),
    (8, 2, 3),
    (8, 2, 3),
    (12, 4, 4),
    (12, 4, 4),
    (20, 5, 5),
    (30, 10, 10),
];

/// A run as it was drawn.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) pace: Pace,
    pub(crate) nodes: usize,
    pub(crate) routers: usize,
    pub(crate) failsafe: bool,
    /// Which nodes have an agent of ours.
    pub(crate) ours: Vec<bool>,
    /// Whether the cluster is made in the run.
    pub(crate) from_nothing: bool,
    /// Who is never to lead.
    pub(crate) nofailover: Option<usize>,
    /// Who is of a release that reads the leader's position from a key of its own.
    pub(crate) old: Option<usize>,
    pub(crate) rules: Rules,
    pub(crate) when_unproven: WhenUnproven,
    pub(crate) fallback: Option<To>,
    /// When each begins and how long it lasts.
    pub(crate) faults: Vec<(Moment, Duration, Fault)>,
    /// When the last is over.
    pub(crate) calm: Moment,
    pub(crate) end: Moment,
}

impl Plan {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let seconds = Duration::from_secs;
        let (ttl, loop_wait, retry) = chance.one_of(&PACES);
        let pace = Pace {
            ttl: seconds(ttl),
            loop_wait: seconds(loop_wait),
            retry: seconds(retry),
        };
        let nodes = chance.one_of(&[2, 3, 3, 4]);
        let routers = if chance.in_hundred(20) { 2 } else { 1 };
        let (ours, from_nothing, nofailover) = agents(chance, nodes);
        let mut faults: Vec<_> = (0..chance.one_of(&[1, 2, 2, 3, 4]))
            .map(|_| {
                let begins = START.after(chance.millis(2_500, 12_000));
                let lasts = match chance.place(3) {
                    0 => chance.millis(50, 2_000),
                    1 => chance.millis(1_000, 6_000),
                    _ => chance.millis(4_000, 1_500 * ttl + 4_000),
                };
                (begins, lasts, Fault::draw(chance, nodes, routers))
            })
            .collect();
        if chance.in_hundred(25) {
            faults.extend(together::draw(chance, ttl, nodes));
        }
        let ends = faults.iter().map(|(begins, lasts, _)| begins.after(*lasts));
        let calm = ends.fold(START.after(seconds(4)), Ord::max);
        Self {
            pace,
            nodes,
            routers,
            failsafe: chance.in_hundred(50),
            from_nothing,
            nofailover,
            rules: Rules::draw(chance),
            old: old_member(chance, &ours),
            ours,
            when_unproven: if chance.in_hundred(80) {
                WhenUnproven::Kill
            } else {
                WhenUnproven::Keep
            },
            fallback: chance.in_hundred(50).then_some(To::Primary),
            faults,
            calm,
            end: calm.after(seconds(3 * ttl + 4 * loop_wait + 25)),
        }
    }

    /// The dynamic configuration of the cluster.
    pub(crate) fn configuration(&self) -> String {
        let (ttl, wait) = (self.pace.ttl.as_secs(), self.pace.loop_wait.as_secs());
        let failsafe = self.failsafe;
        let (retry, lag) = (self.pace.retry.as_secs(), self.rules.lag);
        format!(
            r#"{{"ttl":{ttl},"loop_wait":{wait},"retry_timeout":{retry},"failsafe_mode":{failsafe},"maximum_lag_on_failover":{lag}}}"#
        )
    }
}
