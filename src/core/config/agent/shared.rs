//! The keys that patroni.yml and the dynamic configuration share, and those that only the latter has.
//!
//! One reader for both: what is wrong in a file refuses it, what is wrong in etcd counts as not written.

use serde_json::{Map, Value as Json};

use super::super::node::{Node, Value};
use super::super::read::Section;
use super::super::value::{Wrong, path, text};
use super::bootstrap::{lines, recovery};
use super::options::{Program, arguments, flag, options};
use super::parameters;
use super::values::{at_least, bytes, scalar, seconds, switch};
use super::{ReplicaMethod, Settings};
use crate::wire::config::adjusted_timeouts;
use crate::wire::number;

/// What the dynamic configuration's `postgresql` section cannot say.
pub(super) const LOCAL_ONLY: [&str; 7] = [
    "connect_address",
    "proxy_address",
    "listen",
    "config_dir",
    "data_dir",
    "pgpass",
    "authentication",
];

/// What patroni.yml says in its `postgresql` section beside those and what is read here.
pub(super) const LOCAL: [&str; 8] = [
    "name",
    "bin_dir",
    "bin_name",
    "config_base_name",
    "database",
    "superuser",
    "replication",
    "pg_rewind",
];

const EVENTS: [&str; 5] = [
    "on_start",
    "on_stop",
    "on_restart",
    "on_reload",
    "on_role_change",
];

/// What a method of making replicas has besides its further arguments.
const OF_A_METHOD: [&str; 4] = ["command", "no_params", "no_leader", "keep_data"];

/// What people write and mean something else by.
pub(super) const MEANT: [(&str, &str); 6] = [
    (
        "pre_demote",
        "write before_stop: for a command that runs before PostgreSQL is stopped, or callbacks: with \
         on_role_change: for one that runs after a demotion",
    ),
    (
        "post_promote",
        "write callbacks: with on_role_change: for a command that runs after a promotion",
    ),
    ("ttl", THE_CLUSTERS),
    ("synchronous_mode", THE_CLUSTERS),
    ("maximum_lag_on_failover", THE_CLUSTERS),
    ("failsafe_mode", THE_CLUSTERS),
];

const THE_CLUSTERS: &str =
    "it is the whole cluster's: write it into bootstrap.dcs, or with patronictl edit-config";

/// What stands beside `postgresql` in the dynamic configuration.
pub(super) fn top(root: &mut Section<'_, '_>, settings: &mut Settings) {
    check(root);
    let fields: Map<String, Json> = root
        .entries()
        .iter()
        .map(|(key, node)| (key.text.clone(), node.to_json()))
        .collect();
    if let Some(used) = adjusted_timeouts(&fields) {
        let what = format!("do not fit: {used} will be used");
        let expected =
            "ttl is 3 or more, the others 1 or more, and loop_wait + 2 x retry_timeout at most ttl";
        root.warn("ttl, loop_wait, retry_timeout", &what, expected);
    }
    let timeout = ["primary_start_timeout", "master_start_timeout"]
        .into_iter()
        .find(|key| root.has(key));
    if let Some(key) = timeout {
        root.set(key, &mut settings.primary_start_timeout, seconds(0));
    }
    root.set(
        "member_slots_ttl",
        &mut settings.member_slots_ttl,
        seconds(0),
    );
    let lines = root.value("max_timelines_history", at_least(0));
    settings.max_timelines_history = lines
        .and_then(|lines| usize::try_from(lines).ok())
        .unwrap_or(0);
    root.set("check_timeline", &mut settings.check_timeline, switch);
}

/// Keys of the dynamic configuration that are read elsewhere: here they only have to make sense.
fn check(root: &mut Section<'_, '_>) {
    for key in ["ttl", "loop_wait", "retry_timeout"] {
        let _ = root.value(key, seconds(0));
    }
    for key in ["pause", "synchronous_mode_strict", "failsafe_mode"] {
        let _ = root.value(key, switch);
    }
    let _ = root.value("synchronous_mode", synchronous_mode);
    let _ = root.value("synchronous_node_count", at_least(1));
    let _ = root.value("maximum_lag_on_failover", bytes(0));
    let _ = root.value("maximum_lag_on_syncnode", bytes(-1));
    for key in ["primary_start_timeout", "master_start_timeout"] {
        root.pass(key);
    }
    for key in ["primary_stop_timeout", "master_stop_timeout"] {
        let _ = root.value(key, seconds(0));
    }
    for key in [
        "slots",
        "permanent_slots",
        "permanent_replication_slots",
        "ignore_slots",
        "standby_cluster",
    ] {
        root.pass(key);
    }
}

fn synchronous_mode(node: &Node) -> Result<(), Wrong> {
    let quorum = Value::Text("quorum".to_owned());
    if node.value == quorum || number::switch(&node.to_json()).is_some() {
        return Ok(());
    }
    Err(Wrong::no(
        "synchronous mode",
        node,
        "write on, off or quorum",
    ))
}

