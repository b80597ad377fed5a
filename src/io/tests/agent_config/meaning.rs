//! What the keys of patroni.yml mean.

use std::path::Path;

use serde_json::json;
use trunkline_core::config::agent::{ServerTokens, Watchdog};
use trunkline_core::config::router::LogLevel;

use crate::{MINIMAL, good, read, with, with_postgresql};

#[test]
fn a_minimal_file_has_defaults_for_all_else() {
    let agent = good(MINIMAL);
    assert_eq!(
        (agent.name.as_str(), agent.scope.as_str()),
        ("pg-1", "demo")
    );
    assert_eq!(agent.namespace, "/service");
    assert_eq!(agent.rest.connect, ("10.0.0.2".to_owned(), 8008));
    assert_eq!(agent.rest.server_tokens, ServerTokens::Original);
    assert_eq!(
        (agent.listen_addresses.as_str(), agent.port),
        ("10.0.0.2", 5432)
    );
    assert_eq!(agent.connect, ("10.0.0.2".to_owned(), 5432));
    assert_eq!(agent.config_dir, Path::new("/data"));
    assert_eq!(agent.config_base_name, "postgresql");
    assert_eq!(agent.database, "postgres");
    assert_eq!(agent.bootstrap, None);
    assert_eq!(agent.rewind, None);
    assert_eq!(agent.watchdog, Watchdog::Automatic);
    assert_eq!(agent.log.level, LogLevel::Info);
}

#[test]
fn every_place_may_be_another_one() {
    let text = MINIMAL
        .replace("listen: 10.0.0.2:5432", "listen: '127.0.0.1,::1:6000'\n  connect_address: '[fd00::2]:6001'\n  \
                  proxy_address: pool:6432\n  config_dir: /etc/pg\n  config_base_name: pg\n  bin_dir: /bin\n  \
                  bin_name: {postgres: pg15}\n  database: admin")
        .replace("restapi: {listen: '10.0.0.2:8008'}", "restapi: {listen: '*:8008', connect_address: 'db2:80'}")
        .replace("scope: demo", "scope: demo\nnamespace: /a//b/");
    let agent = good(&text);
    assert_eq!(
        (agent.listen_addresses.as_str(), agent.port),
        ("127.0.0.1,::1", 6000)
    );
    assert_eq!(agent.connect, ("fd00::2".to_owned(), 6001));
    assert_eq!(agent.proxy, Some(("pool".to_owned(), 6432)));
    assert_eq!(agent.config_dir, Path::new("/etc/pg"));
    assert_eq!(agent.bin_name["postgres"], "pg15");
    assert_eq!(agent.rest.listen, ("*".to_owned(), 8008));
    assert_eq!(agent.rest.connect, ("db2".to_owned(), 80));
    assert_eq!(agent.namespace, "/a/b");
}

#[test]
fn logins_keep_their_options_and_numbers_may_be_passwords() {
    let text = MINIMAL.replace(
        "{username: rep, password: b}",
        "{username: rep, password: 12345, sslmode: verify-full, sslcert: /c}, rewind: {username: rew, password: ''}",
    );
    let agent = good(&text);
    assert_eq!(
        agent.replication.password.as_ref().map(|p| p.reveal()),
        Some("12345")
    );
    assert_eq!(agent.replication.options["sslmode"], "verify-full");
    let rewind = agent.rewind.unwrap();
    assert_eq!(rewind.username.as_deref(), Some("rew"));
    assert!(!format!("{:?}", agent.superuser).contains("\"a\""));
}

#[test]
fn old_places_of_logins_and_of_the_name_are_still_read() {
    let text = MINIMAL.replace("name: pg-1\n", "").replace(
        "authentication: {superuser: {username: postgres, password: a}, replication: {username: rep, password: b}}",
        "name: pg-old\n  superuser: {username: su, password: a}\n  replication: {username: rep, password: b}\n  \
         pg_rewind: {username: rew, password: c}",
    );
    let agent = good(&text);
    assert_eq!(agent.name.as_str(), "pg-old");
    assert_eq!(agent.superuser.username.as_deref(), Some("su"));
    assert_eq!(agent.rewind.unwrap().username.as_deref(), Some("rew"));
}

#[test]
fn the_passwords_file_is_in_the_home_directory_unless_it_is_said_where() {
    let text = MINIMAL.replace("  pgpass: /pgpass\n", "");
    let (agent, _) = crate::read_with(&text, &[("HOME", "/var/lib/postgresql")]).unwrap();
    assert_eq!(agent.pgpass, Path::new("/var/lib/postgresql/pgpass"));
    assert_eq!(
        read(&text).unwrap_err().to_string(),
        "patroni.yml:6: postgresql.pgpass: is missing; write the path of a file for passwords; HOME is not set"
    );
}

