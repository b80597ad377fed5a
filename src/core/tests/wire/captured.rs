//! Values as Patroni wrote them: read, understood, and written back byte for byte.

use serde_json::Value;
use trunkline_core::keys::{Key, Prefix};
use trunkline_core::wire::config::{DynamicConfig, SynchronousMode};
use trunkline_core::wire::failover::Failover;
use trunkline_core::wire::failsafe::Failsafe;
use trunkline_core::wire::history::History;
use trunkline_core::wire::member::{Member, Role, State};
use trunkline_core::wire::rest::StatusDocument;
use trunkline_core::wire::status::Status;
use trunkline_core::wire::sync::Sync;
use trunkline_core::wire::{initialize, leader};
use trunkline_core::{Lsn, Scope, Timeline};

/// All keys of the cluster, a key and its value on alternating lines, in three of its states.
const STORES: [(&str, &str); 3] = [
    (
        "synchronous",
        include_str!("../fixtures/etcd-synchronous.txt"),
    ),
    (
        "standby cluster",
        include_str!("../fixtures/etcd-standby-cluster.txt"),
    ),
    ("quorum", include_str!("../fixtures/etcd-quorum.txt")),
];

/// Answers to `GET /patroni`, one a line, in many states of the cluster.
const DOCUMENTS: &str = include_str!("../fixtures/status-documents.txt");

fn keys(store: &str) -> impl Iterator<Item = (Key, &str)> {
    let prefix = Prefix::new("service", &Scope::from("demo"));
    let keys = store.lines().step_by(2);
    let values = store.lines().skip(1).step_by(2);
    keys.map(move |key| prefix.parse(key.as_bytes()))
        .zip(values)
}

/// A value once read and written again.
fn written_back(key: &Key, value: &str) -> String {
    let bytes = value.as_bytes();
    match key {
        Key::Leader => leader::parse(bytes).unwrap().to_string(),
        Key::Member(_) => Member::parse(bytes).unwrap().to_json(),
        Key::Initialize => initialize::parse(bytes).unwrap().unwrap().to_string(),
        Key::Config => DynamicConfig::parse(bytes).unwrap().to_json(),
        Key::Status | Key::OptimeLeader => Status::parse(bytes).unwrap().to_json(),
        Key::Sync => Sync::parse(bytes).unwrap().to_json(),
        Key::Failover => Failover::parse(bytes).unwrap().to_json(),
        Key::History => History::parse(bytes).unwrap().to_json(),
        Key::Failsafe => Failsafe::parse(bytes).unwrap().to_json(),
        Key::Other => panic!("a key that is not Patroni's holds {value}"),
    }
}

#[test]
fn every_value_in_etcd_is_written_back_as_patroni_wrote_it() {
    for (state, store) in STORES {
        assert!(keys(store).count() > 8, "{state}");
        for (key, value) in keys(store) {
            let written = written_back(&key, value);
            match key {
                // Patroni lists slots and members in whatever order it met them.
                Key::Status | Key::Failsafe => {
                    let same: Value = serde_json::from_str(value).unwrap();
                    let ours: Value = serde_json::from_str(&written).unwrap();
                    assert_eq!(ours, same, "{state}: {key:?}");
                    assert_eq!(written.len(), value.len(), "{state}: {key:?}");
                }
                Key::Leader
                | Key::Member(_)
                | Key::Initialize
                | Key::Config
                | Key::OptimeLeader
                | Key::Sync
                | Key::Failover
                | Key::History
                | Key::Other => assert_eq!(written, value, "{state}: {key:?}"),
            }
        }
    }
}

#[test]
fn every_status_document_is_written_back_as_patroni_wrote_it() {
    assert!(DOCUMENTS.lines().count() > 15);
    for line in DOCUMENTS.lines() {
        let document = StatusDocument::parse(line.as_bytes()).unwrap();
        assert_eq!(document.to_json(), line);
    }
}

