//! What is in force: the dynamic configuration with the node's own laid over it.

use std::time::Duration;

use serde_json::{Map, Value, json};
use trunkline_core::config::agent::{ReplicaMethod, Settings};

use crate::{MINIMAL, good, with_postgresql};

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn effective(file: &str, dynamic: &Value) -> (Settings, String) {
    match Settings::effective(&good(file), &map(dynamic)) {
        Ok((settings, problems)) => {
            assert!(!problems.has_errors(), "{problems}");
            (settings, problems.to_string())
        }
        Err(problems) => panic!("{problems}"),
    }
}

/// The same where nothing is to be complained of.
fn clean(file: &str, dynamic: &Value) -> Settings {
    let (settings, said) = effective(file, dynamic);
    assert_eq!(said, "");
    settings
}

#[test]
fn without_a_dynamic_configuration_everything_has_its_default() {
    let settings = clean(MINIMAL, &json!({}));
    assert_eq!(settings.primary_start_timeout, Duration::from_secs(300));
    assert_eq!(settings.member_slots_ttl, Duration::from_secs(1800));
    assert_eq!(settings.start_timeout, Duration::from_secs(60));
    assert_eq!(settings.replica_methods, [ReplicaMethod::BaseBackup]);
    assert!(settings.use_slots && !settings.use_pg_rewind);
    let parameters: Vec<_> = settings
        .parameters
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        parameters,
        [
            "cluster_name=demo",
            "hot_standby=on",
            "listen_addresses=10.0.0.2",
            "max_connections=100",
            "max_locks_per_transaction=64",
            "max_prepared_transactions=0",
            "max_replication_slots=10",
            "max_wal_senders=10",
            "max_worker_processes=8",
            "port=5432",
            "track_commit_timestamp=off",
            "wal_keep_size=128MB",
            "wal_level=replica",
            "wal_log_hints=on",
        ]
    );
}

#[test]
fn the_nodes_own_parameters_win_but_for_those_that_all_members_share() {
    let file = with_postgresql(
        "parameters: {shared_buffers: 1GB, work_mem: null, max_connections: 500, jit: off, Port: 7, timezone: UTC}",
    );
    let dynamic = json!({"postgresql": {"parameters": {
        "shared_buffers": "16MB", "work_mem": "4MB", "max_connections": 200, "random_page_cost": 1.1, "jit": true,
        "TimeZone": "Asia/Seoul",
    }}});
    let (settings, said) = effective(&file, &dynamic);
    for (name, value) in [
        ("shared_buffers", "1GB"),
        ("work_mem", "4MB"),
        ("max_connections", "200"),
        ("random_page_cost", "1.1"),
        ("jit", "off"),
        ("port", "5432"),
        ("timezone", "UTC"),
    ] {
        assert_eq!(settings.parameters[name], value, "{name}");
    }
    assert!(
        !settings.parameters.contains_key("TimeZone") && !settings.parameters.contains_key("Port")
    );
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "dynamic configuration: warning: postgresql.parameters.max_connections: 500 has no effect in patroni.yml: \
             it is 200; every member needs the same: write it with patronictl edit-config",
            "dynamic configuration: warning: postgresql.parameters.Port: 7 has no effect in patroni.yml: it is 5432; \
             leave it out: it follows from listen: and scope:",
        ]
    );
}

#[test]
fn a_shared_parameter_that_makes_no_sense_has_its_default() {
    for (name, value, default) in [
        ("max_connections", json!(10), "100"),
        ("max_connections", json!("many"), "100"),
        ("max_wal_senders", json!(2), "10"),
        ("max_locks_per_transaction", json!(31), "64"),
        ("max_replication_slots", json!(3), "10"),
        ("max_worker_processes", json!(1), "8"),
        ("max_prepared_transactions", json!(-1), "0"),
        ("wal_level", json!("minimal"), "replica"),
        ("hot_standby", json!("off"), "on"),
        ("track_commit_timestamp", json!("perhaps"), "off"),
        ("wal_log_hints", json!([]), "on"),
        ("wal_keep_size", json!("15MB"), "128MB"),
        ("cluster_name", json!("other"), "demo"),
        ("port", json!(1), "5432"),
    ] {
        let dynamic = json!({"postgresql": {"parameters": {name: value}}});
        let (settings, said) = effective(MINIMAL, &dynamic);
        assert_eq!(settings.parameters[name], default, "{name}");
        let begin = format!("dynamic configuration: warning: postgresql.parameters.{name}: ");
        assert!(
            said.starts_with(&begin) && said.lines().count() == 1,
            "{said}"
        );
    }
    let least = json!({"postgresql": {"parameters": {
        "max_connections": "25", "wal_level": "logical", "hot_standby": true, "wal_log_hints": false,
        "max_prepared_transactions": 100,
    }}});
    let parameters = clean(MINIMAL, &least).parameters;
    assert_eq!(
        [
            "max_connections",
            "wal_level",
            "wal_log_hints",
            "max_prepared_transactions"
        ]
        .map(|name| parameters[name].as_str()),
        ["25", "logical", "off", "100"]
    );
}

#[test]
fn wal_to_keep_may_be_given_in_segments() {
    let kept = |parameters: Value| {
        let dynamic = json!({"postgresql": {"parameters": parameters}});
        let parameters = clean(MINIMAL, &dynamic).parameters;
        assert!(!parameters.contains_key("wal_keep_segments"));
        parameters["wal_keep_size"].clone()
    };
    assert_eq!(kept(json!({"wal_keep_segments": 100})), "1600MB");
    assert_eq!(
        kept(json!({"wal_keep_size": "1GB", "wal_keep_segments": 100})),
        "1GB"
    );
    assert_eq!(
        kept(json!({"wal_keep_segments": 100, "wal_keep_size": 64})),
        "64"
    );
}

