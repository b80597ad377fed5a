//! What is in force: the dynamic configuration with this node's own laid over it (contract 3.1).
//!
//! What is wrong in the file was refused when it was read; what is
//! wrong in etcd is told as a warning, and counts as not written.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::super::node::{Node, Value};
use super::super::problem::{Problem, Problems, Severity};
use super::super::read::Section;
use super::parameters::{self, ENFORCED, Rule, WAL_KEEP_SEGMENTS};
use super::shared::{LOCAL, LOCAL_ONLY, MEANT, read, top};
use super::values::{scalar, switch};
use super::{Agent, ReplicaMethod, Settings};

impl Default for Settings {
    fn default() -> Self {
        Self {
            parameters: BTreeMap::new(),
            pg_hba: None,
            pg_ident: None,
            recovery: BTreeMap::new(),
            krbsrvname: None,
            custom_conf: None,
            use_slots: true,
            use_pg_rewind: false,
            wipe_on_rewind_failure: false,
            wipe_on_divergence: false,
            start_timeout: Duration::from_secs(60),
            use_unix_socket: false,
            use_unix_socket_repl: false,
            basebackup: Vec::new(),
            replica_methods: vec![ReplicaMethod::BaseBackup],
            callbacks: BTreeMap::new(),
            pre_promote: None,
            before_stop: None,
            primary_start_timeout: Duration::from_secs(300),
            member_slots_ttl: Duration::from_secs(1800),
            max_timelines_history: 0,
            check_timeline: false,
        }
    }
}

impl Settings {
    /// What follows for `agent` from the dynamic configuration as it stands in etcd. The problems are warnings: what is
    /// wrong counts as not written.
    ///
    /// # Errors
    ///
    /// If `postgresql` or its `parameters` are no maps: what was in force until then is to stay.
    pub fn effective(
        agent: &Agent,
        dynamic: &Map<String, Json>,
    ) -> Result<(Self, Problems), Problems> {
        let mut problems = Problems::of("dynamic configuration");
        let merged = Node::from(&Json::Object(merge(agent, dynamic, &mut problems)?));
        let mut root = Section::root(&merged, &mut problems);
        let mut settings = Self::default();
        top(&mut root, &mut settings);
        if let Some(mut section) = root.section("postgresql") {
            read(&mut section, &mut settings);
            for key in LOCAL_ONLY.into_iter().chain(LOCAL) {
                section.pass(key);
            }
            section.set("use_slots", &mut settings.use_slots, switch);
            settings.parameters = in_force(agent, dynamic, &mut section);
            section.finish_with(&MEANT);
        }
        root.finish();
        problems.relocate(|problem| {
            // What stands in etcd stands in no line.
            (problem.severity, problem.line) = (Severity::Warning, None);
        });
        Ok((settings, problems))
    }
}

/// The dynamic configuration with the node's own `postgresql` section laid over its own, `parameters` aside.
fn merge(
    agent: &Agent,
    dynamic: &Map<String, Json>,
    problems: &mut Problems,
) -> Result<Map<String, Json>, Problems> {
    let mut merged = dynamic.clone();
    let mut postgresql = map(dynamic.get("postgresql"), "postgresql", problems);
    let parameters = map(
        postgresql.remove("parameters").as_ref(),
        "postgresql.parameters",
        problems,
    );
    drop(parameters);
    if problems.has_errors() {
        return Err(std::mem::take(problems));
    }
    for (key, value) in &agent.postgresql {
        if !["parameters", "use_slots"].contains(&key.as_str()) {
            postgresql.insert(key.clone(), value.clone());
        }
    }
    merged.insert("postgresql".to_owned(), Json::Object(postgresql));
    Ok(merged)
}

