//! The status document of the REST API: what a node answers to health checks and to its peers (Patroni 4.1, the
//! status document).

use serde_json::Value;

use super::json::{self, Fields};
use super::member::{Role, State, Tags};
use super::object::Object;
use super::{Invalid, Why};
use crate::{Lsn, SystemId, Timeline};

const WHAT: &str = "status document";

/// The longest document that is read: hundreds of standbys fit.
pub const LONGEST: usize = 1024 * 1024;

/// What a node says of itself when asked. But for state and role, a field that is absent, `null`, or makes no sense
/// is as if the node had left it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusDocument {
    /// What its PostgreSQL is doing.
    pub state: State,
    /// When its PostgreSQL was started.
    pub postmaster_start_time: Option<String>,
    /// Its role: by what PostgreSQL says while it answers, by what the node intends otherwise.
    pub role: Role,
    /// The version of its PostgreSQL, `150020`; known while PostgreSQL answers.
    pub server_version: Option<u32>,
    /// Where it is in the log.
    pub xlog: Xlog,
    /// Whether it is a synchronous standby.
    pub sync_standby: bool,
    /// Whether it is a standby that counts for the quorum.
    pub quorum_standby: bool,
    /// The timeline it is on.
    pub timeline: Option<Timeline>,
    /// How a standby is fed: `streaming` or `in archive recovery`.
    pub replication_state: Option<String>,
    /// Who receives the log from this node.
    pub replication: Vec<Receiver>,
    /// Whether the cluster is paused.
    pub pause: bool,
    /// Whether nobody holds the lock, as far as it knows.
    pub cluster_unlocked: bool,
    /// Whether it goes on without etcd because all members answered.
    pub failsafe_mode_is_active: bool,
    /// When it last heard from etcd, in seconds since 1970; zero if never.
    pub dcs_last_seen: Option<u64>,
    /// Its tags.
    pub tags: Tags,
    /// The identity of its database.
    pub database_system_identifier: Option<SystemId>,
    /// Whether parameters wait for a restart.
    pub pending_restart: bool,
    /// Which ones, with the old and the new value.
    pub pending_restart_reason: Option<Value>,
    /// Who answers.
    pub patroni: Identity,
    /// The restart an operator has scheduled.
    pub scheduled_restart: Option<Value>,
    /// Whether it needs a watchdog and has none.
    pub watchdog_failed: bool,
    /// For how many milliseconds more its hold on the lock is certain. Trunkline's own, Patroni does not say.
    pub leader_until_ms: Option<u64>,
    /// Why it only follows, where it does: what is in force and it cannot do. Trunkline's own.
    pub only_follows: Option<String>,
}

/// Where a node is in the log: a primary has a location, a standby what it received and replayed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xlog {
    /// How far a primary has written.
    pub location: Option<Lsn>,
    /// How far a standby has received.
    pub received_location: Option<Lsn>,
    /// How far a standby has replayed.
    pub replayed_location: Option<Lsn>,
    /// The commit time of the last transaction it replayed.
    pub replayed_timestamp: Option<String>,
    /// Whether somebody has paused the replay.
    pub paused: bool,
}

/// A standby, or anything else, that receives the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receiver {
    /// The role it logged in as.
    pub usename: Option<String>,
    /// What it calls itself: a member gives its name.
    pub application_name: Option<String>,
    /// Where it connects from.
    pub client_addr: Option<String>,
    /// `streaming`, `catchup`, `backup` …
    pub state: Option<String>,
    /// `async`, `sync`, `quorum`, `potential`.
    pub sync_state: Option<String>,
    /// Its place among synchronous standbys; zero if it is none.
    pub sync_priority: Option<u32>,
}

/// Who answers: enough to tell a node of another cluster from the one that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The version of Patroni it speaks.
    pub version: Option<String>,
    /// The cluster's name.
    pub scope: Option<String>,
    /// The member's name, which old versions leave out.
    pub name: Option<String>,
}

