//! Health checks: which status a path answers with (contract 2.3).
//!
//! Paths are matched by what they contain, in the order of [`Group::of`]: `/foo-leader-x` is `/leader`. That is
//! how Patroni does it, and balancers are configured against it.

use serde_json::Value;

use super::request::Request;
use super::told::Told;
use crate::postgres::{Database, Silence};
use crate::wire::member::{Role, State};
use crate::wire::number::{self, Unit};
use crate::wire::rest::StatusDocument;
use crate::{Lsn, Moment};

/// What a health check is answered from.
#[derive(Clone, Copy, Debug)]
pub struct Health<'a> {
    /// What the cycle told.
    pub told: &'a Told,
    /// What PostgreSQL answered.
    pub database: &'a Result<Database, Silence>,
    /// The status document made of both.
    pub document: &'a StatusDocument,
    /// Whether `/primary` is 200 only while PostgreSQL accepts writes (`restapi.honest_primary`).
    pub honest_primary: bool,
    /// Now.
    pub now: Moment,
}

/// What a path asks after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    StandbyLeader,
    Leader,
    Primary,
    Replica,
    ReadOnly,
    Running,
    Sync,
    Quorum,
    Async,
    ReadOnlyQuorum,
    ReadOnlySync,
    Nothing,
}

impl Group {
    fn of(path: &str) -> Self {
        let path = if path == "/" { "/primary" } else { path };
        let has = |part: &str| path.contains(part);
        if has("standby_leader") || has("standby-leader") {
            return Self::StandbyLeader;
        }
        if has("leader") {
            return Self::Leader;
        }
        if has("master") || has("primary") || has("read-write") {
            return Self::Primary;
        }
        if has("replica") {
            return Self::Replica;
        }
        if has("read-only") && !has("sync") && !has("quorum") {
            return Self::ReadOnly;
        }
        if has("health") {
            return Self::Running;
        }
        match path {
            "/sync" | "/synchronous" => Self::Sync,
            "/quorum" => Self::Quorum,
            "/async" | "/asynchronous" => Self::Async,
            "/read-only-quorum" => Self::ReadOnlyQuorum,
            "/read-only-sync" | "/read-only-synchronous" => Self::ReadOnlySync,
            _ => Self::Nothing,
        }
    }

    /// Whether filters by tag apply.
    const fn is_filtered(self) -> bool {
        match self {
            Self::StandbyLeader | Self::Leader | Self::Primary => false,
            Self::Replica
            | Self::ReadOnly
            | Self::Running
            | Self::Sync
            | Self::Quorum
            | Self::Async
            | Self::ReadOnlyQuorum
            | Self::ReadOnlySync
            | Self::Nothing => true,
        }
    }
}

/// What a member counts as.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    leader: bool,
    primary: bool,
    standby_leader: bool,
    replica: bool,
}