/// Reports what makes no sense in a dynamic configuration that is yet to be put into etcd.
pub(super) fn check_dynamic(dcs: &mut Section<'_, '_>) {
    let mut settings = Settings::default();
    top(dcs, &mut settings);
    let Some(mut section) = dcs.section("postgresql") else {
        return;
    };
    read(&mut section, &mut settings);
    section.set("use_slots", &mut settings.use_slots, switch);
    for (key, node) in section.names("parameters").unwrap_or_default() {
        let path = format!("parameters.{}", key.text);
        if node.value != Value::Null {
            let _ = section.understood(&path, node, |node| match parameters::rule(&key.text) {
                Some(rule) => parameters::ruled(rule, node),
                None => scalar(node),
            });
        }
    }
    for key in LOCAL_ONLY {
        if section.take(key).is_some() {
            let what = "has no effect here: it is each node's own";
            section.warn(key, what, "write it into postgresql: of every patroni.yml");
        }
    }
    section.finish_with(&MEANT);
}

/// The node's own `postgresql` section: the same keys, checked. Its enforced parameters have no effect, and are
/// therefore not checked.
pub(super) fn check_local(section: &mut Section<'_, '_>) {
    read(section, &mut Settings::default());
    if section.take("use_slots").is_some() {
        let what = "has no effect here: it is the whole cluster's";
        let expected = "write it into bootstrap.dcs, or with patronictl edit-config";
        section.warn("use_slots", what, expected);
    }
    for (key, node) in section.names("parameters").unwrap_or_default() {
        if node.value != Value::Null {
            let path = format!("parameters.{}", key.text);
            let _ = section.understood(&path, node, scalar);
        }
    }
    section.pass("parameters");
}

/// Reports the keys of a `postgresql` section that nobody knows.
pub(super) fn finish_local(section: Section<'_, '_>) {
    section.finish_with(&MEANT);
}

/// What a `postgresql` section says, wherever it stands.
pub(super) fn read(section: &mut Section<'_, '_>, settings: &mut Settings) {
    settings.pg_hba = section.list("pg_hba", lines).map(|lines| lines.concat());
    settings.pg_ident = section.list("pg_ident", lines).map(|lines| lines.concat());
    settings.recovery = recovery(section);
    settings.recovery.retain(|name, _| is_operators(name));
    settings.krbsrvname = section.value("krbsrvname", text);
    settings.custom_conf = section.value("custom_conf", path);
    section.set("use_pg_rewind", &mut settings.use_pg_rewind, switch);
    section.set(
        "remove_data_directory_on_rewind_failure",
        &mut settings.wipe_on_rewind_failure,
        switch,
    );
    section.set(
        "remove_data_directory_on_diverged_timelines",
        &mut settings.wipe_on_divergence,
        switch,
    );
    section.set("pg_ctl_timeout", &mut settings.start_timeout, seconds(1));
    section.set("use_unix_socket", &mut settings.use_unix_socket, switch);
    section.set(
        "use_unix_socket_repl",
        &mut settings.use_unix_socket_repl,
        switch,
    );
    settings.pre_promote = section.value("pre_promote", text);
    settings.before_stop = section.value("before_stop", text);
    if let Some(mut callbacks) = section.section("callbacks") {
        for event in EVENTS {
            let command = callbacks.value(event, text);
            settings
                .callbacks
                .extend(command.map(|command| (event.to_owned(), command)));
        }
        callbacks.finish();
    }
    settings.basebackup = options(section, "basebackup", Program::BaseBackup);
    settings.replica_methods = replica_methods(section);
}

/// Recovery parameters that are not the agent's to set.
fn is_operators(name: &str) -> bool {
    !name.starts_with("recovery_target")
        && !["primary_conninfo", "primary_slot_name", "standby_mode"].contains(&name)
}

/// `create_replica_methods`, and the section of each.
fn replica_methods(section: &mut Section<'_, '_>) -> Vec<ReplicaMethod> {
    let new = section.list("create_replica_methods", names);
    let old = section.list("create_replica_method", names);
    let mut methods = Vec::new();
    for name in new.or(old).unwrap_or_default().concat() {
        methods.extend(replica_method(section, &name));
    }
    let entries = section.entries();
    for (key, node) in entries {
        // One that this configuration does not choose, but the other one may.
        if node.get("command").is_some() && key.text != "basebackup" {
            section.pass(&key.text);
        }
    }
    if methods.is_empty() {
        methods.push(ReplicaMethod::BaseBackup);
    }
    methods
}

fn names(node: &Node) -> Result<Vec<String>, Wrong> {
    let text = text(node)?;
    let names = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

fn replica_method(section: &mut Section<'_, '_>, name: &str) -> Option<ReplicaMethod> {
    if name == "basebackup" {
        return Some(ReplicaMethod::BaseBackup);
    }
    let written = section.entries().iter().find(|(key, _)| key.text == name);
    let Some((key, node)) = written else {
        // Patroni runs a method without a section by its name.
        return Some(ReplicaMethod::Command {
            name: name.to_owned(),
            command: name.to_owned(),
            no_params: false,
            keep_data: false,
            no_leader: false,
            arguments: Vec::new(),
        });
    };
    section.pass(&key.text);
    let mut method = section.section_at(name, node)?;
    let found = ReplicaMethod::Command {
        name: name.to_owned(),
        command: method
            .value("command", text)
            .unwrap_or_else(|| name.to_owned()),
        no_params: flag(&mut method, "no_params"),
        keep_data: flag(&mut method, "keep_data"),
        no_leader: flag(&mut method, "no_leader"),
        arguments: arguments(&mut method, &OF_A_METHOD),
    };
    method.finish();
    Some(found)
}