impl StatusDocument {
    /// Reads the body of an answer.
    ///
    /// # Errors
    ///
    /// If it is longer than [`LONGEST`], no JSON object, or says nothing of state or role.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        if body.len() > LONGEST {
            return Err(Why::TooLong {
                bytes: body.len(),
                limit: LONGEST,
            }
            .of(WHAT));
        }
        let mut fields = Object::parse(WHAT, body)?;
        Ok(Self {
            state: State::of(&fields.required_text("state")?),
            postmaster_start_time: fields.take_text("postmaster_start_time"),
            role: Role::of(&fields.required_text("role")?),
            server_version: fields.take_u32("server_version"),
            xlog: Xlog::read(&mut fields),
            sync_standby: fields.take_flag("sync_standby"),
            quorum_standby: fields.take_flag("quorum_standby"),
            timeline: fields.take_timeline("timeline"),
            replication_state: fields.take_text("replication_state"),
            replication: fields
                .take_objects("replication")
                .map(Receiver::read)
                .collect(),
            pause: fields.take_flag("pause"),
            cluster_unlocked: fields.take_flag("cluster_unlocked"),
            failsafe_mode_is_active: fields.take_flag("failsafe_mode_is_active"),
            dcs_last_seen: fields.take_u64("dcs_last_seen"),
            tags: Tags(fields.take_object("tags").rest()),
            database_system_identifier: fields
                .take_text("database_system_identifier")
                .and_then(|text| SystemId::parse(&text)),
            pending_restart: fields.take_flag("pending_restart"),
            pending_restart_reason: fields.take("pending_restart_reason"),
            patroni: Identity::read(fields.take_object("patroni")),
            scheduled_restart: fields.take("scheduled_restart"),
            watchdog_failed: fields.take_flag("watchdog_failed"),
            leader_until_ms: fields.take_u64("leader_until_ms"),
            only_follows: fields.take_text("only_follows"),
        })
    }

    /// The body as Patroni would write it.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::spaced(&self.written())
    }

    fn written(&self) -> Value {
        let timeline = self.timeline.map(|timeline| timeline.0);
        let receivers: Vec<Value> = self.replication.iter().map(Receiver::written).collect();
        let mut fields = Fields::default();
        fields
            .put("state", self.state.as_str())
            .put_some(
                "postmaster_start_time",
                self.postmaster_start_time.as_deref(),
            )
            .put("role", self.role.as_str())
            .put_some("server_version", self.server_version)
            .put_some("xlog", self.xlog.written())
            .put_flag("sync_standby", self.sync_standby)
            .put_flag("quorum_standby", self.quorum_standby);
        match self.server_version {
            // PostgreSQL answered: an unknown timeline is said to be unknown.
            Some(_) => fields.put("timeline", timeline),
            None => fields.put_some("timeline", timeline),
        };
        fields
            .put_some("replication_state", self.replication_state.as_deref())
            .put_some(
                "replication",
                Some(receivers).filter(|rows| !rows.is_empty()),
            )
            .put_flag("pause", self.pause)
            .put_flag("cluster_unlocked", self.cluster_unlocked)
            .put_flag("failsafe_mode_is_active", self.failsafe_mode_is_active)
            .put_some("dcs_last_seen", self.dcs_last_seen)
            .put_some(
                "tags",
                Some(&self.tags.0).filter(|tags| !tags.is_empty()).cloned(),
            )
            .put_some(
                "database_system_identifier",
                self.database_system_identifier
                    .as_ref()
                    .map(SystemId::as_str),
            )
            .put_flag("pending_restart", self.pending_restart)
            .put_some(
                "pending_restart_reason",
                self.pending_restart_reason.clone(),
            )
            .put("patroni", self.patroni.written())
            .put_some("scheduled_restart", self.scheduled_restart.clone())
            .put_flag("watchdog_failed", self.watchdog_failed)
            .put_some("leader_until_ms", self.leader_until_ms)
            .put_some("only_follows", self.only_follows.as_deref());
        fields.into_value()
    }
}

impl Xlog {
    /// Old versions call the field `wal`.
    fn read(document: &mut Object) -> Self {
        let old = document.take_object("wal");
        let new = document.take_object("xlog");
        let mut fields = if new.is_empty() { old } else { new };
        Self {
            location: fields.take_lsn("location"),
            received_location: fields.take_lsn("received_location"),
            replayed_location: fields.take_lsn("replayed_location"),
            replayed_timestamp: fields.take_text("replayed_timestamp"),
            paused: fields.take_flag("paused"),
        }
    }

    /// Nothing where PostgreSQL did not say.
    fn written(&self) -> Option<Value> {
        let mut fields = Fields::default();
        if let Some(location) = self.location {
            fields.put("location", location.0);
        } else if *self == Self::default() {
            return None;
        } else {
            fields
                .put("received_location", self.received_location.map(|lsn| lsn.0))
                .put("replayed_location", self.replayed_location.map(|lsn| lsn.0))
                .put("replayed_timestamp", self.replayed_timestamp.as_deref())
                .put("paused", self.paused);
        }
        Some(fields.into_value())
    }
}

impl Receiver {
    fn read(mut row: Object) -> Self {
        Self {
            usename: row.take_text("usename"),
            application_name: row.take_text("application_name"),
            client_addr: row.take_text("client_addr"),
            state: row.take_text("state"),
            sync_state: row.take_text("sync_state"),
            sync_priority: row.take_u32("sync_priority"),
        }
    }

    fn written(&self) -> Value {
        let mut fields = Fields::default();
        fields
            .put("usename", self.usename.as_deref())
            .put("application_name", self.application_name.as_deref())
            .put("client_addr", self.client_addr.as_deref())
            .put("state", self.state.as_deref())
            .put("sync_state", self.sync_state.as_deref())
            .put("sync_priority", self.sync_priority);
        fields.into_value()
    }
}

impl Identity {
    fn read(mut fields: Object) -> Self {
        Self {
            version: fields.take_text("version"),
            scope: fields.take_text("scope"),
            name: fields.take_text("name"),
        }
    }

    fn written(&self) -> Value {
        let mut fields = Fields::default();
        fields
            .put_some("version", self.version.as_deref())
            .put_some("scope", self.scope.as_deref())
            .put_some("name", self.name.as_deref());
        fields.into_value()
    }
}
