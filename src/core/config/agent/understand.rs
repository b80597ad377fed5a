//! From patroni.yml and the environment to the agent as meant.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::super::layers::{Layer, attribute, merged};
use super::super::node::{Key, Node, Value};
use super::super::problem::{Problem, Problems, Severity};
use super::super::read::Section;
use super::super::router::defaults::NAMESPACE;
use super::super::router::{namespace, scope};
use super::super::value::{Wrong, text};
use super::postgresql::postgresql;
use super::values::{at_least, switch};
use super::variables::{ReadYaml, variables};
use super::{Agent, Watchdog, bootstrap, log, rest, store};
use crate::MemberName;
use crate::wire::member::Tags;

/// What Patroni has at the top level and the agent does not do.
const WITHOUT_EFFECT: [(&str, &str); 3] = [
    ("citus", "is not built: the agent runs no Citus cluster"),
    (
        "thread_pool_size",
        "has no effect: the agent has no pool of threads",
    ),
    (
        "thread_stack_size",
        "has no effect: the agent has no pool of threads",
    ),
];

/// What belongs into the dynamic configuration, where Patroni too ignores it here.
const DYNAMIC: [&str; 11] = [
    "ttl",
    "loop_wait",
    "retry_timeout",
    "maximum_lag_on_failover",
    "synchronous_mode",
    "synchronous_mode_strict",
    "failsafe_mode",
    "primary_start_timeout",
    "slots",
    "ignore_slots",
    "standby_cluster",
];

/// What people write at the top level, and where it belongs.
const MEANT: [(&str, &str); 8] = [
    ("dcs", "write it under bootstrap:"),
    ("initdb", "write it under bootstrap:"),
    ("post_init", "write it under bootstrap:"),
    ("authentication", "write it under postgresql:"),
    ("callbacks", "write it under postgresql:"),
    ("parameters", "write it under postgresql:"),
    ("pg_hba", "write it under postgresql:"),
    ("use_pg_rewind", "write it under postgresql:"),
];

/// Tags that are switches.
const SWITCHES: [&str; 5] = [
    "nofailover",
    "noloadbalance",
    "clonefrom",
    "nosync",
    "nostream",
];

/// Understands patroni.yml: its files in their order, and the environment, which wins. `problems` are those met so far,
/// when the files were parsed.
///
/// # Errors
///
/// If the agent cannot be started with it: every problem there is with it. Otherwise the problems are warnings.
pub fn understand(
    files: &[Layer],
    environment: &BTreeMap<String, String>,
    yaml: ReadYaml<'_>,
    mut problems: Problems,
) -> Result<(Agent, Problems), Problems> {
    for layer in files {
        if !matches!(layer.tree.value, Value::Map(_) | Value::Null) {
            return Err(no_mapping(problems, layer));
        }
    }
    let said = variables(environment, yaml, &mut problems);
    let file = merged(files, &said);
    if file.entries().is_empty() {
        return Err(empty(problems));
    }
    let home = environment.get("HOME").map(String::as_str);
    let agent = agent(&file, home, &mut problems);
    attribute(&mut problems, files, &said);
    match agent {
        Some(agent) => problems.or(agent),
        None => Err(problems),
    }
}

fn error(mut problems: Problems, place: Option<String>, what: &str, expected: &str) -> Problems {
    problems.push(Problem {
        severity: Severity::Error,
        place,
        line: None,
        key: String::new(),
        what: what.to_owned(),
        expected: expected.to_owned(),
    });
    problems
}

fn empty(problems: Problems) -> Problems {
    let expected = "write at least name:, scope:, etcd3:, restapi: and postgresql:";
    error(problems, None, "Config is empty.", expected)
}

fn no_mapping(problems: Problems, layer: &Layer) -> Problems {
    let what = format!(
        "invalid config file: {} stands where keys should",
        layer.tree.shown()
    );
    let expected = "write keys with values, one a line (name: pg-1)";
    error(problems, Some(layer.file.clone()), &what, expected)
}

fn agent(file: &Node, home: Option<&str>, problems: &mut Problems) -> Option<Agent> {
    let mut root = Section::root(file, problems);
    let name = member(&mut root, file);
    let scope = root.value("scope", scope);
    if scope.is_none() && !root.has("scope") {
        root.missing("scope", "write the cluster's name, or set PATRONI_SCOPE");
    }
    let namespace = root.value("namespace", namespace);
    let etcd = store::store(&mut root);
    let log = log::log(&mut root);
    let rest = rest::rest(&mut root);
    let peers = rest::peers(&mut root);
    let bootstrap = bootstrap::bootstrap(&mut root);
    let postgresql = postgresql(&mut root, home);
    let tags = tags(&mut root);
    let watchdog = watchdog(&mut root);
    without_effect(&mut root);
    root.finish_with(&MEANT);
    let postgresql = postgresql?;
    let (listen_addresses, port) = postgresql.listen;
    let connect = postgresql
        .connect
        .unwrap_or_else(|| (first_address(&listen_addresses), port));
    Some(Agent {
        name: name?,
        scope: scope?,
        namespace: namespace.unwrap_or_else(|| NAMESPACE.to_owned()),
        etcd: etcd?,
        rest: rest?,
        peers,
        bootstrap,
        config_dir: postgresql
            .config_dir
            .unwrap_or_else(|| postgresql.data_dir.clone()),
        data_dir: postgresql.data_dir,
        config_base_name: postgresql
            .config_base_name
            .unwrap_or_else(|| "postgresql".to_owned()),
        bin_dir: postgresql.bin_dir,
        bin_name: postgresql.bin_name,
        listen_addresses,
        port,
        connect,
        proxy: postgresql.proxy,
        database: postgresql.database.unwrap_or_else(|| "postgres".to_owned()),
        pgpass: postgresql.pgpass,
        superuser: postgresql.superuser,
        replication: postgresql.replication,
        rewind: postgresql.rewind,
        tags,
        watchdog,
        log,
        postgresql: postgresql.written,
    })
}

