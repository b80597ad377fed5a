//! POST /failsafe: a leader that cannot reach etcd asks every member whether it may go on (contract 2.5, 5.13).
//!
//! A member that is silent makes it demote, so this is answered whatever else this release can do.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::reply::{Kind, Reply};
use super::request;
use super::told::Told;
use crate::wire::member::{ApiUrl, ConnUrl, Role};
use crate::wire::number;
use crate::{Lsn, MemberName, Moment};

/// How many slots a ping may name; a cluster has a few.
const SLOTS: usize = 1024;

/// A ping of a leader that goes on without etcd.
#[derive(Clone, Debug, PartialEq)]
pub struct Ping {
    /// When it came.
    pub at: Moment,
    /// Who it is.
    pub name: MemberName,
    /// Where its PostgreSQL is.
    pub conn: Option<ConnUrl>,
    /// Where its REST API is.
    pub api: Option<ApiUrl>,
    /// Its slots, with the position each has reached.
    pub slots: BTreeMap<String, Lsn>,
}

/// Reads a ping that came at `now`.
///
/// # Errors
/// The answer, if it is none, or one that is not wanted here.
pub fn ping(body: &[u8], told: &Told, now: Moment) -> Result<Ping, Reply> {
    if !told.config.failsafe_mode {
        return Err(Reply::page(502));
    }
    let fields = request::body(body)?;
    if matches!(told.role, Role::Primary | Role::Promoted) && told.postmaster_up {
        return Err(Reply::sentence(500, "Running as a leader"));
    }
    let text = |field: &str| fields.get(field).and_then(Value::as_str);
    let name = text("name").filter(|name| !name.is_empty() && !name.contains('/'));
    Ok(Ping {
        at: now,
        name: name.ok_or_else(|| Reply::page(400))?.into(),
        conn: text("conn_url").and_then(|url| ConnUrl::parse(url).ok()),
        api: text("api_url").and_then(|url| ApiUrl::parse(url).ok()),
        slots: fields
            .get("slots")
            .and_then(Value::as_object)
            .map(slots)
            .unwrap_or_default(),
    })
}

/// The answer to a ping that is taken: with how far this member's WAL goes, if that is known.
#[must_use]
pub fn accepted(position: Option<Lsn>) -> Reply {
    Reply::Text {
        code: 200,
        kind: Kind::Html,
        header: position.map(|position| ("lsn", position.0.to_string())),
        body: "Accepted".to_owned(),
    }
}

/// Slots whose position is none are left out.
fn slots(written: &Map<String, Value>) -> BTreeMap<String, Lsn> {
    let position = |value| number::whole(value).and_then(|bytes| u64::try_from(bytes).ok());
    written
        .iter()
        .take(SLOTS)
        .filter_map(|(name, value)| Some((name.clone(), Lsn(position(value)?))))
        .collect()
}