#[test]
fn other_keys_of_the_node_replace_those_of_the_cluster_whole() {
    let file = with_postgresql(
        "pg_hba: [local all all trust]\n  callbacks: {on_start: mine}\n  use_pg_rewind: off",
    );
    let dynamic = json!({"postgresql": {
        "pg_hba": ["host all all all md5", "x"], "pg_ident": ["m a b"], "callbacks": {"on_stop": "theirs"},
        "use_pg_rewind": true, "use_slots": false, "pg_ctl_timeout": "2min",
        "data_dir": "/elsewhere", "authentication": 5, "listen": "bad",
    }});
    let settings = clean(&file, &dynamic);
    assert_eq!(settings.pg_hba.unwrap(), ["local all all trust"]);
    assert_eq!(settings.pg_ident.unwrap(), ["m a b"]);
    assert_eq!(settings.callbacks.len(), 1);
    assert_eq!(settings.callbacks["on_start"], "mine");
    assert!(!settings.use_pg_rewind && !settings.use_slots);
    assert_eq!(settings.start_timeout, Duration::from_secs(120));
}

#[test]
fn slots_are_the_clusters_to_use_or_not() {
    let agent = crate::read(&with_postgresql("use_slots: false")).unwrap().0;
    let (settings, _) = Settings::effective(&agent, &Map::new()).unwrap();
    assert!(settings.use_slots);
}

#[test]
fn recovery_keeps_only_what_is_the_operators_to_say() {
    let settings = clean(
        MINIMAL,
        &json!({"postgresql": {"recovery_conf": {
            "restore_command": "get %f %p", "recovery_target_timeline": "latest", "primary_conninfo": "x",
            "primary_slot_name": "y", "standby_mode": "on", "recovery_min_apply_delay": 5, "archive_cleanup_command": null,
        }}}),
    );
    let kept: Vec<_> = settings.recovery.into_iter().collect();
    assert_eq!(
        kept,
        [
            ("recovery_min_apply_delay".to_owned(), "5".to_owned()),
            ("restore_command".to_owned(), "get %f %p".to_owned()),
        ]
    );
}

#[test]
fn replicas_are_made_by_the_methods_named_in_their_order() {
    let settings = clean(
        &with_postgresql(
            "wal_g: {command: 'wal-g fetch', no_leader: 1, keep_data: true, threshold: 10}",
        ),
        &json!({"postgresql": {
            "create_replica_methods": ["wal_g", "basebackup", "/bin/other"],
            "basebackup": [{"max-rate": "100M"}, "verbose"],
        }}),
    );
    assert_eq!(settings.basebackup, ["--max-rate=100M", "--verbose"]);
    let method = |name: &str, command: &str, more: bool, arguments: &[(&str, &str)]| {
        ReplicaMethod::Command {
            name: name.to_owned(),
            command: command.to_owned(),
            no_params: false,
            keep_data: more,
            no_leader: more,
            arguments: arguments
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    };
    assert_eq!(
        settings.replica_methods,
        [
            method("wal_g", "wal-g fetch", true, &[("threshold", "10")]),
            ReplicaMethod::BaseBackup,
            method("/bin/other", "/bin/other", false, &[]),
        ]
    );
}

#[test]
fn old_names_count_where_the_new_ones_are_missing() {
    let seconds = |dynamic: Value| clean(MINIMAL, &dynamic).primary_start_timeout.as_secs();
    assert_eq!(seconds(json!({"master_start_timeout": 5})), 5);
    assert_eq!(
        seconds(json!({"master_start_timeout": 5, "primary_start_timeout": "0"})),
        0
    );
    let old = json!({"postgresql": {"create_replica_method": "a, basebackup"}});
    assert_eq!(clean(MINIMAL, &old).replica_methods.len(), 2);
}

#[test]
fn what_makes_no_sense_in_etcd_is_a_warning_and_counts_as_not_written() {
    let (settings, said) = effective(
        MINIMAL,
        &json!({"ttl": 30, "primary_start_timeout": "soon", "max_timelines_history": -1, "chek_timeline": true,
                "postgresql": {"use_pg_rewind": "maybe", "basebackup": ["format=tar", "verbose"]}}),
    );
    assert_eq!(settings.primary_start_timeout, Duration::from_secs(300));
    assert_eq!(settings.basebackup, ["--verbose"]);
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "dynamic configuration: warning: primary_start_timeout: \"soon\" is no such time; write seconds, 0 or more (30, 5min)",
            "dynamic configuration: warning: max_timelines_history: -1 is no such number; write a whole number, 0 or more",
            "dynamic configuration: warning: postgresql.use_pg_rewind: \"maybe\" is no yes or no; write true or false",
            "dynamic configuration: warning: postgresql.basebackup[0]: format is the agent's to choose when it runs pg_basebackup; leave it out",
            "dynamic configuration: warning: chek_timeline: is no key of this section and has no effect; did you mean \"check_timeline\"?",
        ]
    );
}

#[test]
fn what_is_no_map_leaves_the_settings_there_are() {
    for dynamic in [
        json!({"postgresql": []}),
        json!({"postgresql": "x"}),
        json!({"postgresql": {"parameters": ["a"]}}),
    ] {
        let refused = Settings::effective(&good(MINIMAL), &map(&dynamic)).unwrap_err();
        assert!(
            refused.has_errors() && refused.to_string().contains("stands where keys should"),
            "{refused}"
        );
    }
    clean(MINIMAL, &json!({"postgresql": null}));
    clean(MINIMAL, &json!({"postgresql": {"parameters": null}}));
}
