//! The store of the agent's small world: keys with revisions and leases, and whether it answers.

use std::collections::BTreeMap;

use trunkline_core::cluster::{ClusterView, KeyValue};
use trunkline_core::ha::{Outcome, Write};
use trunkline_core::keys::{Key, Prefix};
use trunkline_core::wire::config::DynamicConfig;
use trunkline_core::{LeaseId, Revision, Scope, StoreNumber};

/// How etcd behaves towards the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Answers,
    /// Nothing is answered, and nothing done.
    Silent,
    /// What is asked for is done, and the answer lost.
    LosesAnswers,
    /// It answers what it is asked; what others do is not seen.
    Lags,
}

#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) mood: Mood,
    prefix: Prefix,
    keys: BTreeMap<String, KeyValue>,
    revision: i64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            mood: Mood::Answers,
            prefix: Prefix::new("service", &Scope::from("demo")),
            keys: BTreeMap::new(),
            revision: 0,
        }
    }
}

impl Store {
    pub(crate) fn put(&mut self, key: &str, value: &str, lease: Option<LeaseId>) {
        self.revision += 1;
        let modified = Revision(self.revision);
        let created = self.keys.get(key).map_or(modified, |had| had.created);
        let full = format!("{}{key}", self.prefix.as_str()).into_bytes();
        let value = value.as_bytes().to_vec();
        let kv = KeyValue {
            key: full,
            value,
            created,
            modified,
            lease,
        };
        self.keys.insert(key.to_owned(), kv);
    }

    pub(crate) fn delete(&mut self, key: &str) {
        self.revision += 1;
        self.keys.remove(key);
    }

    pub(crate) fn get(&self, key: &str) -> Option<&KeyValue> {
        self.keys.get(key)
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.get(key)
            .map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
    }

    /// Everything that hangs on a lease is gone with it.
    pub(crate) fn end_lease(&mut self, lease: LeaseId) {
        self.keys.retain(|_, kv| kv.lease != Some(lease));
    }

    pub(crate) fn view(&self) -> ClusterView {
        let config = DynamicConfig::default();
        ClusterView::parse(
            &self.prefix,
            StoreNumber::FIRST,
            self.keys.values(),
            &config,
        )
    }

    /// A change as the agent asks for it, with the conditions it is made under.
    pub(crate) fn write(&mut self, me: &str, lease: Option<LeaseId>, write: &Write) -> Outcome {
        let (key, value, lease) = match write {
            Write::Member(value) => (format!("members/{me}"), value.clone(), lease),
            Write::ClaimInitialize => (Key::Initialize.to_string(), String::new(), lease),
            Write::Initialize(id, _) => (Key::Initialize.to_string(), id.to_string(), None),
            Write::UnclaimInitialize => {
                let mine = |kv: &KeyValue| kv.value.is_empty() && kv.lease == lease;
                if !self.get("initialize").is_some_and(mine) {
                    return Outcome::Refused;
                }
                self.delete("initialize");
                return Outcome::Done;
            }
            Write::Config(value, _) => (Key::Config.to_string(), value.clone(), None),
            Write::Status(value) => (Key::Status.to_string(), value.clone(), None),
            Write::OptimeLeader(value) => (Key::OptimeLeader.to_string(), value.clone(), None),
            Write::History(value) => (Key::History.to_string(), value.clone(), None),
            Write::Failsafe(value) => (Key::Failsafe.to_string(), value.clone(), None),
            Write::ClearFailover(_) => (Key::Failover.to_string(), "{}".to_owned(), None),
        };
        let known = self.get(&key).map(|kv| kv.modified);
        let as_seen = match write {
            Write::ClaimInitialize => known.is_none(),
            Write::Initialize(_, seen) | Write::Config(_, seen) => *seen == known,
            Write::ClearFailover(Some(seen)) => Some(*seen) == known,
            Write::Member(_) => lease.is_some(),
            Write::UnclaimInitialize
            | Write::Status(_)
            | Write::OptimeLeader(_)
            | Write::History(_)
            | Write::Failsafe(_)
            | Write::ClearFailover(None) => true,
        };
        if !as_seen {
            return Outcome::Refused;
        }
        self.put(&key, &value, lease);
        Outcome::Done
    }
}
