//! Whatever is written, the answer is a whole agent or a refusal.

use proptest::prelude::*;
use serde_json::{Map, Value};
use trunkline_core::config::agent::{Agent, Settings};

use crate::{MINIMAL, read, read_with, with, with_postgresql};

/// Whoever gets an agent gets one that knows who and where it is.
fn whole(agent: &Agent) -> bool {
    !agent.name.as_str().is_empty()
        && !agent.scope.as_str().is_empty()
        && !agent.etcd.endpoints.is_empty()
        && agent.port > 0
        && !agent.data_dir.as_os_str().is_empty()
        && Settings::effective(agent, &Map::new()).is_ok()
}

/// Any JSON there is.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~é]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "name", "scope", "log", "restapi", "ctl", "etcd3", "etcd", "bootstrap", "postgresql", "tags", "watchdog",
            "listen", "connect_address", "authentication", "superuser", "replication", "username", "password", "dcs",
            "initdb", "method", "command", "parameters", "pg_hba", "callbacks", "basebackup", "recovery_conf",
            "create_replica_methods", "wal_level", "max_connections", "wal_keep_segments", "ttl", "hosts",
        ]).prop_map(str::to_owned),
        1 => "[a-z._]{0,6}",
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_understood_as_a_whole_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_good_file_with_damage_is_understood_as_a_whole_or_refused(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[ -~\n]{0,6}"), 1..4)
    ) {
        let mut text: Vec<char> = include_str!("../../../../config/agent.yml").chars().collect();
        for (at, length, instead) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, instead.chars());
        }
        let text: String = text.into_iter().collect();
        if let Ok((agent, _)) = read(&text) {
            prop_assert!(whole(&agent), "{agent:?}");
        }
    }

    #[test]
    fn any_tree_is_understood_as_a_whole_or_refused(tree in json()) {
        // JSON is YAML.
        if let Ok((agent, _)) = read(&tree.to_string()) {
            prop_assert!(whole(&agent), "{agent:?}");
        }
    }

    #[test]
    fn any_section_is_understood_as_a_whole_or_refused(key in key(), tree in json()) {
        for text in [with(&format!("{key}: {tree}\n")), with_postgresql(&format!("{key}: {tree}"))] {
            if let Ok((agent, _)) = read(&text) {
                prop_assert!(whole(&agent), "{agent:?}");
            }
        }
    }

    #[test]
    fn any_dynamic_configuration_gives_settings_or_leaves_those_there_are(tree in json()) {
        let (agent, _) = read(MINIMAL).unwrap();
        for raw in [Some(&tree), tree.get("postgresql")].into_iter().flatten() {
            let mut dynamic = raw.as_object().cloned().unwrap_or_default();
            dynamic.insert("postgresql".to_owned(), tree.clone());
            if let Ok((settings, _)) = Settings::effective(&agent, &dynamic) {
                prop_assert_eq!(&settings.parameters["port"], "5432");
                prop_assert!(!settings.replica_methods.is_empty());
            }
        }
    }

    #[test]
    fn any_variable_is_understood_as_a_whole_or_refused(
        name in prop::sample::select(vec![
            "PATRONI_NAME", "PATRONI_SCOPE", "PATRONI_RESTAPI_ALLOWLIST", "PATRONI_RESTAPI_HTTP_EXTRA_HEADERS",
            "PATRONI_LOG_FORMAT", "PATRONI_ETCD3_HOSTS", "PATRONI_ETCD3_PORT", "PATRONI_POSTGRESQL_LISTEN", "PATRONI_X",
        ]),
        value in "[ -~é\n]{0,12}",
    ) {
        if let Ok((agent, _)) = read_with(MINIMAL, &[(name, &value)]) {
            prop_assert!(whole(&agent), "{agent:?}");
        }
    }
}
