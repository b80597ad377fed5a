//! From the file as written to the router as meant.

use std::time::Duration;

use super::defaults::WELL_KNOWN;
use super::{Bind, Cluster, Listener, Log, Probe, RestApi, Router, Stats, check, etcd, listener};
use crate::Scope;
use crate::config::node::{Key, Node, Value};
use crate::config::problem::Problems;
use crate::config::read::Section;
use crate::config::value::{Wrong, boolean, duration, duration_within, path, text, whole, word};
use crate::proof::P2_CARRIES;

/// More threads than the largest machines have processors are a slip of the pen.
const MOST_THREADS: u32 = 1024;

/// Understands a router's file. `problems` are those met so far, when the file was parsed.
///
/// # Errors
///
/// If the file cannot be used: every problem there is with it. Otherwise the problems are warnings.
pub fn understand(file: &Node, mut problems: Problems) -> Result<(Router, Problems), Problems> {
    let mut root = Section::root(file, &mut problems);
    let mut router = Router::new(clusters(&mut root));
    router.stats.bind = stats(&mut root);
    router.state = root.value("state", path);
    root.set("drain", &mut router.drain, duration);
    router.threads = root.value("threads", whole(1..=MOST_THREADS));
    if let Some(mut section) = root.section("log") {
        router.log = log(&mut section);
        section.finish();
    }
    root.finish();
    check::binds(file, &router, &mut problems);
    problems.or(router)
}

/// The clusters: one under `cluster` with the listeners beside it, or several by name, each with its own.
fn clusters(root: &mut Section<'_, '_>) -> Vec<Cluster> {
    let beside = root.names("listeners");
    let several = root.names("clusters");
    let single = root.take("cluster");
    match (single, several) {
        (Some(node), None) => {
            let cluster = root
                .section_at("cluster", node)
                .and_then(|section| cluster(section, None));
            let listeners = beside.map(|written| listeners(root, "listeners", written));
            cluster
                .map(|cluster| with(cluster, listeners))
                .into_iter()
                .collect()
        }
        (None, Some(named)) => {
            if beside.is_some() {
                let expected = "write the listeners of each cluster under clusters.NAME.listeners";
                root.refuse("listeners", "belong to no cluster here", expected);
            }
            if named.is_empty() {
                root.refuse("clusters", "names no cluster", "write one key a cluster");
            }
            named
                .iter()
                .filter_map(|(name, node)| one_of_several(root, name, node))
                .collect()
        }
        (Some(_), Some(_)) => {
            let expected = "write one cluster under cluster, or several by name under clusters";
            root.refuse("clusters", "stands beside cluster", expected);
            Vec::new()
        }
        (None, None) => {
            // What is there but cannot be read was reported already.
            if !root.has("clusters") {
                let expected = "write cluster: with scope: and etcd3: under it";
                root.missing("cluster", expected);
            }
            Vec::new()
        }
    }
}

fn one_of_several<'n>(
    root: &mut Section<'n, '_>,
    name: &'n Key,
    node: &'n Node,
) -> Option<Cluster> {
    let path = format!("clusters.{}", name.text);
    let mut section = root.section_at(&path, node)?;
    let own = section.names("listeners");
    let cluster = cluster(section, Some(&name.text));
    let listeners = own.map(|written| listeners(root, &format!("{path}.listeners"), written));
    cluster.map(|cluster| with(cluster, listeners))
}

/// The cluster with the listeners that were written for it; with its default ones if none were.
fn with(mut cluster: Cluster, listeners: Option<Vec<Listener>>) -> Cluster {
    if let Some(listeners) = listeners {
        cluster.listeners = listeners;
    }
    cluster
}

