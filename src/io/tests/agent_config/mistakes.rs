//! What is said of mistakes: the key, its line, and what to write.

use crate::{MINIMAL, said, with, with_postgresql};

/// Each file beside what is said of it.
fn are_said(cases: &[(String, &str)]) {
    for (text, expected) in cases {
        assert_eq!(said(text), format!("patroni.yml:{expected}"), "{text}");
    }
}

#[test]
fn a_mistake_in_bootstrap_is_named_with_what_to_write() {
    are_said(&[
        (
            with("bootstrap: {dcs: {ttl: abc}}\n"),
            "10: bootstrap.dcs.ttl: \"abc\" is no such time; write seconds, 0 or more (30, 5min)",
        ),
        (
            with("bootstrap: {dcs: {synchronus_mode: on}}\n"),
            "10: warning: bootstrap.dcs.synchronus_mode: is no key of this section and has no effect; did you mean \"synchronous_mode\"?",
        ),
        (
            with("bootstrap: {dcs: {postgresql: {parameters: {max_connections: 5}}}}\n"),
            "10: bootstrap.dcs.postgresql.parameters.max_connections: 5 is too little or no number; write 25 or more",
        ),
        (
            with("bootstrap: {dcs: {postgresql: {parameters: {wal_level: minimal}}}}\n"),
            "10: bootstrap.dcs.postgresql.parameters.wal_level: \"minimal\" is no level for replication; write replica or logical",
        ),
        (
            with("bootstrap: {method: magic}\n"),
            "10: bootstrap.method: names \"magic\", and there is no such section; write bootstrap.magic with command:, or method: initdb",
        ),
        (
            with("bootstrap: {method: m, m: {x: y}}\n"),
            "10: bootstrap.m.command: is missing; write the command that makes the data directory",
        ),
        (
            with("bootstrap: {initdb: [pwfile: /x]}\n"),
            "10: bootstrap.initdb[0]: pwfile is the agent's to choose when it runs initdb; leave it out",
        ),
        (
            with("bootstrap: {initdb: [--data-checksums]}\n"),
            "10: bootstrap.initdb[0]: \"--data-checksums\" begins with a dash; write the long option without its dashes",
        ),
        (
            with("bootstrap: {initdb: [{a: 1, b: 2}]}\n"),
            "10: bootstrap.initdb[0]: a section with keys of its own is neither a flag nor one key: value; write - flag, or - option: value",
        ),
    ]);
}

#[test]
fn a_mistake_in_the_postgresql_section_is_named_with_what_to_write() {
    are_said(&[
        (
            with_postgresql("use_slots: true"),
            "10: warning: postgresql.use_slots: has no effect here: it is the whole cluster's; write it into bootstrap.dcs, or with patronictl edit-config",
        ),
        (
            with_postgresql("paramaters: {a: 1}"),
            "10: warning: postgresql.paramaters: is no key of this section and has no effect; did you mean \"parameters\"?",
        ),
        (
            with_postgresql("callbacks: {on_promote: x}"),
            "10: warning: postgresql.callbacks.on_promote: is no key of this section and has no effect",
        ),
        (
            with_postgresql("use_pg_rewind: maybe"),
            "10: postgresql.use_pg_rewind: \"maybe\" is no yes or no; write true or false",
        ),
        (
            with_postgresql("pg_hba: [{host: all}]"),
            "10: postgresql.pg_hba[0]: a section with keys of its own is no line of a file; write one line an entry (- host all all 10.0.0.0/8 scram-sha-256)",
        ),
        (
            with_postgresql("basebackup: [format: tar]"),
            "10: postgresql.basebackup[0]: format is the agent's to choose when it runs pg_basebackup; leave it out",
        ),
        (
            with_postgresql("basebackup: {compress: gzip}"),
            "10: postgresql.basebackup.compress: a copy into a directory is compressed by the server or not at all; write compress: server-gzip, server-lz4 or server-zstd (PostgreSQL 15 or later)",
        ),
    ]);
}

#[test]
fn a_mistake_in_who_and_where_is_named_with_what_to_write() {
    are_said(&[
        (
            MINIMAL.replace("10.0.0.2:8008", "10.0.0.2:x"),
            "4: restapi.listen: \"10.0.0.2:x\" has no port from 1 to 65535; write host:port (10.0.0.1:5432, [::1]:5432)",
        ),
        (
            MINIMAL.replace("10.0.0.2:8008", "0.0.0.0:8008"),
            "4: warning: restapi.connect_address: is missing, and listen: names no address that other members could ask; write the host:port where others reach it",
        ),
        (
            MINIMAL.replace(
                "'10.0.0.2:8008'",
                "'10.0.0.2:8008', certfile: /c, keyfile: /k",
            ),
            "4: restapi.certfile: is not built yet: the REST API speaks no TLS; leave it out where plain HTTP will do, or keep Patroni on this node",
        ),
        (
            MINIMAL.replace(
                "'10.0.0.2:8008'",
                "'10.0.0.2:8008', authentication: {username: u}",
            ),
            "4: restapi.authentication.password: is missing; write both, or neither: username: alone protects nothing",
        ),
        (
            MINIMAL.replace("name: pg-1", "name: pg/1"),
            "2: name: \"pg/1\" is no member's name; write a name without slashes",
        ),
        (
            MINIMAL.replace("password: b", "password: on"),
            "9: postgresql.authentication.replication.password: is no text to YAML; put the password in quotation marks",
        ),
    ]);
}

