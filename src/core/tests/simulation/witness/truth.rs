//! The other half of the witness: a router's claims and deeds against what really was.

use std::time::Duration;

use trunkline_core::cluster::Lock;
use trunkline_core::route::Row;
use trunkline_core::route::change::Change;
use trunkline_core::{Moment, StoreNumber};

use crate::node::agent::Seen;
use crate::router::Router;
use crate::router::clients::Place;
use crate::truth::{LockWas, Truth};
use crate::world::World;

/// How long evidence carries.
const EVIDENCE: Duration = Duration::from_secs(3);
/// What agents' clocks and requests under way may add.
const SLACK: Duration = Duration::from_secs(2);
/// How long after all faults are over everything is to be as it was: leases, elections, promotions, probes.
const RECOVERY: Duration = Duration::from_secs(8);
/// Of a lease of so long etcd may say that one second is left though it is renewed every second.
const SHORTEST: Duration = Duration::from_secs(3);

impl World {
    /// After every event.
    pub(crate) fn witness(&mut self, router: Option<usize>) {
        for number in 0..self.nodes.len() {
            let node = &self.nodes[number];
            // A frozen postmaster alone stops nobody who is connected, and its agent is.
            let frozen = node.postgres.frozen && node.agent.frozen;
            let writes = node.postgres.writes() && !frozen;
            self.truth.node_writes(number, writes, self.now);
            self.watch_health(number);
        }
        if let Some(number) = router.filter(|number| !self.routers[*number].frozen) {
            self.check_clients(number);
        }
    }

    /// After every look.
    pub(crate) fn attest(&mut self, number: usize, change: &Change) {
        let now = self.now;
        let mut witness = std::mem::take(&mut self.routers[number].witness);
        let outcome = witness.attest(&self.routers[number], change, now);
        self.routers[number].witness = witness;
        if let Err(problem) = outcome {
            self.fails(|| format!("router {number}: {problem}"));
        }
        self.view_was_true(number);
        self.proof_was_true(number);
    }

    /// What a router believes of the lock was so at some time since it says it asked.
    fn view_was_true(&mut self, number: usize) {
        let view = self.routers[number].feed.follow.view();
        let (Some(seen), Some(asked)) = (view.value(), view.asked()) else {
            return;
        };
        // What is remembered was so at some time before the router started, and claims no more.
        let is_memory = seen.store == StoreNumber::REMEMBERED;
        if is_memory || self.truth.was_rebuilt_since(asked) || self.truth.lies_until > asked {
            return;
        }
        let believed = match &seen.lock {
            Lock::Held { tenure, .. } => Some((tenure.holder.to_string(), tenure.began.0)),
            Lock::Vacant | Lock::Garbage { .. } => None,
        };
        // What was once seen is never unseen: the search begins where the last belief was found.
        let first = self.truth.place_at(asked);
        let first = first.max(self.routers[number].believed);
        let locks = &self.truth.locks[first..];
        let was = |lock: &LockWas| lock.holder.clone().zip(lock.created) == believed;
        match locks.iter().position(was) {
            Some(place) => self.routers[number].believed = first + place,
            None => {
                let truth = format!("{locks:?}");
                self.fails(|| {
                    format!(
                        "router {number} believes {believed:?}, asked at {asked}; it was {truth}"
                    )
                });
            }
        }
    }

    /// No lease ran out before the moment a router was promised it would last.
    fn proof_was_true(&mut self, number: usize) {
        let reading = self.routers[number].feed.follow.reading();
        let Some((reading, asked)) = reading.fresh() else {
            return;
        };
        let lease = reading.leader.as_ref().and_then(|kv| kv.lease);
        let (Some(lease), Some(left)) = (lease, reading.lease) else {
            return;
        };
        if left.lease != lease || left.left <= 0 || left.left > left.granted {
            return;
        }
        let promised = u64::try_from(left.left * 990 - 1_000).unwrap_or(0);
        let deadline = asked.after(Duration::from_millis(promised));
        let over = self.truth.leases_over.iter();
        let mut over = over.filter(|(ended, _)| *ended == lease.0);
        if let Some((_, at)) = over.find(|(_, at)| *at < deadline).copied() {
            self.fails(|| format!("router {number}: D is {deadline}, {lease} ended at {at}"));
        }
    }

