//! `GET /metrics`: the status document in numbers, every name, text and order as Patroni has them (contract 2.4).

use std::fmt::{Display, Write as _};

use jiff::Timestamp;

use super::VERSION;
use super::told::Told;
use crate::Lsn;
use crate::wire::member::{Role, State};
use crate::wire::rest::StatusDocument;

/// The body of the answer.
#[must_use]
pub fn text(told: &Told, document: &StatusDocument) -> String {
    let mut page = Page {
        text: String::new(),
        labels: format!(
            "{{scope=\"{}\",name=\"{}\"}}",
            escaped(told.scope.as_str()),
            escaped(told.me.as_str())
        ),
    };
    page.of_postgres(document);
    page.of_the_log(document);
    page.of_replication(document);
    page.of_the_cluster(document);
    page.text
}

struct Page {
    text: String,
    labels: String,
}

impl Page {
    fn of_postgres(&mut self, document: &StatusDocument) {
        let running = document.state == State::Running;
        let started = document.postmaster_start_time.as_deref();
        self.gauge(
            "patroni_version",
            "Patroni semver without periods.",
            version(),
        );
        self.flag(
            "patroni_postgres_running",
            "Value is 1 if Postgres is running, 0 otherwise.",
            running,
        );
        self.gauge(
            "patroni_postmaster_start_time",
            "Epoch seconds since Postgres started.",
            epoch(started),
        );
        self.flag(
            "patroni_primary",
            "Value is 1 if this node is the leader, 0 otherwise.",
            document.role == Role::Primary,
        );
    }

    fn of_the_log(&mut self, document: &StatusDocument) {
        let xlog = &document.xlog;
        let replica = document.role == Role::Replica;
        self.counter(
            "patroni_xlog_location",
            "Current location of the Postgres transaction log, 0 if this node is not the leader.",
            xlog.location,
        );
        self.flag(
            "patroni_standby_leader",
            "Value is 1 if this node is the standby_leader, 0 otherwise.",
            document.role == Role::StandbyLeader,
        );
        self.flag(
            "patroni_replica",
            "Value is 1 if this node is a replica, 0 otherwise.",
            replica,
        );
        self.flag(
            "patroni_sync_standby",
            "Value is 1 if this node is a sync standby, 0 otherwise.",
            document.sync_standby,
        );
        self.flag(
            "patroni_quorum_standby",
            "Value is 1 if this node is a quorum standby, 0 otherwise.",
            document.quorum_standby,
        );
        self.counter(
            "patroni_xlog_received_location",
            "Current location of the received Postgres transaction log, 0 if this node is not a replica.",
            xlog.received_location,
        );
        self.counter(
            "patroni_xlog_replayed_location",
            "Current location of the replayed Postgres transaction log, 0 if this node is not a replica.",
            xlog.replayed_location,
        );
    }

    fn of_replication(&mut self, document: &StatusDocument) {
        let xlog = &document.xlog;
        self.gauge(
            "patroni_xlog_replayed_timestamp",
            "Current timestamp of the replayed Postgres transaction log, 0 if null.",
            epoch(xlog.replayed_timestamp.as_deref()),
        );
        self.flag(
            "patroni_xlog_paused",
            "Value is 1 if the Postgres xlog is paused, 0 otherwise.",
            xlog.paused,
        );
        if document.server_version.is_some() {
            let fed = document.replication_state.as_deref();
            self.flag(
                "patroni_postgres_streaming",
                "Value is 1 if Postgres is streaming, 0 otherwise.",
                fed == Some("streaming"),
            );
            self.flag(
                "patroni_postgres_in_archive_recovery",
                "Value is 1 if Postgres is replicating from archive, 0 otherwise.",
                fed == Some("in archive recovery"),
            );
        }
        self.gauge(
            "patroni_postgres_server_version",
            "Version of Postgres (if running), 0 otherwise.",
            document.server_version.unwrap_or(0),
        );
    }

    fn of_the_cluster(&mut self, document: &StatusDocument) {
        self.flag(
            "patroni_cluster_unlocked",
            "Value is 1 if the cluster is unlocked, 0 if locked.",
            document.cluster_unlocked,
        );
        self.flag(
            "patroni_failsafe_mode_is_active",
            "Value is 1 if failsafe mode is active, 0 if inactive.",
            document.failsafe_mode_is_active,
        );
        self.gauge(
            "patroni_postgres_timeline",
            "Postgres timeline of this node (if running), 0 otherwise.",
            document.timeline.map_or(0, |timeline| timeline.0),
        );
        self.gauge(
            "patroni_dcs_last_seen",
            "Epoch timestamp when DCS was last contacted successfully by Patroni.",
            document.dcs_last_seen.unwrap_or(0),
        );
        self.flag(
            "patroni_pending_restart",
            "Value is 1 if the node needs a restart, 0 otherwise.",
            document.pending_restart,
        );
        self.flag(
            "patroni_is_paused",
            "Value is 1 if auto failover is disabled, 0 otherwise.",
            document.pause,
        );
        self.metric(
            "patroni_postgres_state",
            "Numeric representation of Postgres state.\n# Values: 0=initdb, 1=initdb_failed, 2=custom_bootstrap, \
             3=custom_bootstrap_failed, 4=creating_replica, 5=running, 6=starting, 7=bootstrap_starting, \
             8=start_failed, 9=restarting, 10=restart_failed, 11=stopping, 12=stopped, 13=stop_failed, 14=crashed",
            "gauge",
            number(&document.state),
        );
    }

    fn flag(&mut self, name: &str, help: &str, raised: bool) {
        self.gauge(name, help, u8::from(raised));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.metric(name, help, "gauge", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: Option<Lsn>) {
        self.metric(name, help, "counter", value.unwrap_or_default().0);
    }

    fn metric(&mut self, name: &str, help: &str, kind: &str, value: impl Display) {
        let labels = &self.labels;
        // Writing to a string does not fail.
        let _ = write!(
            self.text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}\n"
        );
    }
}

/// `4.1.5` as `040105`.
fn version() -> String {
    VERSION
        .split('.')
        .map(|part| format!("{part:0>2}"))
        .collect()
}

/// Seconds since 1970 as Python writes them; `0` where there is no time.
fn epoch(stamp: Option<&str>) -> String {
    match stamp.map(str::parse::<Timestamp>) {
        Some(Ok(moment)) => format!("{:?}", moment.as_microsecond() as f64 / 1e6),
        Some(Err(_)) | None => "0".to_owned(),
    }
}

/// The number of a state (contract 1.3).
const fn number(state: &State) -> i8 {
    match state {
        State::InitializingNewCluster => 0,
        State::InitdbFailed => 1,
        State::RunningCustomBootstrap => 2,
        State::CustomBootstrapFailed => 3,
        State::CreatingReplica => 4,
        State::Running => 5,
        State::Starting => 6,
        State::StartingAfterCustomBootstrap => 7,
        State::StartFailed => 8,
        State::Restarting => 9,
        State::RestartFailed => 10,
        State::Stopping => 11,
        State::Stopped => 12,
        State::StopFailed => 13,
        State::Crashed => 14,
        State::Unknown | State::Other(_) => -1,
    }
}

/// A label's value.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('\n', "\\n")
}
