//! The truth: what really was, kept for the witness. Nothing of it reaches a router.

use std::time::Duration;

use trunkline_core::{Moment, Revision};

/// What the lock was from a moment on.
#[derive(Clone, Debug)]
pub(crate) struct LockWas {
    pub(crate) since: Moment,
    pub(crate) holder: Option<String>,
    pub(crate) created: Option<i64>,
}

#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) locks: Vec<LockWas>,
    /// Leases that ran out, and when they did.
    pub(crate) leases_over: Vec<(i64, Moment)>,
    /// When each node last said by itself that it holds the lock.
    pub(crate) claimed: Vec<Option<Moment>>,
    /// When each node's PostgreSQL last took writes, and since when without a break.
    pub(crate) wrote: Vec<Option<Moment>>,
    pub(crate) writes_since: Vec<Option<Moment>>,
    pub(crate) rebuilds: Vec<Moment>,
    /// Until when something lies that the specification trusts.
    pub(crate) lies: u32,
    pub(crate) lies_until: Moment,
    /// When somebody last changed the lock by hand.
    pub(crate) by_hand: Option<Moment>,
    /// When the cluster was last seen paused, or made a standby cluster: nobody is demoted as usual then.
    pub(crate) paused: Option<Moment>,
    /// At which revision the configuration was changed last, and whether it says so.
    pub(crate) in_pause: Option<(Revision, bool)>,
}

impl Truth {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            claimed: vec![None; nodes],
            wrote: vec![None; nodes],
            writes_since: vec![None; nodes],
            ..Self::default()
        }
    }

    pub(crate) fn lock_is(&mut self, now: Moment, holder: Option<String>, created: Option<i64>) {
        let last = self.locks.last();
        if last.is_none_or(|last| last.holder != holder || last.created != created) {
            self.locks.push(LockWas {
                since: now,
                holder,
                created,
            });
        }
    }

    /// Leases and revisions of the old store bind nobody any more.
    pub(crate) fn rebuilt(&mut self, now: Moment) {
        self.rebuilds.push(now);
        self.leases_over.clear();
    }

    /// What the lock was at `from` and since.
    pub(crate) fn locks_since(&self, from: Moment) -> &[LockWas] {
        &self.locks[self.place_at(from)..]
    }

    /// Which of them was the lock at `at`.
    pub(crate) fn place_at(&self, at: Moment) -> usize {
        let later = self.locks.partition_point(|lock| lock.since <= at);
        later.saturating_sub(1)
    }

    pub(crate) fn was_rebuilt_since(&self, from: Moment) -> bool {
        self.rebuilds.last().is_some_and(|last| *last >= from)
    }

    pub(crate) fn node_writes(&mut self, node: usize, writes: bool, now: Moment) {
        if writes {
            self.wrote[node] = Some(now);
            self.writes_since[node].get_or_insert(now);
        } else {
            self.writes_since[node] = None;
        }
    }

    pub(crate) fn within(at: Option<Moment>, time: Duration, now: Moment) -> bool {
        at.is_some_and(|at| now.since(at) <= time)
    }
}
