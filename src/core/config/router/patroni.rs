//! A router without a file of its own: from a node's patroni.yml, or from flags.

use std::collections::BTreeMap;

use super::understand::{namespace, scope};
use super::{Cluster, Etcd, RestApi, Router, etcd};
use crate::Scope;
use crate::config::node::{Node, Value};
use crate::config::problem::{Problem, Problems, Severity};
use crate::config::read::Section;
use crate::config::value::{boolean, path};

/// A router for the cluster of a patroni.yml, with the usual listeners. `variables` are the environment, in
/// which Patroni looks first; of it, only the scope and the namespace are taken.
///
/// # Errors
///
/// If the file does not say which cluster of which etcd: every problem there is with it.
pub fn from_patroni(
    file: &Node,
    variables: &BTreeMap<String, String>,
    mut problems: Problems,
) -> Result<(Router, Problems), Problems> {
    let mut root = Section::root(file, &mut problems);
    let given = |name: &str| variables.get(name).map(|value| in_no_file(value));
    let scope = match given("PATRONI_SCOPE") {
        Some(node) => root.understood("PATRONI_SCOPE", &node, scope),
        None => root.value("scope", scope),
    };
    if given("PATRONI_SCOPE").is_none() && !root.has("scope") {
        root.missing("scope", "write the cluster's name, or set PATRONI_SCOPE");
    }
    let namespace = match given("PATRONI_NAMESPACE") {
        Some(node) => root.understood("PATRONI_NAMESPACE", &node, namespace),
        None => root.value("namespace", namespace),
    };
    unread_variables(&mut root, variables);
    let etcd = etcd_of(&mut root);
    let restapi = restapi(&mut root);

    let clusters = scope.zip(etcd).map(|(scope, etcd)| {
        let mut cluster = Cluster::new(scope, etcd);
        cluster.restapi = restapi;
        if let Some(namespace) = namespace {
            cluster.namespace = namespace;
        }
        cluster
    });
    problems.or(Router::new(clusters.into_iter().collect()))
}

/// A router for the etcd and the scope given as flags, with the usual listeners.
///
/// # Errors
///
/// If a flag cannot be read: every problem with them, each under the flag's name.
pub fn from_flags(
    etcd: &[String],
    scope_name: &str,
    namespace_path: Option<&str>,
) -> Result<(Router, Problems), Problems> {
    let mut problems = Problems::of("command line");
    let mut error = |key: &str, what: String, expected: String| {
        problems.push(Problem {
            severity: Severity::Error,
            place: None,
            line: None,
            key: key.to_owned(),
            what,
            expected,
        });
    };
    let mut endpoints = Vec::new();
    let places = etcd.iter().flat_map(|flag| flag.split(',')).map(str::trim);
    for place in places.filter(|place| !place.is_empty()) {
        match etcd::endpoint_or_url(place) {
            Ok(endpoint) if endpoints.contains(&endpoint) => {}
            Ok(endpoint) => endpoints.push(endpoint),
            Err(wrong) => error("--etcd", wrong.what, wrong.expected),
        }
    }
    if etcd.iter().all(|flag| flag.trim().is_empty()) {
        let expected = "name every etcd member: --etcd host:port,host:port";
        error("--etcd", "is missing".to_owned(), expected.to_owned());
    }
    if endpoints.iter().any(|one| one.tls != endpoints[0].tls) {
        let expected = "write https:// before every one of them, or before none";
        let what = "some etcd members are asked with TLS, others without".to_owned();
        error("--etcd", what, expected.to_owned());
    }
    let mut cluster = Cluster::new(Scope::from(""), Etcd::at(endpoints));
    match scope(&in_no_file(scope_name)) {
        Ok(scope) => cluster = Cluster::new(scope, cluster.etcd),
        Err(wrong) => error("--scope", wrong.what, wrong.expected),
    }
    match namespace_path.map(|path| namespace(&in_no_file(path))) {
        Some(Ok(path)) => cluster.namespace = path,
        Some(Err(wrong)) => error("--namespace", wrong.what, wrong.expected),
        None => {}
    }
    problems.or(Router::new(vec![cluster]))
}

/// A text that stands in no file, to be read like one that does.
fn in_no_file(text: &str) -> Node {
    Node {
        line: 0,
        column: 0,
        value: Value::Text(text.to_owned()),
    }
}

/// Patroni lets variables override the etcd section; whoever relies on that must hear that we do not.
fn unread_variables(root: &mut Section<'_, '_>, variables: &BTreeMap<String, String>) {
    let unread = variables
        .keys()
        .filter(|name| name.starts_with("PATRONI_ETCD") || name.starts_with("PATRONI_CTL_"));
    for name in unread {
        let what = "is set, and would count for Patroni, but not here";
        root.warn(name, what, "write it into the file");
    }
}

/// The etcd section, unless the cluster lives somewhere else.
fn etcd_of(root: &mut Section<'_, '_>) -> Option<Etcd> {
    // Patroni takes the first of its stores in the order of the alphabet.
    const BEHIND_ETCD: [&str; 4] = ["exhibitor", "kubernetes", "raft", "zookeeper"];
    let here = root.has("etcd3") || root.has("etcd");
    let elsewhere = BEHIND_ETCD
        .into_iter()
        .find(|store| !here && root.has(store));
    let store = if root.has("consul") {
        Some("consul")
    } else {
        elsewhere
    };
    let Some(store) = store else {
        return etcd::section(root, "write etcd3: with hosts:, as Patroni has it");
    };
    let what = "is where this cluster keeps its state, and the router speaks only to etcd";
    root.refuse(
        store,
        what,
        "a cluster that is not in etcd cannot be routed yet",
    );
    None
}

/// The files patronictl asks members with: `ctl` first, then the node's own of `restapi`.
fn restapi(root: &mut Section<'_, '_>) -> RestApi {
    let mut found = RestApi::default();
    if let Some(mut ctl) = root.section("ctl") {
        found.cacert = ctl.value("cacert", path);
        found.cert = ctl.value("certfile", path);
        found.key = ctl.value("keyfile", path);
        ctl.set("insecure", &mut found.insecure, boolean);
        if found.cert.is_some() {
            ctl.not_built("keyfile_password", "name a key without a password");
        }
    }
    if let Some(mut own) = root.section("restapi") {
        found.cacert = found.cacert.or_else(|| own.value("cafile", path));
        if found.cert.is_none() {
            found.cert = own.value("certfile", path);
            found.key = own.value("keyfile", path);
            if found.cert.is_some() && own.take("keyfile_password").is_some() {
                (found.cert, found.key) = (None, None);
                let what = "keys with a password are not built yet: members are asked without \
                            a certificate";
                own.warn(
                    "keyfile_password",
                    what,
                    "name another key under ctl: keyfile:",
                );
            }
        }
    }
    found
}
