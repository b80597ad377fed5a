//! The `bootstrap` section: what a new cluster is made of.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::super::node::{Node, Value};
use super::super::read::Section;
use super::super::value::{Wrong, text};
use super::options::{Program, arguments, flag, options};
use super::values::scalar;
use super::{Bootstrap, CustomBootstrap, shared};

/// What the method of a custom bootstrap has besides its further arguments.
const OF_A_METHOD: [&str; 6] = [
    "command",
    "no_params",
    "keep_existing_recovery_conf",
    "recovery_conf",
    "scope",
    "datadir",
];

pub(super) fn bootstrap(root: &mut Section<'_, '_>) -> Option<Bootstrap> {
    let mut section = root.section("bootstrap")?;
    let mut bootstrap = Bootstrap {
        dcs: dynamic(&mut section),
        initdb: options(&mut section, "initdb", Program::Initdb),
        pg_hba: section.list("pg_hba", lines).unwrap_or_default().concat(),
        ..Bootstrap::default()
    };
    let post_init = section.value("post_init", text);
    let post_bootstrap = section.value("post_bootstrap", text);
    if post_init.is_some() && post_bootstrap.is_some() {
        let what = "has no effect: post_bootstrap is run";
        section.warn("post_init", what, "leave one of them out");
    }
    bootstrap.post_init = post_bootstrap.or(post_init);
    if section.take("users").is_some() {
        let what =
            "is no longer done, by Patroni either: no users are created from the configuration";
        let expected = "create them in a script under post_init: (it gets a connection string)";
        section.refuse("users", what, expected);
    }
    bootstrap.method = method(&mut section);
    let entries = section.entries();
    for (key, node) in entries {
        // Methods that are not the chosen one.
        if node.get("command").is_some() {
            section.pass(&key.text);
        }
    }
    section.finish();
    Some(bootstrap)
}

/// `bootstrap.dcs`, as it will stand in etcd.
fn dynamic(section: &mut Section<'_, '_>) -> Map<String, Json> {
    let Some(node) = section.take("dcs") else {
        return Map::new();
    };
    let Some(mut dcs) = section.section_at("dcs", node) else {
        return Map::new();
    };
    shared::check_dynamic(&mut dcs);
    dcs.finish();
    match node.to_json() {
        Json::Object(fields) => fields,
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            Map::new()
        }
    }
}

/// The way chosen by `method`, unless that is initdb.
fn method(section: &mut Section<'_, '_>) -> Option<CustomBootstrap> {
    let name = section.value("method", text)?;
    if name == "initdb" {
        return None;
    }
    let found = section.entries().iter().find(|(key, _)| key.text == name);
    let Some((key, node)) = found else {
        let expected = format!("write bootstrap.{name} with command:, or method: initdb");
        let what = format!("names {name:?}, and there is no such section");
        section.refuse("method", &what, &expected);
        return None;
    };
    section.pass(&key.text);
    let mut method = section.section_at(&name, node)?;
    let command = method.value("command", text);
    if command.is_none() && !method.has("command") {
        method.missing("command", "write the command that makes the data directory");
    }
    let recovery = recovery(&mut method);
    let custom = CustomBootstrap {
        name: name.clone(),
        command: command.unwrap_or_default(),
        no_params: flag(&mut method, "no_params"),
        keep_recovery: flag(&mut method, "keep_existing_recovery_conf"),
        recovery,
        arguments: arguments(&mut method, &OF_A_METHOD),
    };
    method.finish();
    Some(custom)
}

/// `recovery_conf`: parameters of recovery, as text.
pub(super) fn recovery(section: &mut Section<'_, '_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (key, node) in section.names("recovery_conf").unwrap_or_default() {
        if node.value != Value::Null {
            let path = format!("recovery_conf.{}", key.text);
            let value = section.understood(&path, node, scalar);
            found.extend(value.map(|value| (key.text.to_lowercase(), value)));
        }
    }
    found
}

/// Lines of a file: a text is as many as it has.
pub(super) fn lines(node: &Node) -> Result<Vec<String>, Wrong> {
    match &node.value {
        Value::Text(text) => Ok(text.lines().map(str::to_owned).collect()),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::List(_)
        | Value::Map(_) => Err(Wrong::no(
            "line of a file",
            node,
            "write one line an entry (- host all all 10.0.0.0/8 scram-sha-256)",
        )),
    }
}
