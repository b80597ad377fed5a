//! What happens to etcd's members and to the store itself: stopped, frozen, compacted, wiped, put back.

use std::time::Duration;

use trunkline_core::Moment;

use super::Member;
use super::store::{Op, Store};
use crate::network::ETCDS;
use crate::world::World;

impl World {
    pub(crate) fn stop_etcd(&mut self, number: usize) {
        let member = &mut self.etcd.members[number];
        member.alive = false;
        member.lessor = None;
        member.inbox.clear();
        if self.etcd.leader == Some(number) {
            self.etcd.leader = None;
        }
        let here = self.etcd.watches.iter();
        let here = here.filter(|watch| watch.member == number);
        let numbers: Vec<u64> = here.map(|watch| watch.number).collect();
        for watch in numbers {
            self.end_watch(watch, "connection reset");
        }
    }

    pub(crate) fn start_etcd(&mut self, number: usize) {
        self.etcd.members[number].alive = true;
    }

    /// A frozen process goes on with what arrived meanwhile.
    pub(crate) fn thaw_etcd(&mut self, number: usize) {
        self.etcd.members[number].frozen = false;
        for event in std::mem::take(&mut self.etcd.members[number].inbox) {
            let soon = self.chance.millis(0, 3);
            self.after(soon, event);
        }
        self.catch_up(number);
    }

    /// Everything but the last few revisions can no longer be watched.
    pub(crate) fn compact_etcd(&mut self) {
        for member in &mut self.etcd.members {
            member.compacted = member.store.revision;
            member.history.clear();
        }
    }

    /// The store is begun anew: empty, or as it was when only `kept` entries of the log were there.
    pub(crate) fn rebuild_etcd(&mut self, kept: Option<usize>, same_id: bool) {
        let before = self.etcd.truth.text("leader");
        for number in 0..ETCDS {
            self.stop_etcd(number);
        }
        let mut truth = Store::default();
        let kept = kept.unwrap_or(0).min(self.etcd.log.len());
        let log: Vec<Op> = self.etcd.log.drain(..kept).collect();
        for op in &log {
            let _ = truth.apply(op);
        }
        if !same_id {
            self.etcd.id += 1;
        }
        self.etcd.log = log;
        self.etcd.truth = truth.clone();
        self.etcd.term = 2;
        for member in &mut self.etcd.members {
            *member = Member {
                term: 2,
                received: kept,
                applied: kept,
                compacted: truth.revision,
                store: truth.clone(),
                ..Member::default()
            };
        }
        self.etcd.leader = None;
        self.etcd.leaderless = Some(self.now.after(Duration::from_millis(300)));
        self.leases_forgotten();
        self.lock_changes(before.as_deref());
    }

    /// A lease is over and nobody may rely on it any more: no proof may have promised longer.
    pub(crate) fn lease_ended(&mut self, lease: i64, ends: Moment) {
        self.truth.leases_over.push((lease, ends));
    }
}