/// Where a PostgreSQL without `connect_address` is said to be: the first address it listens on, or this machine.
fn first_address(listen: &str) -> String {
    let first = listen.split(',').next().unwrap_or_default();
    if super::values::is_wildcard(first) {
        "localhost".to_owned()
    } else {
        first.to_owned()
    }
}

/// `name`, or the place it had long ago.
fn member(root: &mut Section<'_, '_>, file: &Node) -> Option<MemberName> {
    if root.has("name") {
        return root.value("name", member_name);
    }
    root.take("name");
    let old = file
        .get("postgresql")
        .and_then(|section| section.get("name"));
    match old {
        Some(node) => root.understood("postgresql.name", node, member_name),
        None => {
            root.missing("name", "write this member's name, or set PATRONI_NAME");
            None
        }
    }
}

fn member_name(node: &Node) -> Result<MemberName, Wrong> {
    let text = text(node)?;
    if text.contains('/') || text.contains(char::is_control) {
        let expected = "write a name without slashes";
        return Err(Wrong::no("member's name", node, expected));
    }
    Ok(text.into())
}

fn without_effect(root: &mut Section<'_, '_>) {
    for (key, what) in WITHOUT_EFFECT {
        if root.take(key).is_some() {
            root.warn(key, what, "leave it out");
        }
    }
    for key in DYNAMIC {
        if root.take(key).is_some() {
            let what = "has no effect here: it is the whole cluster's";
            let expected =
                "write it into bootstrap.dcs for a new cluster, or with patronictl edit-config";
            root.warn(key, what, expected);
        }
    }
}

fn tags(root: &mut Section<'_, '_>) -> Tags {
    let Some(entries) = root.names("tags") else {
        return Tags::default();
    };
    let mut tags = Map::new();
    for (Key { text: name, .. }, node) in entries {
        let path = format!("tags.{name}");
        let is_switch = SWITCHES.contains(&name.as_str());
        if is_switch && matches!(node.value, Value::Text(_)) && switch(node) == Ok(false) {
            let what = format!("{} is a text, and any text counts as true", node.shown());
            root.warn_at(node, &path, &what, "write false without quotation marks");
        }
        if name.ends_with("_priority") && node.value != Value::Null {
            let _ = root.understood(&path, node, at_least(i64::MIN));
        }
        if ["replicatefrom", "nostream"].contains(&name.as_str()) && node.value != Value::Null {
            let what = "is not built yet: the node streams from the leader";
            root.warn_at(node, &path, what, "leave it out");
        }
        tags.insert(name.clone(), node.to_json());
    }
    for (flag, priority) in [
        ("nofailover", "failover_priority"),
        ("nosync", "sync_priority"),
    ] {
        contradiction(root, &tags, flag, priority);
    }
    Tags(tags)
}

/// Patroni's own words, which people look for.
fn contradiction(root: &mut Section<'_, '_>, tags: &Map<String, Json>, flag: &str, priority: &str) {
    let (Some(set), Some(number)) = (
        tags.get(flag).and_then(Json::as_bool),
        tags.get(priority).and_then(crate::wire::number::whole),
    ) else {
        return;
    };
    if set == (number > 0) {
        let set = if set { "True" } else { "False" };
        let what = format!(
            "Conflicting configuration between {flag}: {set} and {priority}: {number}. Defaulting to \
             {flag}: {set}"
        );
        root.warn("tags", &what, "");
    }
}

fn watchdog(root: &mut Section<'_, '_>) -> Watchdog {
    let mut mode = Watchdog::default();
    let Some(mut section) = root.section("watchdog") else {
        return mode;
    };
    let written = section.value("mode", watchdog_mode);
    mode = written.unwrap_or(mode);
    match written {
        None | Some(Watchdog::Off) => {}
        Some(Watchdog::Automatic) => {
            let what = "is not built yet: no watchdog device is opened";
            section.warn("mode", what, "write mode: off to be told nothing");
        }
        Some(Watchdog::Required) => {
            let what = "is not built yet: this member never becomes the leader (nofailover)";
            section.warn(
                "mode",
                what,
                "write mode: off, or keep Patroni on this node",
            );
        }
    }
    let _ = section.value("safety_margin", at_least(-1));
    section.pass("device");
    section.pass("driver");
    section.finish();
    mode
}

fn watchdog_mode(node: &Node) -> Result<Watchdog, Wrong> {
    if switch(node) == Ok(false) {
        return Ok(Watchdog::Off);
    }
    match node.to_json().as_str().map(str::to_lowercase).as_deref() {
        Some("off" | "disable" | "disabled") => Ok(Watchdog::Off),
        Some("auto" | "automatic") => Ok(Watchdog::Automatic),
        Some("require" | "required") => Ok(Watchdog::Required),
        Some(_) | None => {
            let expected = "write off, automatic or required";
            Err(Wrong::no("mode of the watchdog", node, expected))
        }
    }
}