    /// A session is handed to a node. For a new write session that is the moment the promises are about.
    pub(crate) fn hands_over_session(&mut self, number: usize, pool: usize, place: &Place) {
        self.tally.hit("a session handed to a member");
        let (now, node) = (self.now, place.node);
        let excused = self.truth.lies_until > now
            || Truth::within(self.truth.paused, Duration::from_secs(60), now)
            || self
                .truth
                .was_rebuilt_since(now.before(Duration::from_secs(10)));
        if pool != 0 || excused {
            return;
        }
        let name = self.nodes[node].name.clone();
        let locks = self.truth.locks_since(now.before(EVIDENCE)).iter();
        let held = locks
            .clone()
            .any(|lock| lock.holder.as_ref() == Some(&name));
        let claimed = Truth::within(self.truth.claimed[node], EVIDENCE, now);
        if !held && !claimed {
            self.fails(|| {
                format!("router {number}: {name} gets a write session without the lock or its word")
            });
        }
        // PostgreSQL's own answer (P3) says that it accepts, not that it writes: where REST is silent, a holder that
        // came back as a replica under its own lock gets clients until it is promoted.
        let row = self.routers[number]
            .table
            .as_ref()
            .map(|table| table.primary.row);
        let by_postgres = row == Some(Row::SilentProven) && held;
        if by_postgres {
            self.tally.hit("a session on PostgreSQL's own answer");
        }
        if !by_postgres && !Truth::within(self.truth.wrote[node], EVIDENCE, now) {
            self.fails(|| {
                format!("router {number}: {name} gets a write session and writes nothing")
            });
        }
        if let Some(other) = self.another_leads(node, EVIDENCE + SLACK) {
            self.fails(|| format!("router {number}: {name} gets a write session, {other} leads"));
        }
    }

    /// Another node that has held the lock and written for so long.
    fn another_leads(&self, node: usize, since: Duration) -> Option<String> {
        let lock = self.truth.locks.last()?;
        let holder = lock.holder.clone()?;
        let other = self.nodes.iter().position(|other| other.name == holder)?;
        let writes = self.truth.writes_since[other]?;
        let long = self.now.since(lock.since.max(writes)) > since;
        (other != node && long).then_some(holder)
    }

    /// After the last fault: a cluster that has been well for long enough is served, and the run is over.
    pub(crate) fn is_settled(&mut self) -> bool {
        let Some(calm) = self.calm.filter(|calm| self.long_ago(*calm)) else {
            return false;
        };
        let Some(leader) = self.well_led() else {
            return false;
        };
        if self.nodes[leader].agent.seen.standby {
            return self.long_ago(calm.after(RECOVERY));
        }
        if !self.all_follow(leader) {
            return false;
        }
        if self.waits_for_a_renewal() {
            return false;
        }
        self.tally.hit("a run that ended well");
        let name = self.nodes[leader].name.clone();
        for number in 0..self.routers.len() {
            let targets = self.routers[number].table.iter();
            let targets = targets.flat_map(|table| &table.pools[0].targets);
            let targets: Vec<&str> = targets.map(|it| it.member.as_str()).collect();
            if targets != [name.as_str()] {
                let row = self.routers[number].table.as_ref();
                let row = row.map(|table| table.primary.row);
                let problem =
                    format!("router {number} routes to {targets:?}, {name} leads: {row:?}");
                self.fails(|| problem);
            }
        }
        true
    }

    /// Whether a router has read the shortest lease there is a moment before it was renewed: it holds new clients for a
    /// quarter of a second then.
    fn waits_for_a_renewal(&self) -> bool {
        let holds = |router: &Router| {
            let row = router.table.as_ref().map(|table| table.primary.row);
            row == Some(Row::LeaseNotProven)
        };
        self.pace.ttl <= SHORTEST && self.routers.iter().any(holds)
    }

    /// The node that has led and written for so long that everybody should know.
    fn well_led(&self) -> Option<usize> {
        let leader = self.holder()?;
        let since = self.truth.writes_since[leader]?;
        let lock = self.truth.locks.last()?;
        // A request that nobody has answered yet holds everybody, as it should.
        let asked = self.etcd.truth.text("failover");
        let asked = asked.is_some_and(|request| request != "{}");
        let well =
            !asked && self.is_whole(leader) && self.long_ago(since) && self.long_ago(lock.since);
        well.then_some(leader)
    }

    /// The plan is at its end, and the run did not settle before.
    pub(crate) fn never_settled(&mut self) {
        let excused = |seen: &Seen| seen.standby || seen.pause;
        // A store that lost who the cluster is, and no primary left to say so: that is for a person.
        let lost = self.etcd.truth.get("initialize").is_none();
        if lost && !self.truth.rebuilds.is_empty() {
            return self
                .tally
                .hit("a cluster that nobody can tell from another");
        }
        if self.calm.is_some() && !self.nodes.iter().any(|node| excused(&node.agent.seen)) {
            let who: Vec<_> = self
                .nodes
                .iter()
                .map(|node| node.postgres.streams)
                .collect();
            let holder = self.holder();
            self.fails(|| {
                format!(
                    "I5: not settled though all faults are over: {holder:?} leads, {who:?} streams"
                )
            });
        }
    }

    fn long_ago(&self, at: Moment) -> bool {
        self.now.since(at) > RECOVERY
    }
}
