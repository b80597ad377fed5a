//! The `members/<name>` keys: what a member says of itself (Patroni 4.1, etcd values, member).

use serde_json::{Map, Value};

pub use super::role::Role;
pub use super::state::State;
pub use super::tags::Tags;
pub use super::url::{ApiUrl, ConnUrl, Host};

use super::json::{self, Fields};
use super::object::{self, Object};
use super::{Invalid, Why, url};
use crate::{Lsn, Timeline};

const WHAT: &str = "member value";

/// What a member says of itself. Any field may be missing: one that is absent, `null`, or makes no sense is `None`
/// and leaves the others as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Where its PostgreSQL listens.
    pub conn: Option<ConnUrl>,
    /// Where its REST API listens.
    pub api: Option<ApiUrl>,
    /// What to connect to instead of its PostgreSQL.
    pub proxy: Option<ConnUrl>,
    /// What its PostgreSQL is doing.
    pub state: Option<State>,
    /// Its role.
    pub role: Option<Role>,
    /// The version of Patroni it speaks.
    pub version: Option<String>,
    /// Its tags.
    pub tags: Tags,
    /// How far its log reaches: flushed on a primary, received or replayed on a standby.
    pub xlog_location: Option<Lsn>,
    /// How far a standby has replayed.
    pub replay_lsn: Option<Lsn>,
    /// How far a standby has received.
    pub receive_lsn: Option<Lsn>,
    /// How a standby is fed: `streaming` or `in archive recovery`.
    pub replication_state: Option<String>,
    /// The timeline it is on.
    pub timeline: Option<Timeline>,
    /// Whether it has taken notice that the cluster is paused.
    pub pause: bool,
    /// `false` while a leader's checkpoint after its promotion is not confirmed.
    pub checkpoint_after_promote: Option<bool>,
    /// Whether parameters wait for a restart.
    pub pending_restart: bool,
    /// Which ones, with the old and the new value.
    pub pending_restart_reason: Option<Value>,
    /// The restart an operator has scheduled.
    pub scheduled_restart: Option<Value>,
    /// Fields Patroni 4.1 does not write, kept as they are.
    pub other: Map<String, Value>,
}

impl Member {
    /// Reads a member's value, or the URL that Governor, Patroni's ancestor, kept there.
    ///
    /// # Errors
    ///
    /// If it is neither a JSON object nor such a URL. Patroni then goes on with a member of which only the name is
    /// known, [`Member::default`].
    pub fn parse(value: &[u8]) -> Result<Self, Invalid> {
        let text = object::text(WHAT, value)?;
        if text.starts_with("postgres") {
            return Self::from_url(text);
        }
        let mut fields = Object::parse(WHAT, value)?;
        let conn_url = |text: String| ConnUrl::parse(&text).ok();
        Ok(Self {
            conn: fields.take_text("conn_url").and_then(conn_url),
            api: fields
                .take_text("api_url")
                .and_then(|text| ApiUrl::parse(&text).ok()),
            proxy: fields.take_text("proxy_url").and_then(conn_url),
            state: fields.take_text("state").map(|text| State::of(&text)),
            role: fields.take_text("role").map(|text| Role::of(&text)),
            version: fields.take_text("version"),
            tags: Tags(fields.take_object("tags").rest()),
            xlog_location: fields.take_lsn("xlog_location"),
            replay_lsn: fields.take_lsn("replay_lsn"),
            receive_lsn: fields.take_lsn("receive_lsn"),
            replication_state: fields.take_text("replication_state"),
            timeline: fields.take_timeline("timeline"),
            pause: fields.take_flag("pause"),
            checkpoint_after_promote: fields
                .take("checkpoint_after_promote")
                .and_then(|value| value.as_bool()),
            pending_restart: fields.take_flag("pending_restart"),
            pending_restart_reason: fields.take("pending_restart_reason"),
            scheduled_restart: fields.take("scheduled_restart"),
            other: fields.rest(),
        })
    }

    /// The value as Patroni would write it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = |value: &dyn ToString| value.to_string();
        let tags = Some(&self.tags.0).filter(|tags| !tags.is_empty());
        let mut fields = Fields::default();
        fields
            .put_some("conn_url", self.conn.as_ref().map(|url| text(url)))
            .put_some("api_url", self.api.as_ref().map(|url| text(url)))
            .put_some("state", self.state.as_ref().map(State::as_str))
            .put_some("role", self.role.as_ref().map(Role::as_str))
            .put_some("version", self.version.as_deref())
            .put_some("proxy_url", self.proxy.as_ref().map(|url| text(url)))
            .put_some("checkpoint_after_promote", self.checkpoint_after_promote)
            .put_some("tags", tags.cloned())
            .put_flag("pending_restart", self.pending_restart)
            .put_some(
                "pending_restart_reason",
                self.pending_restart_reason.clone(),
            )
            .put_some("xlog_location", self.xlog_location.map(|lsn| lsn.0))
            .put_some("replay_lsn", self.replay_lsn.map(|lsn| lsn.0))
            .put_some("receive_lsn", self.receive_lsn.map(|lsn| lsn.0))
            .put_some("replication_state", self.replication_state.as_deref())
            .put_some("timeline", self.timeline.map(|timeline| timeline.0))
            .put_some("scheduled_restart", self.scheduled_restart.clone())
            .put_flag("pause", self.pause)
            .put_all(&self.other);
        json::compact(&fields.into_value())
    }

    /// `postgres://user:password@host:port/postgres?application_name=http://host:port/patroni`.
    fn from_url(text: &str) -> Result<Self, Invalid> {
        let conn = ConnUrl::parse(text).map_err(|why: Why| why.of(WHAT))?;
        let query = text.split_once('?').map_or("", |(_, query)| query);
        let query = query.split_once('#').map_or(query, |(query, _)| query);
        let api = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("application_name="))
            .and_then(|text| url::percent_decoded(text).ok())
            .and_then(|text| ApiUrl::parse(&text).ok());
        Ok(Self {
            conn: Some(conn),
            api,
            ..Self::default()
        })
    }
}
