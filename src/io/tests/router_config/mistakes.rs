//! A mistake is named with its line, its key and what to write instead.

use crate::{MINIMAL, read, said, said_of};

#[test]
fn every_mistake_is_named_with_its_line_and_what_to_write() {
    let text = "\
cluster:
  scop: pg
  etcd3:
    hosts: [10.0.0.1:2379, '10.0.0.2:x', 7]
    protocol: grpc
  members: [https://a:8008]
  probe: {interval: 0, rise: lots}
listeners:
  read:
    max_lag: 16 bananas
    hold: forever
    blance: leastconn
    proxy_protocol: [10.0.0.0/8]
  extra:
    to: primry
  write: 5000
stats: [7000]
drain: -1
threads: 0
log: {level: loud}
";
    let expected = [
        "2: cluster.scope: is missing; write what patroni.yml calls scope",
        "2: warning: cluster.scop: is no key of this section and has no effect; did you mean \"scope\"?",
        "4: cluster.etcd3.hosts[1]: \"10.0.0.2:x\" has no port from 1 to 65535; write host:port; an IPv6 address in brackets ([::1]:2379)",
        "5: cluster.etcd3.protocol: \"grpc\" is no protocol of etcd's; write \"http\" or \"https\"",
        "6: cluster.members: is not built yet; members are found in etcd: leave it out",
        "7: cluster.probe.interval: 0 is out of bounds; write 50ms to 2s",
        "7: cluster.probe.rise: \"lots\" is no such number; write a whole number from 1 to 100",
        "10: listeners.read.max_lag: \"16 bananas\" is no size; write bytes or a number with kB, MB, GB, TB (16MB)",
        "11: listeners.read.hold: \"forever\" is no duration; write seconds or a number with ms, s, min, h, d (30s, 250ms, 5min)",
        "12: warning: listeners.read.blance: is no key of this section and has no effect; did you mean \"balance\"?",
        "13: listeners.read.proxy_protocol: is not built yet; leave it out; clients are known by the address they connect from",
        "15: listeners.extra.bind: is missing; write \"*:5000\", \"10.0.0.1:5000\", \"[::1]:5000\" or the path of a unix socket",
        "15: listeners.extra.to: \"primry\" is not known here; write \"primary\", \"replicas\", \"sync\", \"any\" or \"standby-leader\" (did you mean \"primary\"?)",
        "16: listeners.write: 5000 stands where keys should; write keys with values, one a line (key: value)",
        "17: stats: a list stands where keys should; write keys with values, one a line (key: value)",
        "18: drain: -1 is no duration; write seconds or a number with ms, s, min, h, d (30s, 250ms, 5min)",
        "19: threads: 0 is no such number; write a whole number from 1 to 1024",
        "20: log.level: \"loud\" is not known here; write \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
    ];
    let said = said(text);
    let said: Vec<&str> = said.lines().collect();
    let expected = expected.map(|line| format!("router.yml:{line}"));
    for (said, expected) in said.iter().zip(&expected) {
        assert_eq!(said, expected);
    }
    assert_eq!(said.len(), expected.len());
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let cases = [
        (
            "write",
            "fallback: sync",
            "fallback: would send writers to members that are not the primary; leave it out; clients are held meanwhile",
        ),
        (
            "write",
            "on_leave: keep",
            "on_leave: \"keep\" would leave writers on a member that lost the lock; write \"kill\" or leave it out",
        ),
        (
            "read",
            "fallback: replicas",
            "fallback: is what the listener routes to anyway (replicas); write another word, or leave it out",
        ),
        (
            "read",
            "bind: []",
            "bind: is an empty list; write \"*:5000\", \"10.0.0.1:5000\", \"[::1]:5000\" or the path of a unix socket",
        ),
        (
            "read",
            "weights: {a: 0}",
            "weights.a: 0 is no such number; write a whole number from 1 to 256",
        ),
        (
            "read",
            "source: 0.0.0.0",
            "source: \"0.0.0.0\" is no address to connect from; write an address of this machine (10.0.0.1), without a port, or leave it out",
        ),
        (
            "read",
            "source: [10.0.0.1, '10.0.0.2:99']",
            "source[1]: \"10.0.0.2:99\" is no address to connect from; write an address of this machine (10.0.0.1), without a port, or leave it out",
        ),
        (
            "read",
            "source: [\"::1\", 10.0.0.1, \"0:0::1\"]",
            "source: names an address twice; name each one once",
        ),
        (
            "read",
            "keepalive: {idle: 1.5}",
            "keepalive.idle: 1.5 is no whole number of seconds; write whole seconds: the kernel counts no others",
        ),
    ];
    for (name, keys, message) in cases {
        let text = MINIMAL.replace("write: {}", &format!("{name}: {{{keys}}}"));
        let said = read(&text).unwrap_err().to_string();
        assert_eq!(said, format!("router.yml:5: listeners.{name}.{message}"));
    }
    assert_eq!(
        said_of("read", "bind: '*:7000'"),
        "router.yml:1: stats.bind: *:7000 is taken by listeners.read.bind (*:7000); write another address or port"
    );
}

#[test]
fn what_has_no_effect_is_said() {
    let cases = [
        (
            "write",
            "max_lag: 1MB",
            "max_lag: has no effect: primary is one member; leave it out",
        ),
        (
            "read",
            "queue_timeout: 1s",
            "queue_timeout: has no effect: without server_maxconn nobody queues; write server_maxconn: or leave it out",
        ),
    ];
    for (name, keys, message) in cases {
        assert_eq!(
            said_of(name, keys),
            format!("router.yml:5: warning: listeners.{name}.{message}")
        );
    }
}

#[test]
fn members_must_be_asked_often_enough_for_their_answers_to_count() {
    let said = |probe: &str| {
        let probe = format!("  probe: {{{probe}}}\n  etcd3:");
        said(&MINIMAL.replace("  etcd3:", &probe))
    };
    assert_eq!(said("interval: 2s, timeout: 1s"), "");
    let refused = said("interval: 2s, timeout: 1500ms");
    assert!(
        refused.contains("cluster.probe.timeout: is too long beside interval: 2s and 1.5s"),
        "{refused}"
    );
    assert!(refused.contains("3s together at most"), "{refused}");
}

#[test]
fn an_etcd_that_cannot_be_asked_is_refused() {
    let etcd = |keys: &str| said(&MINIMAL.replace("{hosts: 10.1.0.10}", &format!("{{{keys}}}")));
    let hosts = "write hosts: with every etcd member (host:port)";
    let cases = [
        ("hosts: []", "hosts: is empty; write every etcd member as host:port".to_owned()),
        ("hosts: ''", "hosts: is empty; write every etcd member as host:port".to_owned()),
        ("username: a", format!("hosts: is missing; {hosts}")),
        ("srv: example.org", format!("srv: is not built yet: etcd is not looked up by SRV records; {hosts}")),
        ("host: 'http://a:1'", "host: \"http://a:1\" is a URL; write host:port here, and https under protocol:".to_owned()),
        ("host: a, username: b", "username: has no password; write password: beside it".to_owned()),
        ("host: a, username: b, password: 0123", "password: is no text to YAML; put the password in quotation marks".to_owned()),
        ("host: a, key: /k", "key: has no certificate; write cert: beside it".to_owned()),
        ("host: a, cacert: /c", "cacert: has no effect: etcd is asked without TLS; write protocol: https if etcd speaks TLS".to_owned()),
        ("hosts: a, host: b", "host: has no effect: hosts is used; leave one of them out".to_owned()),
        ("hosts: [a, a]", "hosts: \"a:2379\" is named twice; name every etcd member once".to_owned()),
        ("hosts: a, srv: b", "srv: is not built yet: etcd is not looked up by SRV records; the hosts written beside it are used".to_owned()),
    ];
    for (keys, message) in cases {
        let said = etcd(keys).replace("warning: ", "");
        let first = said.lines().next().unwrap_or_default();
        assert_eq!(
            first,
            format!("router.yml:3: cluster.etcd3.{message}"),
            "{keys}"
        );
    }
}

#[test]
fn a_file_without_a_cluster_is_refused() {
    let cases = [
        (
            "",
            "router.yml: cluster: is missing; write cluster: with scope: and etcd3: under it",
        ),
        (
            "- a\n",
            "router.yml:1: a list stands where keys should; write keys with values, one a line (key: value)\nrouter.yml: cluster: is missing; write cluster: with scope: and etcd3: under it",
        ),
        (
            "cluster:\n",
            "router.yml:1: cluster: is missing; write cluster: with scope: and etcd3: under it",
        ),
        (
            "clusters: {}\n",
            "router.yml:1: clusters: names no cluster; write one key a cluster",
        ),
    ];
    for (text, message) in cases {
        let mut said: Vec<String> = said(text).lines().map(str::to_owned).collect();
        let mut message: Vec<&str> = message.lines().collect();
        said.sort();
        message.sort_unstable();
        assert_eq!(said, message, "{text:?}");
    }
    let none = said(&MINIMAL.replace("  write: {}", "  {}"));
    assert_eq!(
        none,
        "router.yml:4: listeners: names no listener; write one, or leave the key out for the usual three (write, read, sync)"
    );
}