/// A map, or nothing; anything else is an error.
fn map(value: Option<&Json>, key: &str, problems: &mut Problems) -> Map<String, Json> {
    match value {
        Some(Json::Object(fields)) => return fields.clone(),
        None | Some(Json::Null) => {}
        Some(other @ (Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_))) => {
            problems.push(Problem {
                severity: Severity::Error,
                place: None,
                line: None,
                key: key.to_owned(),
                what: format!("{} stands where keys should", Node::from(other).shown()),
                expected: "what was in force stays; mend it with patronictl edit-config".to_owned(),
            });
        }
    }
    Map::new()
}

/// Every parameter: the enforced ones from the dynamic configuration alone, of all others the node's own win.
fn in_force(
    agent: &Agent,
    dynamic: &Map<String, Json>,
    section: &mut Section<'_, '_>,
) -> BTreeMap<String, String> {
    let mut found = enforced_defaults(agent);
    let shared = parameters_of(dynamic.get("postgresql").and_then(Json::as_object));
    for (name, value) in shared.into_iter().flatten() {
        let node = Node::from(value);
        let path = format!("parameters.{name}");
        let rule = parameters::rule(name);
        let read = |node: &Node| match rule {
            Some(rule) => parameters::ruled(rule, node),
            None => scalar(node),
        };
        if node.value == Value::Null {
            continue;
        }
        let Some(value) = section.understood(&path, &node, read) else {
            continue;
        };
        if !name.eq_ignore_ascii_case(WAL_KEEP_SEGMENTS) {
            put(&mut found, name, value);
        } else if !shared.is_some_and(|all| all.contains_key("wal_keep_size")) {
            let size = parameters::size_of_segments(&value);
            if let Some(size) = size {
                put(&mut found, "wal_keep_size", size);
            }
        }
    }
    for (name, value) in parameters_of(Some(&agent.postgresql)).into_iter().flatten() {
        let Ok(value) = scalar(&Node::from(value)) else {
            continue;
        };
        match parameters::rule(name) {
            None => put(&mut found, name, value),
            Some(rule) => ignored(section, rule, name, &value, &found),
        }
    }
    found
}

/// A value of this node's own that another one stands in for.
fn ignored(
    section: &mut Section<'_, '_>,
    rule: Rule,
    name: &str,
    value: &str,
    found: &BTreeMap<String, String>,
) {
    let used = found.get(&name.to_lowercase());
    let same = used.is_some_and(|used| {
        used == value
            || parameters::ruled(rule, &Node::from(&Json::from(value))).as_ref() == Ok(used)
    });
    if same {
        return;
    }
    let used = used.map_or_else(String::new, |used| format!(": it is {used}"));
    let what = format!("{value} has no effect in patroni.yml{used}");
    let expected = match rule {
        Rule::Fixed => "leave it out: it follows from listen: and scope:",
        Rule::On | Rule::WalLevel | Rule::Least(_) | Rule::Switch | Rule::Megabytes(_) => {
            "every member needs the same: write it with patronictl edit-config"
        }
    };
    section.warn(&format!("parameters.{name}"), &what, expected);
}

fn enforced_defaults(agent: &Agent) -> BTreeMap<String, String> {
    let value = |name: &str, default: &str| match name {
        "listen_addresses" => agent.listen_addresses.clone(),
        "port" => agent.port.to_string(),
        "cluster_name" => agent.scope.to_string(),
        _ => default.to_owned(),
    };
    ENFORCED
        .iter()
        .map(|(name, default, _)| ((*name).to_owned(), value(name, default)))
        .collect()
}

fn parameters_of(postgresql: Option<&Map<String, Json>>) -> Option<&Map<String, Json>> {
    postgresql?.get("parameters")?.as_object()
}

/// Puts a value in the place of one whose name differs at most in case.
fn put(found: &mut BTreeMap<String, String>, name: &str, value: String) {
    found.retain(|known, _| !known.eq_ignore_ascii_case(name));
    let enforced = parameters::rule(name).is_some();
    found.insert(
        if enforced {
            name.to_lowercase()
        } else {
            name.to_owned()
        },
        value,
    );
}
