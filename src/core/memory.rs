//! What a router keeps of a cluster over its own restarts: who leads and where the members are, as etcd last said.
//!
//! It is read only where etcd cannot be asked at a start, and it proves nothing: a member that is remembered as the
//! leader is routed to once it says itself that it holds the lock. Knows no file; text comes in and goes out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::StoreNumber;
use crate::cluster::{ClusterView, KeyValue};
use crate::keys::{Key, Prefix};
use crate::wire::config::DynamicConfig;

/// The form of the text; another one is not read.
const FORM: u32 = 1;
/// What is kept of a member's value. The rest changes with every write to the database.
const OF_A_MEMBER: [&str; 6] = ["conn_url", "api_url", "proxy_url", "tags", "state", "role"];

/// The keys of a cluster that a router needs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    form: u32,
    prefix: String,
    /// Values by their keys below the prefix.
    keys: BTreeMap<String, String>,
}

/// Why a text is no memory of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It was never written by a router.
    #[error("no router wrote this: {0}")]
    Garbled(#[from] serde_json::Error),
    /// Another version of the router wrote it.
    #[error("written in form {0}, which this version does not read")]
    Form(u32),
    /// It is about another cluster.
    #[error("about another cluster: {0}")]
    Prefix(String),
}

impl Memory {
    /// What is worth keeping of `keys`, everything there is under `prefix`.
    #[must_use]
    pub fn of<'k>(prefix: &Prefix, keys: impl IntoIterator<Item = &'k KeyValue>) -> Self {
        let kept = keys.into_iter().filter_map(|kv| {
            let key = prefix.parse(&kv.key);
            let text = std::str::from_utf8(&kv.value).ok()?;
            let value = match key {
                Key::Member(_) => of_a_member(text)?,
                Key::Leader | Key::Initialize | Key::Config | Key::Sync => text.to_owned(),
                Key::Status
                | Key::OptimeLeader
                | Key::Failover
                | Key::History
                | Key::Failsafe
                | Key::Other => return None,
            };
            Some((key.to_string(), value))
        });
        Self {
            form: FORM,
            prefix: prefix.as_str().to_owned(),
            keys: kept.collect(),
        }
    }

    /// Reads what [`Self::to_text`] wrote of the cluster under `prefix`.
    ///
    /// # Errors
    /// [`Unusable`], for any other text.
    pub fn parse(text: &str, prefix: &Prefix) -> Result<Self, Unusable> {
        let memory: Self = serde_json::from_str(text)?;
        if memory.form != FORM {
            return Err(Unusable::Form(memory.form));
        }
        if memory.prefix != prefix.as_str() {
            return Err(Unusable::Prefix(memory.prefix));
        }
        Ok(memory)
    }

    /// As text, to be read again by [`Self::parse`].
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The cluster as it was: read from no store there is, so that nothing in it passes for proof.
    #[must_use]
    pub fn view(&self, prefix: &Prefix) -> ClusterView {
        let keys: Vec<KeyValue> = self
            .keys
            .iter()
            .map(|(key, value)| KeyValue {
                key: format!("{}{key}", prefix.as_str()).into_bytes(),
                value: value.clone().into_bytes(),
                created: crate::Revision::default(),
                modified: crate::Revision::default(),
                lease: None,
            })
            .collect();
        let config = DynamicConfig::default();
        ClusterView::parse(prefix, StoreNumber::REMEMBERED, &keys, &config)
    }
}

fn of_a_member(text: &str) -> Option<String> {
    let fields: Map<String, Value> = serde_json::from_str(text).ok()?;
    let kept = fields
        .into_iter()
        .filter(|(name, _)| OF_A_MEMBER.contains(&name.as_str()));
    serde_json::to_string(&kept.collect::<Map<_, _>>()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Scope, wire::member::Host};

    fn key(name: &str, value: &str) -> KeyValue {
        KeyValue {
            key: format!("/service/demo/{name}").into_bytes(),
            value: value.as_bytes().to_vec(),
            created: crate::Revision(5),
            modified: crate::Revision(5),
            lease: None,
        }
    }

    fn prefix() -> Prefix {
        Prefix::new("service", &Scope::from("demo"))
    }

    #[test]
    fn what_is_needed_again_comes_back_and_nothing_else() {
        let keys = [
            key("leader", "pg-1"),
            key("status", r#"{"optime":1000}"#),
            key(
                "members/pg-1",
                r#"{"conn_url":"postgres://10.0.0.1:5432/postgres","xlog_location":7}"#,
            ),
            key("members/pg-2", "garbage"),
        ];
        let text = Memory::of(&prefix(), &keys).to_text();
        assert!(!text.contains("xlog_location"), "{text}");
        let view = Memory::parse(&text, &prefix()).unwrap().view(&prefix());
        let tenure = view.lock.tenure().unwrap();
        assert_eq!(
            (tenure.holder.as_str(), tenure.store),
            ("pg-1", StoreNumber::REMEMBERED)
        );
        let conn = view.members[&"pg-1".into()].conn.as_ref().unwrap();
        assert!(matches!(&conn.host, Host::Ip(ip) if ip.to_string() == "10.0.0.1"));
        assert_eq!(view.members.len(), 1);
    }

    #[test]
    fn a_text_of_somebody_else_is_refused() {
        let other = Prefix::new("service", &Scope::from("other"));
        let text = Memory::of(&other, &[]).to_text();
        assert!(matches!(
            Memory::parse(&text, &prefix()),
            Err(Unusable::Prefix(_))
        ));
        let later = text.replace("\"form\": 1", "\"form\": 2");
        assert!(matches!(
            Memory::parse(&later, &other),
            Err(Unusable::Form(2))
        ));
        for garbled in ["", "null", "{", "[1]", "\u{0}"] {
            assert!(matches!(
                Memory::parse(garbled, &other),
                Err(Unusable::Garbled(_))
            ));
        }
    }
}
