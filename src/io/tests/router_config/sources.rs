//! A router from a patroni.yml or from flags, and what no source may give away.

use std::collections::BTreeMap;

use trunkline_core::Scope;
use trunkline_core::config::Problems;
use trunkline_core::config::router::{Cluster, Router, describe, from_flags, from_patroni};
use trunkline_io::yaml;

use crate::{MINIMAL, plain, said};

const PATRONI: &str = "
scope: pg_cluster
namespace: /db/
name: pg-1
etcd3:
  hosts: 10.0.0.1:2379,10.0.0.2:2379
  protocol: https
  username: patroni
  password: hunter2
  cacert: /etc/etcd/ca.crt
restapi:
  listen: 0.0.0.0:8008
  certfile: /etc/patroni/rest.crt
  keyfile: /etc/patroni/rest.key
  cafile: /etc/patroni/ca.crt
ctl:
  insecure: on
postgresql: {listen: '*:5432', authentication: {superuser: {password: hunter2}}}
";

pub(crate) fn patroni(
    text: &str,
    variables: &[(&str, &str)],
) -> Result<(Router, Problems), Problems> {
    let pairs = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let (node, problems) = yaml::parse("patroni.yml", text)?;
    from_patroni(&node, &pairs.collect::<BTreeMap<_, _>>(), problems)
}

#[test]
fn a_patroni_yml_is_enough() {
    let (router, problems) = patroni(PATRONI, &[]).unwrap();
    assert!(problems.is_empty(), "{problems}");
    let cluster = &router.clusters[0];
    assert_eq!(
        (cluster.scope.as_str(), cluster.namespace.as_str()),
        ("pg_cluster", "/db")
    );
    assert_eq!(
        cluster.etcd.endpoints[1].to_string(),
        "https://10.0.0.2:2379"
    );
    assert_eq!(cluster.restapi.cacert, Some("/etc/patroni/ca.crt".into()));
    assert_eq!(cluster.restapi.key, Some("/etc/patroni/rest.key".into()));
    assert!(cluster.restapi.insecure && !cluster.etcd.version2_section);
    let ports: Vec<String> = cluster
        .listeners
        .iter()
        .map(|one| format!("{} {}", one.to, one.bind[0]))
        .collect();
    assert_eq!(ports, ["primary *:5000", "replicas *:5001", "sync *:5002"]);
}

#[test]
fn variables_name_the_scope_as_for_patroni() {
    let variables = [
        ("PATRONI_SCOPE", "other"),
        ("PATRONI_NAMESPACE", "x/y"),
        ("PATRONI_ETCD3_PASSWORD", "hunter2"),
    ];
    let (router, problems) = patroni(PATRONI, &variables).unwrap();
    let cluster = &router.clusters[0];
    assert_eq!(
        (cluster.scope.as_str(), cluster.namespace.as_str()),
        ("other", "/x/y")
    );
    assert_eq!(
        problems.to_string(),
        "patroni.yml: warning: PATRONI_ETCD3_PASSWORD: is set, and would count for Patroni, but not \
         here; write it into the file"
    );
}

#[test]
fn a_patroni_yml_of_another_store_says_so() {
    for store in ["consul", "zookeeper", "kubernetes"] {
        let text = format!("scope: a\n{store}:\n  host: b\n");
        assert_eq!(
            patroni(&text, &[]).unwrap_err().to_string(),
            format!(
                "patroni.yml:2: {store}: is where this cluster keeps its state, and the router speaks \
                 only to etcd; a cluster that is not in etcd cannot be routed yet"
            )
        );
    }
    assert_eq!(
        patroni("name: a\n", &[]).unwrap_err().to_string(),
        "patroni.yml: etcd3: is missing; write etcd3: with hosts:, as Patroni has it\n\
         patroni.yml: scope: is missing; write the cluster's name, or set PATRONI_SCOPE"
            .lines()
            .rev()
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[test]
fn flags_are_enough() {
    let flags = |all: &[&str]| {
        all.iter()
            .map(|flag| (*flag).to_owned())
            .collect::<Vec<_>>()
    };
    let (router, problems) = from_flags(
        &flags(&["10.0.0.1:2379,10.0.0.2", "10.0.0.3"]),
        "pg",
        Some("db"),
    )
    .unwrap();
    assert!(problems.is_empty(), "{problems}");
    let mut cluster = Cluster::new(
        Scope::from("pg"),
        plain(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
    );
    cluster.namespace = "/db".to_owned();
    assert_eq!(router, Router::new(vec![cluster]));
    let (router, _) = from_flags(&flags(&["https://a:1/"]), "pg", None).unwrap();
    assert_eq!(
        router.clusters[0].etcd.endpoints[0].to_string(),
        "https://a:1"
    );
    let cases = [
        (
            vec![],
            "pg",
            "--etcd: is missing; name every etcd member: --etcd host:port,host:port",
        ),
        (
            vec!["a:x"],
            "pg",
            "--etcd: \"a:x\" has no port from 1 to 65535; write host:port; an IPv6 address in brackets ([::1]:2379)",
        ),
        (vec!["a"], "", "--scope: is empty; write a text"),
        (
            vec!["a,https://b"],
            "pg",
            "--etcd: some etcd members are asked with TLS, others without; write https:// before every one of them, or before none",
        ),
    ];
    for (etcd, scope, message) in cases {
        let said = from_flags(&flags(&etcd), scope, None).unwrap_err();
        assert_eq!(said.to_string(), format!("command line: {message}"));
    }
}

#[test]
fn a_password_is_shown_nowhere() {
    let (router, problems) = patroni(PATRONI, &[]).unwrap();
    let (node, _) = yaml::parse("patroni.yml", PATRONI).unwrap();
    let url = MINIMAL.replace("hosts: 10.1.0.10", "url: 'ftp://me:hunter2@a:b'");
    let host = MINIMAL.replace("hosts: 10.1.0.10", "host: 'me:hunter2@a'");
    let shown = format!(
        "{router:?}{}{problems}{node:?}{}{}",
        describe(&router),
        said(&url),
        said(&host)
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(describe(&router).contains("etcd user             patroni, with a password"));
}