#[test]
fn a_mistake_in_tags_log_and_watchdog_is_named_with_what_to_write() {
    are_said(&[
        (
            with("tags: 5\n"),
            "10: tags: 5 stands where keys should; write keys with values, one a line (key: value)",
        ),
        (
            with("nam: x\n"),
            "10: warning: nam: is no key of this section and has no effect; did you mean \"name\"?",
        ),
        (
            with("ttl: 30\n"),
            "10: warning: ttl: has no effect here: it is the whole cluster's; write it into bootstrap.dcs for a new cluster, or with patronictl edit-config",
        ),
        (
            with("citus: {group: 0, database: x}\n"),
            "10: warning: citus: is not built: the agent runs no Citus cluster; leave it out",
        ),
        (
            with("watchdog: {mode: sometimes}\n"),
            "10: watchdog.mode: \"sometimes\" is no mode of the watchdog; write off, automatic or required",
        ),
        (
            with("watchdog: {mode: required}\n"),
            "10: warning: watchdog.mode: is not built yet: this member never becomes the leader (nofailover); write mode: off, or keep Patroni on this node",
        ),
        (
            with("log: {dir: /var/log}\n"),
            "10: warning: log.dir: is not built: the log goes to standard error, where the service manager keeps it; leave it out",
        ),
        (
            with("log: {level: LOUD}\n"),
            "10: log.level: \"LOUD\" is no level; write DEBUG, INFO, WARNING, ERROR or CRITICAL",
        ),
        (
            with("tags: {nofailover: 'false'}\n"),
            "10: warning: tags.nofailover: \"false\" is a text, and any text counts as true; write false without quotation marks",
        ),
        (
            with("tags: {nofailover: true, failover_priority: 1}\n"),
            "10: warning: tags: Conflicting configuration between nofailover: True and failover_priority: 1. Defaulting to nofailover: True",
        ),
        (
            with("tags: {replicatefrom: pg-2}\n"),
            "10: warning: tags.replicatefrom: is not built yet: the node streams from the leader; leave it out",
        ),
    ]);
}

#[test]
fn timeouts_that_do_not_fit_are_told_with_those_that_are_used() {
    assert_eq!(
        said(&with(
            "bootstrap:\n  dcs: {ttl: 20, loop_wait: 10, retry_timeout: 8}\n"
        )),
        "patroni.yml:11: warning: bootstrap.dcs.ttl, loop_wait, retry_timeout: do not fit: loop_wait 4 will be used; ttl \
         is 3 or more, the others 1 or more, and loop_wait + 2 x retry_timeout at most ttl"
    );
}

#[test]
fn everything_that_is_missing_is_said_at_once() {
    assert_eq!(
        said("scope: a\n").lines().collect::<Vec<_>>(),
        [
            "patroni.yml: name: is missing; write this member's name, or set PATRONI_NAME",
            "patroni.yml: etcd3: is missing; write etcd3: with hosts: and every etcd member (host:port)",
            "patroni.yml: restapi: is missing; write restapi: with listen: (10.0.0.1:8008)",
            "patroni.yml: postgresql: is missing; write postgresql: with listen:, data_dir: and authentication:",
        ]
    );
}

#[test]
fn another_store_than_etcds_version_3_is_refused_even_beside_it() {
    let v2 = "means etcd's v2 API, which Patroni too keeps apart from v3: whoever looks into the other one finds no \
              cluster; the agent speaks only v3";
    let cases = [
        (
            MINIMAL.replace("etcd3:", "etcd:"),
            format!("3: etcd: {v2}; write etcd3: in its place, with the same keys, once the cluster itself was moved to it"),
        ),
        (
            with("etcd: {host: a}\n"),
            format!("10: etcd: {v2}; leave etcd: out (Patroni takes it before etcd3:)"),
        ),
        (
            with("consul: {host: a}\n"),
            "10: consul: is where Patroni would keep this cluster, and the agent speaks only to etcd; write etcd3: with hosts: in its place".to_owned(),
        ),
        (
            MINIMAL.replace("etcd3: {hosts: 10.0.0.1}", "kubernetes: {namespace: a}"),
            "3: kubernetes: is where Patroni would keep this cluster, and the agent speaks only to etcd; write etcd3: with hosts: in its place".to_owned(),
        ),
        (
            with("raft: {self_addr: a}\n"),
            "10: warning: raft: has no effect: etcd3 is used; leave it out".to_owned(),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(said(&text), format!("patroni.yml:{expected}"), "{text}");
    }
}
