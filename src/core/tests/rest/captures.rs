//! Captured answers, and what the agent would have been told where it gave them.

use std::time::Duration;

use jiff::Timestamp;
use trunkline_core::cluster::{ClusterView, KeyValue};
use trunkline_core::keys::Prefix;
use trunkline_core::lease::Held;
use trunkline_core::postgres::{Database, Silence, WalReceiver, WalSender};
use trunkline_core::rest::Told;
use trunkline_core::wire::config::DynamicConfig;
use trunkline_core::wire::member::{Role, State};
use trunkline_core::wire::rest::StatusDocument;
use trunkline_core::{Moment, Observed, Revision, Scope, StoreNumber};

/// When all of it is asked.
pub(crate) const NOW: Moment = Moment::from_boot(Duration::from_secs(1000));

/// An answer as it came over the wire.
pub(crate) struct Captured {
    /// All of it.
    pub(crate) whole: &'static [u8],
    /// What follows the head.
    pub(crate) body: &'static str,
    /// Its date.
    pub(crate) date: Timestamp,
}

impl Captured {
    pub(crate) fn new(whole: &'static str) -> Self {
        let (head, body) = whole.split_once("\r\n\r\n").unwrap();
        let date = head
            .lines()
            .find_map(|line| line.strip_prefix("Date: "))
            .unwrap();
        let date = jiff::fmt::strtime::parse("%a, %d %b %Y %H:%M:%S GMT", date).unwrap();
        let date = date.to_datetime().unwrap();
        Self {
            whole: whole.as_bytes(),
            body,
            date: date.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp(),
        }
    }
}

/// A view of the keys given one a line, its value on the next.
pub(crate) fn view(store: &str) -> ClusterView {
    let prefix = Prefix::new("service", &Scope::from("demo"));
    let keys = store.lines().step_by(2);
    let values = store.lines().skip(1).step_by(2);
    let keys: Vec<KeyValue> = keys
        .zip(values)
        .map(|(key, value)| KeyValue {
            key: key.as_bytes().to_vec(),
            value: value.as_bytes().to_vec(),
            created: Revision(5),
            modified: Revision(7),
            lease: None,
        })
        .collect();
    ClusterView::parse(
        &prefix,
        StoreNumber::FIRST,
        &keys,
        &DynamicConfig::default(),
    )
}

/// What PostgreSQL must have answered for this document to come of it.
pub(crate) fn database(document: &StatusDocument) -> Result<Database, Silence> {
    let version = document
        .server_version
        .ok_or_else(|| Silence::Unreachable("connection refused".to_owned()))?;
    let xlog = &document.xlog;
    let fed = document.replication_state.as_deref();
    Ok(Database {
        version,
        started: document.postmaster_start_time.clone().unwrap(),
        in_recovery: xlog.location.is_none(),
        checkpoint_timeline: None,
        timeline: document.timeline,
        flushed: xlog.location,
        received: xlog.received_location,
        replayed: xlog.replayed_location,
        // PostgreSQL itself leaves zeros out.
        replayed_at: xlog
            .replayed_timestamp
            .as_ref()
            .map(|stamp| stamp.replace("0+00:00", "+00")),
        replay_paused: xlog.paused,
        receiver: (fed == Some("streaming")).then(|| WalReceiver {
            status: "streaming".to_owned(),
            latest_end: xlog.received_location,
            ..WalReceiver::default()
        }),
        restores_from_archive: fed == Some("in archive recovery"),
        standbys: document
            .replication
            .iter()
            .map(|row| WalSender {
                user: row.usename.clone(),
                application: row.application_name.clone().unwrap(),
                address: row.client_addr.clone(),
                state: row.state.clone().unwrap(),
                sync_state: row.sync_state.clone().unwrap(),
                sync_priority: row.sync_priority.unwrap(),
                flushed: None,
            })
            .collect(),
        ..Database::default()
    })
}

/// What the agent must have been told for this document to come of it.
pub(crate) fn told(document: &StatusDocument, view: ClusterView, leads: bool) -> Told {
    let state = if document.state == State::Unknown {
        State::Running
    } else {
        document.state.clone()
    };
    Told {
        me: document.patroni.name.as_deref().unwrap().into(),
        scope: document.patroni.scope.as_deref().unwrap().into(),
        config: view.config.clone(),
        view: Observed::Fresh {
            value: view,
            asked: NOW,
        },
        etcd_answered: Some(NOW),
        dcs_last_seen: document.dcs_last_seen.unwrap(),
        held: leads.then(|| Held {
            began: Revision(5),
            confirmed: NOW.before(Duration::from_secs(10)),
            granted: Duration::from_secs(30),
        }),
        role: document.role.clone(),
        postmaster_up: state == State::Running,
        state,
        system_id: document.database_system_identifier.clone(),
        configured_tags: document.tags.clone(),
        tags: document.tags.clone(),
        pending_restart: [].into(),
        scheduled_restart: None,
        failsafe_until: document
            .failsafe_mode_is_active
            .then(|| NOW.after(Duration::from_secs(1))),
        watchdog_failed: false,
        next_run: NOW,
        only_follows: None,
    }
}

/// The document without what Patroni does not say.
pub(crate) fn as_patroni(mut document: StatusDocument) -> StatusDocument {
    document.leader_until_ms = None;
    document
}

/// A replica that runs, on its own.
pub(crate) fn replica() -> (Told, Result<Database, Silence>) {
    let capture = Captured::new(include_str!("../fixtures/rest/pg-1-patroni.http"));
    let document = StatusDocument::parse(capture.body.as_bytes()).unwrap();
    let view = view(include_str!("../fixtures/etcd-synchronous.txt"));
    (told(&document, view, false), database(&document))
}

/// A primary that runs and holds the lock.
pub(crate) fn primary() -> (Told, Result<Database, Silence>) {
    let capture = Captured::new(include_str!("../fixtures/rest/pg-2-patroni.http"));
    let document = StatusDocument::parse(capture.body.as_bytes()).unwrap();
    let view = view(include_str!("../fixtures/etcd-synchronous.txt"));
    assert_eq!(document.role, Role::Primary);
    (told(&document, view, true), database(&document))
}
