//! What one etcd member holds: keys with revisions, and which leases were granted. Applying the same log gives
//! every member the same.
//!
//! It knows no time: when a lease runs out is the leader's business.

use std::collections::BTreeMap;

use trunkline_core::cluster::KeyValue;
use trunkline_core::follow::Change;
use trunkline_core::{LeaseId, Revision};

/// What all keys begin with.
pub(crate) const PREFIX: &str = "/service/demo/";

/// An entry of the log.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Put(String, String, Option<i64>),
    Delete(String),
    Grant(i64, i64),
    Revoke(i64),
    /// Nothing: for what is only asked.
    Nothing,
    Both(Box<Self>, Box<Self>),
    /// If so, then this; otherwise that.
    If(Compare, Box<Self>, Option<Box<Self>>),
}

/// What a transaction depends on.
#[derive(Clone, Debug)]
pub(crate) enum Compare {
    Absent(String),
    Is(String, String),
    /// It was changed last at this revision.
    At(String, i64),
    /// It has this value on this lease.
    Kept(String, String, i64),
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// It did what it says; of a transaction, either half did.
    Yes,
    /// The condition did not hold.
    Refused,
    /// The lease it names is not there.
    NoLease,
}

#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) keys: BTreeMap<String, KeyValue>,
    pub(crate) revision: i64,
    /// Granted leases, with their length in seconds.
    pub(crate) leases: BTreeMap<i64, i64>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            keys: BTreeMap::new(),
            revision: 1,
            leases: BTreeMap::new(),
        }
    }
}

impl Store {
    /// The value of a key, named below the prefix.
    pub(crate) fn get(&self, key: &str) -> Option<&KeyValue> {
        self.keys.get(key)
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.get(key)
            .map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
    }

    pub(crate) fn all(&self) -> Vec<KeyValue> {
        self.keys.values().cloned().collect()
    }

    /// Applies an entry; what changes is one revision.
    pub(crate) fn apply(&mut self, op: &Op) -> (Done, Vec<Change>) {
        let mut changes = Vec::new();
        let revision = self.revision + 1;
        let done = self.carry_out(op, revision, &mut changes);
        if !changes.is_empty() {
            self.revision = revision;
        }
        (done, changes)
    }

    fn carry_out(&mut self, op: &Op, revision: i64, changes: &mut Vec<Change>) -> Done {
        match op {
            Op::Put(key, value, lease) => {
                if lease.is_some_and(|lease| !self.leases.contains_key(&lease)) {
                    return Done::NoLease;
                }
                let created = self
                    .keys
                    .get(key)
                    .map_or(Revision(revision), |kv| kv.created);
                let kv = KeyValue {
                    key: format!("{PREFIX}{key}").into_bytes(),
                    value: value.as_bytes().to_vec(),
                    created,
                    modified: Revision(revision),
                    lease: lease.map(LeaseId),
                };
                changes.push(Change::Put(kv.clone()));
                self.keys.insert(key.clone(), kv);
            }
            Op::Delete(key) => self.delete(key, revision, changes),
            Op::Grant(lease, seconds) => drop(self.leases.insert(*lease, *seconds)),
            Op::Revoke(lease) => {
                self.leases.remove(lease);
                let hang = |kv: &KeyValue| kv.lease == Some(LeaseId(*lease));
                let keys = self.keys.iter().filter(|(_, kv)| hang(kv));
                for key in keys.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
                    self.delete(&key, revision, changes);
                }
            }
            Op::Nothing => {}
            Op::Both(one, other) => {
                let done = self.carry_out(one, revision, changes);
                if done != Done::Yes {
                    return done;
                }
                return self.carry_out(other, revision, changes);
            }
            Op::If(compare, then, otherwise) => {
                let holds = match compare {
                    Compare::At(key, at) => {
                        let is = |kv: &KeyValue| kv.modified.0 == *at;
                        self.keys.get(key).is_some_and(is)
                    }
                    Compare::Kept(key, value, lease) => {
                        let is = |kv: &KeyValue| {
                            kv.value == value.as_bytes() && kv.lease == Some(LeaseId(*lease))
                        };
                        self.keys.get(key).is_some_and(is)
                    }
                    Compare::Absent(key) => !self.keys.contains_key(key),
                    Compare::Is(key, value) => {
                        let is = |kv: &KeyValue| kv.value == value.as_bytes();
                        self.keys.get(key).is_some_and(is)
                    }
                };
                return match (holds, otherwise) {
                    (true, _) => self.carry_out(then, revision, changes),
                    (false, Some(otherwise)) => self.carry_out(otherwise, revision, changes),
                    (false, None) => Done::Refused,
                };
            }
        }
        Done::Yes
    }

    fn delete(&mut self, key: &str, revision: i64, changes: &mut Vec<Change>) {
        if let Some(kv) = self.keys.remove(key) {
            changes.push(Change::Deleted(kv.key, Revision(revision)));
        }
    }
}