#[test]
fn other_values_a_member_publishes_are_written_back_as_patroni_wrote_them() {
    for value in [
        r#"{"conn_url":"postgres://127.0.0.2:20432/postgres","api_url":"http://127.0.0.2:20082/patroni","state":"running","role":"primary","version":"4.1.5","tags":{"zone":"z2"},"pending_restart":true,"pending_restart_reason":{"max_connections":{"old_value":"50","new_value":"60"}},"xlog_location":67431624,"timeline":2}"#,
        r#"{"conn_url":"postgres://127.0.0.2:20432/postgres","api_url":"http://127.0.0.2:20082/patroni","state":"stopped","role":"replica","version":"4.1.5","tags":{"zone":"z2"},"pause":true}"#,
        r#"{"conn_url":"postgres://[::1]:5432/postgres","api_url":"https://[::1]:8008/patroni","state":"stopped","role":"uninitialized","version":"4.1.5","proxy_url":"postgres://pool:6432/postgres","tags":{"ort":"M\u00fcnchen"},"scheduled_restart":{"schedule":"2026-11-21T08:18:58+00:00","postmaster_start_time":"2026-11-21 08:07:08.574343+00:00"},"pause":true,"future":[1,null]}"#,
    ] {
        assert_eq!(Member::parse(value.as_bytes()).unwrap().to_json(), value);
    }
}

fn member(store: &str, name: &str) -> Member {
    let wanted = Key::Member(name.into());
    let (_, value) = keys(store).find(|(key, _)| *key == wanted).unwrap();
    Member::parse(value.as_bytes()).unwrap()
}

#[test]
fn a_standby_leader_is_understood() {
    let seen = member(STORES[1].1, "pg-2");
    assert_eq!(seen.role, Some(Role::StandbyLeader));
    assert_eq!(seen.state, Some(State::Running));
    assert_eq!(seen.timeline, Some(Timeline(9)));
    assert_eq!(seen.checkpoint_after_promote, Some(false));
    assert_eq!(
        seen.replication_state.as_deref(),
        Some("in archive recovery")
    );
    assert_eq!(
        seen.conn.unwrap().to_string(),
        "postgres://127.0.0.2:20432/postgres"
    );
    assert_eq!(
        seen.api.unwrap().to_string(),
        "http://127.0.0.2:20082/patroni"
    );
}

#[test]
fn a_replica_with_tags_is_understood() {
    let seen = member(STORES[2].1, "pg-3");
    assert!(seen.tags.noloadbalance() && seen.tags.nofailover() && !seen.tags.nosync());
    assert_eq!(seen.tags.get("zone").as_deref(), Some("z3"));
    assert_eq!(seen.xlog_location, Some(Lsn(67_436_440)));
    assert_eq!(seen.replay_lsn, seen.receive_lsn);
}

#[test]
fn the_three_configurations_are_understood() {
    let configs = STORES.map(|(_, store)| {
        let (_, value) = keys(store).find(|(key, _)| *key == Key::Config).unwrap();
        DynamicConfig::parse(value.as_bytes()).unwrap()
    });
    let modes = configs.each_ref().map(|config| config.synchronous_mode);
    let [on, off, quorum] = [
        SynchronousMode::On,
        SynchronousMode::Off,
        SynchronousMode::Quorum,
    ];
    assert_eq!(modes, [on, off, quorum]);
    let standby = configs.each_ref().map(DynamicConfig::is_standby_cluster);
    assert_eq!(standby, [false, true, false]);
    assert!(configs[0].failsafe_mode);
}

#[test]
fn a_status_document_is_understood() {
    let parse = |line: &str| StatusDocument::parse(line.as_bytes()).unwrap();
    let mut documents = DOCUMENTS.lines().map(parse);
    let standby = documents.next().unwrap();
    assert_eq!(
        (&standby.state, &standby.role),
        (&State::Running, &Role::Replica)
    );
    assert!(standby.sync_standby && !standby.quorum_standby);
    assert_eq!(standby.xlog.replayed_location, Some(Lsn(67_433_664)));
    let primary = documents.next().unwrap();
    assert_eq!(primary.role, Role::Primary);
    assert_eq!(primary.xlog.location, Some(Lsn(67_433_664)));
    assert_eq!(primary.replication.len(), 2);
    assert_eq!(primary.replication[0].sync_state.as_deref(), Some("sync"));
    assert_eq!(primary.patroni.name.as_deref(), Some("pg-2"));
    assert!(primary.database_system_identifier.is_some());
    assert!(documents.any(|document| document.failsafe_mode_is_active));
}