#[test]
fn a_new_cluster_is_made_as_written() {
    let agent = good(&with(
        "bootstrap:\n  dcs: {ttl: 5, loop_wait: 1, retry_timeout: 1, postgresql: {use_slots: on}}\n  \
         initdb: [encoding: UTF8, data-checksums, {locale: \"'C'\"}, {no-instructions: true}, {waldir: null}]\n  \
         pg_hba: ['host all all all trust', \"a\\nb\"]\n  post_init: /bin/setup x\n",
    ));
    let bootstrap = agent.bootstrap.unwrap();
    assert_eq!(
        serde_json::Value::Object(bootstrap.dcs),
        json!({"ttl": 5, "loop_wait": 1, "retry_timeout": 1, "postgresql": {"use_slots": true}})
    );
    assert_eq!(
        bootstrap.initdb,
        [
            "--encoding=UTF8",
            "--data-checksums",
            "--locale=C",
            "--no-instructions"
        ]
    );
    assert_eq!(bootstrap.pg_hba, ["host all all all trust", "a", "b"]);
    assert_eq!(bootstrap.post_init.as_deref(), Some("/bin/setup x"));
    assert_eq!(bootstrap.method, None);
}

#[test]
fn a_cluster_may_be_made_by_a_command() {
    let agent = good(&with(
        "bootstrap:\n  method: wal_g\n  wal_g:\n    command: /bin/restore\n    backup: LATEST\n    jobs: 4\n    \
         keep_existing_recovery_conf: true\n    recovery_conf: {restore_command: get, recovery_target_action: promote}\n  \
         other: {command: /bin/other}\n  initdb: {encoding: UTF8, data-checksums: on, waldir: off}\n",
    ));
    let bootstrap = agent.bootstrap.unwrap();
    assert_eq!(bootstrap.initdb, ["--encoding=UTF8", "--data-checksums"]);
    let method = bootstrap.method.unwrap();
    assert_eq!(
        (method.name.as_str(), method.command.as_str()),
        ("wal_g", "/bin/restore")
    );
    assert!(method.keep_recovery && !method.no_params);
    assert_eq!(
        method.arguments,
        [
            ("backup".to_owned(), "LATEST".to_owned()),
            ("jobs".to_owned(), "4".to_owned())
        ]
    );
    assert_eq!(method.recovery["recovery_target_action"], "promote");
}

#[test]
fn the_rest_api_is_as_written() {
    let text = MINIMAL.replace(
        "restapi: {listen: '10.0.0.2:8008'}",
        "restapi:\n  listen: 10.0.0.2:8008\n  authentication: {username: u, password: p}\n  \
         allowlist: [10.0.0.0/8, db]\n  allowlist_include_members: 'yes'\n  server_tokens: Minimal\n  \
         http_extra_headers: {X-Frame-Options: DENY}\n  request_queue_size: 7\n  honest_primary: on\n  cafile: /ca",
    );
    let agent = good(&text);
    let rest = agent.rest;
    let (user, password) = rest.authentication.unwrap();
    assert_eq!((user.as_str(), password.reveal()), ("u", "p"));
    assert_eq!(rest.allowlist.unwrap(), ["10.0.0.0/8", "db"]);
    assert!(rest.allowlist_include_members && rest.honest_primary);
    assert_eq!(rest.server_tokens, ServerTokens::Minimal);
    assert_eq!(
        rest.extra_headers,
        [("X-Frame-Options".to_owned(), "DENY".to_owned())]
    );
    assert_eq!(rest.backlog, 7);
    assert_eq!(agent.peers.cacert.as_deref(), Some(Path::new("/ca")));
}

#[test]
fn tags_are_kept_as_written() {
    let agent = good(&with(
        "tags: {nofailover: false, failover_priority: '2', zone: a, nosync: yes}\n",
    ));
    assert_eq!(agent.tags.failover_priority(), 2);
    assert!(agent.tags.nosync() && !agent.tags.nofailover());
    let tags: Vec<_> = agent.tags.0.keys().map(String::as_str).collect();
    assert_eq!(tags, ["nofailover", "failover_priority", "zone", "nosync"]);
}

#[test]
fn the_log_has_patronis_levels() {
    for (level, meant) in [
        ("DEBUG", LogLevel::Debug),
        ("info", LogLevel::Info),
        ("WARN", LogLevel::Warn),
        ("WARNING", LogLevel::Warn),
        ("CRITICAL", LogLevel::Error),
    ] {
        let agent = good(&with(&format!(
            "log: {{level: {level}, type: json, deduplicate_heartbeat_logs: 1}}\n"
        )));
        assert_eq!(
            (agent.log.level, agent.log.json, agent.log.deduplicate),
            (meant, true, true)
        );
    }
}

#[test]
fn a_watchdog_has_three_modes_in_many_spellings() {
    for off in ["off", "'off'", "disabled", "false"] {
        let agent = good(&with(&format!(
            "watchdog: {{mode: {off}, device: /dev/w, safety_margin: 5}}\n"
        )));
        assert_eq!(agent.watchdog, Watchdog::Off, "{off}");
    }
    let (agent, _) = read(&with("watchdog: {mode: required}\n")).unwrap();
    assert_eq!(agent.watchdog, Watchdog::Required);
    let (agent, _) = read(&with_postgresql("use_unix_socket: true")).unwrap();
    assert_eq!(agent.watchdog, Watchdog::Automatic);
}

#[test]
fn the_shipped_file_is_understood_without_a_word() {
    let agent = good(include_str!("../../../../config/agent.yml"));
    assert_eq!(agent.scope.as_str(), "demo");
    assert!(agent.bootstrap.is_some());
}