impl Health<'_> {
    /// The status of a health check: 200 or 503.
    #[must_use]
    pub fn check(&self, request: &Request) -> u16 {
        let group = Group::of(&request.path);
        let good =
            self.holds(group, request) && (!group.is_filtered() || self.tags_match(&request.query));
        code(good)
    }

    /// The status of `/liveness`: whether the cycle is on time. PostgreSQL is not asked.
    #[must_use]
    pub fn liveness(told: &Told, now: Moment) -> u16 {
        let leads = told.role == Role::Primary && told.postmaster_up;
        let patience = told.config.ttl * if leads { 1 } else { 2 };
        code(told.config.pause || told.next_run.after(patience) > now)
    }

    /// The status of `/readiness`: whether this member may be counted on when others are taken away.
    #[must_use]
    pub fn readiness(&self, request: &Request) -> u16 {
        if self.told.is_leader(self.now) {
            return 200;
        }
        let streams = self.document.state == State::Running
            && self.document.replication_state.as_deref() == Some("streaming");
        code(streams && self.is_ready_standby(request))
    }

    fn is_ready_standby(&self, request: &Request) -> bool {
        if self.told.known(self.now).is_none() && self.latest_end().is_none() {
            return self.told.is_failsafe(self.now);
        }
        let xlog = &self.document.xlog;
        let here = match request.parameter("mode") {
            Some("write") => xlog.received_location,
            Some(_) | None => xlog.replayed_location,
        };
        let limit = lag(request).unwrap_or(self.told.config.maximum_lag_on_failover);
        let leader = self.leader_position().unwrap_or_default();
        leader.ahead_of(here.unwrap_or_default()) <= limit
    }

    fn holds(&self, group: Group, request: &Request) -> bool {
        let is = self.standing(request);
        let known = self.told.known(self.now).is_some();
        let (sync, quorum) = (self.document.sync_standby, self.document.quorum_standby);
        let leads = is.primary || is.standby_leader;
        match group {
            Group::StandbyLeader => is.standby_leader,
            Group::Leader => is.leader,
            Group::Primary => is.primary,
            Group::Replica => is.replica,
            Group::ReadOnly => leads || is.replica,
            Group::Running => self.document.state == State::Running,
            Group::Sync => known && is.replica && sync,
            Group::Quorum => known && is.replica && quorum,
            Group::Async => known && is.replica && !sync && !quorum,
            Group::ReadOnlyQuorum => known && (leads || (is.replica && quorum)),
            Group::ReadOnlySync => known && (leads || (is.replica && sync)),
            Group::Nothing => false,
        }
    }

    fn standing(&self, request: &Request) -> Standing {
        let role = &self.document.role;
        let replica = self.is_good_replica(request);
        if self.told.known(self.now).is_none() && self.told.config.pause {
            return Standing {
                leader: matches!(role, Role::Primary | Role::StandbyLeader),
                primary: *role == Role::Primary && self.may_be_primary(),
                standby_leader: *role == Role::StandbyLeader,
                replica,
            };
        }
        if !self.told.is_leader(self.now) {
            return Standing {
                replica,
                ..Standing::default()
            };
        }
        if self.told.config.is_standby_cluster() {
            return Standing {
                leader: true,
                primary: false,
                standby_leader: matches!(role, Role::Replica | Role::StandbyLeader),
                replica: false,
            };
        }
        Standing {
            leader: true,
            primary: self.may_be_primary(),
            standby_leader: false,
            replica,
        }
    }

    /// Where it is wanted honest, a primary is one only while it takes writes.
    fn may_be_primary(&self) -> bool {
        let writes = || {
            let database = self.database.as_ref();
            database.is_ok_and(|database| !database.in_recovery)
        };
        !self.honest_primary || writes()
    }

    fn is_good_replica(&self, request: &Request) -> bool {
        self.document.role == Role::Replica
            && self.document.state == State::Running
            && !self.told.tags.noloadbalance()
            && !self.lags(request)
    }

    fn lags(&self, request: &Request) -> bool {
        let (Some(limit), Some(leader)) = (lag(request), self.leader_position()) else {
            return false;
        };
        let replayed = self.document.xlog.replayed_location.unwrap_or_default();
        leader.ahead_of(replayed) > limit
    }

    /// How far the leader is known to be, from etcd and from who sends the log here.
    fn leader_position(&self) -> Option<Lsn> {
        let published = self
            .told
            .known(self.now)
            .and_then(|view| view.status.optime);
        published.max(self.latest_end())
    }

    fn latest_end(&self) -> Option<Lsn> {
        let receiver = self.database.as_ref().ok()?.receiver.as_ref()?;
        receiver.latest_end
    }

    fn tags_match(&self, query: &[(String, String)]) -> bool {
        let mut seen: Vec<&str> = Vec::new();
        query.iter().all(|(name, value)| {
            let Some(tag) = name.strip_prefix("tag_") else {
                return true;
            };
            if seen.contains(&tag) {
                return true;
            }
            seen.push(tag);
            let configured = self.told.configured_tags.get(tag);
            configured.is_some_and(|configured| configured == value.as_str())
        })
    }
}

/// The `lag` parameter in bytes; `None` without one that makes sense.
fn lag(request: &Request) -> Option<u64> {
    let written = Value::from(request.parameter("lag")?);
    number::in_unit(&written, Unit::Bytes).map(|bytes| u64::try_from(bytes).unwrap_or(0))
}

const fn code(good: bool) -> u16 {
    if good { 200 } else { 503 }
}