/// A cluster without its listeners. The scope and etcd have no default: without them there is no cluster.
fn cluster(mut section: Section<'_, '_>, name: Option<&str>) -> Option<Cluster> {
    let scope = section.value("scope", scope);
    if !section.has("scope") {
        section.missing("scope", "write what patroni.yml calls scope");
    }
    let namespace = section.value("namespace", namespace);
    let etcd = etcd::section(&mut section, "write etcd3: with hosts: as in patroni.yml");
    let instead = "members are found in etcd: leave it out";
    section.not_built("members", instead);

    // A stand-in where something is missing: the rest of the section is to be read all the same.
    let complete = scope.is_some() && etcd.is_some();
    let mut cluster = Cluster::new(
        scope.unwrap_or_else(|| Scope::from("")),
        etcd.unwrap_or_default(),
    );
    if let Some(name) = name {
        name.clone_into(&mut cluster.name);
    }
    if let Some(namespace) = namespace {
        cluster.namespace = namespace;
    }
    if let Some(section) = section.section("restapi") {
        cluster.restapi = restapi(section);
    }
    if let Some(section) = section.section("probe") {
        cluster.probe = probe(section);
    }
    section.set("when_unproven", &mut cluster.when_unproven, word);
    section.set("use_proxy_url", &mut cluster.use_proxy_url, boolean);
    section.set("lag_grace", &mut cluster.lag_grace, duration);
    section.finish();
    complete.then_some(cluster)
}

/// A scope: Patroni puts it into a key of etcd as it is.
pub(in crate::config) fn scope(node: &Node) -> Result<Scope, Wrong> {
    let text = text(node)?;
    if text.contains('/') {
        let expected = "write the name alone; the path before it is the namespace";
        return Err(Wrong::no("scope", node, expected));
    }
    Ok(text.into())
}

/// A namespace, slashes normalised as Patroni does it.
pub(in crate::config) fn namespace(node: &Node) -> Result<String, Wrong> {
    let text = text(node)?;
    let parts = text.split('/').filter(|part| !part.is_empty());
    Ok(parts.map(|part| format!("/{part}")).collect())
}

fn restapi(mut section: Section<'_, '_>) -> RestApi {
    let mut restapi = RestApi {
        cacert: section.value("cacert", path),
        cert: section.value("cert", path),
        key: section.value("key", path),
        insecure: false,
    };
    section.set("insecure", &mut restapi.insecure, boolean);
    if restapi.key.is_some() && restapi.cert.is_none() {
        section.refuse("key", "has no certificate", "write cert: beside it");
    }
    if restapi.insecure && restapi.cacert.is_some() {
        let what = "has no effect: insecure takes any certificate";
        section.warn("cacert", what, "leave one of them out");
    }
    section.finish();
    restapi
}

fn probe(mut section: Section<'_, '_>) -> Probe {
    const SHORTEST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);
    let mut probe = Probe::default();
    let within = || duration_within(SHORTEST..=LONGEST);
    section.set("interval", &mut probe.interval, within());
    section.set("timeout", &mut probe.timeout, within());
    section.set("rise", &mut probe.rise, whole(1..=100));
    section.set("fall", &mut probe.fall, whole(1..=100));
    // The next answer has to come before the last one has stopped to count.
    if probe.interval + probe.timeout > P2_CARRIES {
        let what = format!(
            "is too long beside interval: {:?} and {:?} are more than the {P2_CARRIES:?} an answer counts",
            probe.interval, probe.timeout
        );
        let expected = format!("write two durations that are {P2_CARRIES:?} together at most");
        section.refuse("timeout", &what, &expected);
    }
    section.finish();
    probe
}

fn listeners<'n>(
    root: &mut Section<'n, '_>,
    path: &str,
    written: &'n [(Key, Node)],
) -> Vec<Listener> {
    if written.is_empty() {
        let names = WELL_KNOWN.map(|(name, ..)| name).join(", ");
        let expected = format!("write one, or leave the key out for the usual three ({names})");
        root.refuse(path, "names no listener", &expected);
    }
    written
        .iter()
        .filter_map(|(name, node)| {
            let section = root.section_at(&format!("{path}.{}", name.text), node)?;
            listener::understand(&name.text, section)
        })
        .collect()
}

/// Where the stats page is served; `stats: off` for nowhere.
fn stats(root: &mut Section<'_, '_>) -> Vec<Bind> {
    let default = Stats::default().bind;
    let Some(node) = root.take("stats") else {
        return default;
    };
    if node.value == Value::Bool(false) {
        return Vec::new();
    }
    let Some(mut section) = root.section_at("stats", node) else {
        return default;
    };
    let bind = section.list("bind", listener::bind).unwrap_or(default);
    section.finish();
    bind
}

fn log(section: &mut Section<'_, '_>) -> Log {
    let mut log = Log::default();
    section.set("level", &mut log.level, word);
    section.set("format", &mut log.format, word);
    log
}
