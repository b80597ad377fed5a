//! A member of the small world: what its REST API and its PostgreSQL answer when they are asked.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trunkline_core::probe::{Accepts, Answer, NoAnswer, judge};
use trunkline_core::{MemberName, Scope, SystemId};

use super::{SCOPE, SYSTEM_ID};

/// A member as it behaves.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    name: String,
    /// The status document, or why there is none.
    pub(crate) rest: Result<Document, NoAnswer>,
    /// What PostgreSQL answers to a start-up packet.
    pub(crate) accepts: Result<Accepts, NoAnswer>,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, Value>,
    /// Fields its key is published with instead of the usual ones.
    pub(crate) publishes: BTreeMap<String, Value>,
}

/// What `GET /primary` answers.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// The HTTP status.
    pub(crate) code: u16,
    /// PostgreSQL's role.
    pub(crate) role: String,
    /// Its state.
    pub(crate) state: String,
    /// Its timeline.
    pub(crate) timeline: u32,
    /// Its position: what a primary wrote, what a replica replayed.
    pub(crate) at: Option<u64>,
    /// How many milliseconds its agent will go on as primary without etcd, where it says so.
    pub(crate) until: Option<u64>,
    /// The name it answers under.
    pub(crate) name: String,
    /// The scope it answers under.
    pub(crate) scope: String,
    /// Its database.
    pub(crate) system_id: String,
}

impl Node {
    /// A running replica.
    pub(crate) fn replica(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            rest: Ok(Document::new(name, 503, "replica", "running")),
            accepts: Ok(Accepts::Yes),
            tags: BTreeMap::new(),
            publishes: BTreeMap::new(),
        }
    }

    /// The value of its member key.
    pub(crate) fn published(&self) -> String {
        let mut value = json!({
            "conn_url": format!("postgres://{}:5432/postgres", self.name),
            "api_url": format!("http://{}:8008/patroni", self.name),
            "state": "running",
            "role": "replica",
            "version": "4.1.5",
            "replay_lsn": 1000,
            "timeline": 1,
        });
        if !self.tags.is_empty() {
            value["tags"] = json!(self.tags);
        }
        for (field, told) in &self.publishes {
            value[field] = told.clone();
        }
        value.to_string()
    }

    /// Its answer, judged as the router judges it.
    pub(crate) fn answer(&self, system_id: Option<&SystemId>) -> Result<Answer, NoAnswer> {
        let document = self.rest.clone()?;
        let (member, scope) = (MemberName::from(self.name.as_str()), Scope::from(SCOPE));
        judge(
            document.code,
            document.body().as_bytes(),
            &member,
            &scope,
            system_id,
        )
    }
}

impl Document {
    /// An answer of a member of the cluster.
    pub(crate) fn new(name: &str, code: u16, role: &str, state: &str) -> Self {
        Self {
            code,
            role: role.to_owned(),
            state: state.to_owned(),
            timeline: 1,
            at: Some(1_000),
            until: None,
            name: name.to_owned(),
            scope: SCOPE.to_owned(),
            system_id: SYSTEM_ID.to_owned(),
        }
    }

    fn body(&self) -> String {
        let writes = matches!(self.role.as_str(), "primary" | "master");
        let xlog = match (self.at, writes) {
            (Some(at), true) => json!({ "location": at }),
            (Some(at), false) => json!({ "received_location": at, "replayed_location": at }),
            (None, _) => json!({}),
        };
        let mut body = json!({
            "state": self.state,
            "role": self.role,
            "server_version": 150_020,
            "xlog": xlog,
            "timeline": self.timeline,
            "database_system_identifier": self.system_id,
            "patroni": { "version": "4.1.5", "scope": self.scope, "name": self.name },
        });
        if let Some(until) = self.until {
            body["leader_until_ms"] = json!(until);
        }
        body.to_string()
    }
}
