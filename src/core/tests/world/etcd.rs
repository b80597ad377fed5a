//! The store of the small world: keys with their revisions, and the lease of the leader key.

use std::collections::BTreeMap;
use std::time::Duration;

use trunkline_core::cluster::KeyValue;
use trunkline_core::proof::LeaseLeft;
use trunkline_core::{LeaseId, Moment, Revision, StoreNumber};

use super::SCOPE;

/// The keys under the cluster's prefix.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    /// Which store it is, as its followers count.
    pub(crate) number: StoreNumber,
    /// Whether anybody who asks is answered.
    pub(crate) answers: bool,
    /// When the lease of the leader key ends; `None` while its holder renews it.
    pub(crate) lease_ends: Option<Moment>,
    /// How long leases are granted for.
    pub(crate) granted: Duration,
    keys: BTreeMap<String, KeyValue>,
    revision: i64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            number: StoreNumber::FIRST,
            answers: true,
            lease_ends: None,
            granted: Duration::from_secs(30),
            keys: BTreeMap::new(),
            revision: 0,
        }
    }
}

impl Store {
    /// Puts a key, named below the cluster's prefix. Leader and member keys hang on a lease, as Patroni's do.
    pub(crate) fn put(&mut self, key: &str, value: &str) {
        self.revision += 1;
        let created = self
            .keys
            .get(key)
            .map_or(Revision(self.revision), |had| had.created);
        let leased = key == "leader" || key.starts_with("members/");
        let kv = KeyValue {
            key: format!("/service/{SCOPE}/{key}").into_bytes(),
            value: value.as_bytes().to_vec(),
            created,
            modified: Revision(self.revision),
            lease: leased.then_some(LeaseId(created.0)),
        };
        self.keys.insert(key.to_owned(), kv);
    }

    /// The store is taken away and a new one takes its place, which holds the keys named by `kept`.
    pub(crate) fn rebuild(&mut self, kept: impl Fn(&str) -> bool) {
        self.number = self.number.next();
        self.keys.retain(|key, _| kept(key));
    }

    /// Deletes a key.
    pub(crate) fn delete(&mut self, key: &str) {
        self.revision += 1;
        self.keys.remove(key);
    }

    /// The leader key loses its lease, as when a person puts it by hand.
    pub(crate) fn unlease_leader(&mut self) {
        if let Some(kv) = self.keys.get_mut("leader") {
            kv.lease = None;
        }
    }

    /// A key.
    pub(crate) fn get(&self, key: &str) -> Option<&KeyValue> {
        self.keys.get(key)
    }

    /// Every key.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &KeyValue> {
        self.keys.values()
    }

    /// What LeaseTimeToLive answers for the lease of a key.
    pub(crate) fn lease_left(&self, kv: &KeyValue, now: Moment) -> Option<LeaseLeft> {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).expect("a short while");
        let granted = seconds(self.granted);
        let left = match self.lease_ends {
            None => granted,
            Some(ends) if ends > now => seconds(ends.since(now)),
            Some(_) => -1,
        };
        Some(LeaseLeft {
            lease: kv.lease?,
            left,
            granted,
        })
    }
}
