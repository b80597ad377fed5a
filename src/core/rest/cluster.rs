//! `GET /cluster`: the cluster as it stands in etcd, for people and scripts (contract 2.4).

use serde_json::Value;

use crate::cluster::ClusterView;
use crate::wire::config::SynchronousMode;
use crate::wire::json::{self, Fields};
use crate::wire::member::{Member, State};
use crate::wire::status::Status;
use crate::{Lsn, MemberName, Scope};

/// The body of the answer.
#[must_use]
pub fn document(view: &ClusterView, scope: &Scope) -> String {
    let members: Vec<Value> = view
        .members
        .iter()
        .map(|(name, member)| line(view, name, member))
        .collect();
    let mut fields = Fields::default();
    fields
        .put("members", members)
        .put_flag("pause", view.config.pause)
        .put_some("scheduled_switchover", scheduled(view))
        .put("scope", scope.as_str());
    json::spaced(&fields.into_value())
}

fn line(view: &ClusterView, name: &MemberName, member: &Member) -> Value {
    let leads = view
        .lock
        .tenure()
        .is_some_and(|tenure| tenure.holder == *name);
    let fed = member.replication_state.as_deref().filter(|_| !leads);
    let state = fed.or_else(|| member.state.as_ref().map(State::as_str));
    let tags = Some(&member.tags.0).filter(|tags| !tags.is_empty());
    let mut fields = Fields::default();
    fields
        .put("name", name.as_str())
        .put("role", role(view, name, leads))
        .put("state", state.unwrap_or_default())
        .put("api_url", member.api.as_ref().map(ToString::to_string));
    if let Some(conn) = &member.conn {
        fields
            .put("host", conn.host.to_string())
            .put("port", conn.port);
    }
    fields
        .put_some("timeline", member.timeline.map(|timeline| timeline.0))
        .put_flag("pending_restart", member.pending_restart)
        .put_some(
            "pending_restart_reason",
            member.pending_restart_reason.clone(),
        )
        .put_some("scheduled_restart", member.scheduled_restart.clone())
        .put_some("tags", tags.cloned());
    if !leads {
        for (kind, position) in [
            ("receive_", member.receive_lsn),
            ("replay_", member.replay_lsn),
            ("", member.xlog_location),
        ] {
            put_position(&mut fields, kind, position, &view.status);
        }
    }
    fields.into_value()
}

fn role(view: &ClusterView, name: &MemberName, leads: bool) -> &'static str {
    if leads {
        let stands_by = view.config.is_standby_cluster();
        return if stands_by {
            "standby_leader"
        } else {
            "leader"
        };
    }
    let is_listed = view.sync.as_ref().is_some_and(|sync| sync.names(name));
    match view.config.synchronous_mode {
        SynchronousMode::On if is_listed => "sync_standby",
        SynchronousMode::Quorum if is_listed => "quorum_standby",
        SynchronousMode::Off | SynchronousMode::On | SynchronousMode::Quorum => "replica",
    }
}

/// A position, and how far behind the leader's it is.
fn put_position(fields: &mut Fields, kind: &str, position: Option<Lsn>, status: &Status) {
    let unknown = || Value::from("unknown");
    let lag = position.map(|position| status.optime.unwrap_or_default().ahead_of(position));
    let text = position.map(|position| position.to_string());
    fields
        .put(&format!("{kind}lag"), lag.map_or_else(unknown, Value::from))
        .put(
            &format!("{kind}lsn"),
            text.map_or_else(unknown, Value::from),
        );
}

fn scheduled(view: &ClusterView) -> Option<Value> {
    let failover = view.failover.as_ref()?;
    let at = failover.scheduled_at?;
    let mut fields = Fields::default();
    fields
        .put("at", crate::wire::failover::iso(at))
        .put_some("from", failover.leader.as_ref().map(MemberName::as_str))
        .put_some("to", failover.candidate.as_ref().map(MemberName::as_str));
    Some(fields.into_value())
}
