//! The `PATRONI_…` variables that say what a key of patroni.yml says (Patroni 4.1, environment).
//!
//! A variable wins over the file; an empty one says nothing. Which values make sense is not known here.

use std::collections::BTreeMap;

use super::super::layers::Variables;
use super::super::node::{Node, Value};
use super::super::problem::{Problem, Problems, Severity};
use super::super::read::nearest;

/// Reads a text as YAML; `None` if it is none.
pub type ReadYaml<'y> = &'y dyn Fn(&str) -> Option<Node>;

/// How the text of a variable becomes a value.
#[derive(Clone, Copy)]
enum As {
    /// As it is.
    Text,
    /// A YAML list whose brackets may be left out.
    List,
    /// A YAML map whose braces may be left out.
    Map,
    /// A text if it is a format of Python's logging, else a YAML list.
    Format,
}

/// The variables without the part `PATRONI_`, the section and the keys they stand for, and how they are read.
const ONE_BY_ONE: &[(&str, &str, &[&str], As)] = &[
    (
        "",
        "",
        &[
            "name",
            "namespace",
            "scope",
            "thread_pool_size",
            "thread_stack_size",
        ],
        As::Text,
    ),
    (
        "LOG_",
        "log",
        &[
            "type",
            "level",
            "traceback_level",
            "dateformat",
            "dir",
            "max_queue_size",
            "file_size",
            "file_num",
            "mode",
            "deduplicate_heartbeat_logs",
        ],
        As::Text,
    ),
    ("LOG_", "log", &["format"], As::Format),
    ("LOG_", "log", &["static_fields", "loggers"], As::Map),
    (
        "RESTAPI_",
        "restapi",
        &[
            "listen",
            "connect_address",
            "certfile",
            "keyfile",
            "keyfile_password",
            "cafile",
            "ciphers",
            "verify_client",
            "server_tokens",
            "allowlist_include_members",
            "request_queue_size",
        ],
        As::Text,
    ),
    (
        "RESTAPI_",
        "restapi",
        &["http_extra_headers", "https_extra_headers"],
        As::Map,
    ),
    ("RESTAPI_", "restapi", &["allowlist"], As::List),
    (
        "RESTAPI_",
        "restapi.authentication",
        &["username", "password"],
        As::Text,
    ),
    (
        "CTL_",
        "ctl",
        &[
            "insecure",
            "cacert",
            "certfile",
            "keyfile",
            "keyfile_password",
        ],
        As::Text,
    ),
    (
        "CTL_",
        "ctl.authentication",
        &["username", "password"],
        As::Text,
    ),
    (
        "POSTGRESQL_",
        "postgresql",
        &[
            "listen",
            "connect_address",
            "proxy_address",
            "config_dir",
            "data_dir",
            "pgpass",
            "bin_dir",
        ],
        As::Text,
    ),
    (
        "POSTGRESQL_BIN_",
        "postgresql.bin_name",
        &[
            "pg_ctl",
            "initdb",
            "pg_controldata",
            "pg_basebackup",
            "postgres",
            "pg_isready",
            "pg_rewind",
        ],
        As::Text,
    ),
    (
        "SUPERUSER_",
        "postgresql.authentication.superuser",
        LOGIN,
        As::Text,
    ),
    (
        "REPLICATION_",
        "postgresql.authentication.replication",
        LOGIN,
        As::Text,
    ),
    (
        "REWIND_",
        "postgresql.authentication.rewind",
        LOGIN,
        As::Text,
    ),
    ("ETCD3_", "etcd3", ETCD, As::Text),
    ("ETCD3_", "etcd3", &["hosts"], As::List),
    ("ETCD_", "etcd", ETCD, As::Text),
    ("ETCD_", "etcd", &["hosts"], As::List),
    ("CITUS_", "citus", &["group", "database"], As::Text),
];

const LOGIN: &[&str] = &[
    "username",
    "password",
    "sslmode",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "gssencmode",
    "channel_binding",
    "sslnegotiation",
];

const ETCD: &[&str] = &[
    "host",
    "port",
    "url",
    "proxy",
    "use_proxies",
    "protocol",
    "srv",
    "srv_suffix",
    "cacert",
    "cert",
    "key",
    "username",
    "password",
];

/// Old names, used where the new one is not set.
const OLD_NAMES: [(&str, &str, As); 3] = [
    ("PATRONI_LOGLEVEL", "level", As::Text),
    ("PATRONI_LOGFORMAT", "format", As::Format),
    ("PATRONI_LOG_DATEFMT", "dateformat", As::Text),
];

/// Stores whose variables Patroni knows and the agent does not.
const ELSEWHERE: [&str; 5] = [
    "PATRONI_CONSUL_",
    "PATRONI_EXHIBITOR_",
    "PATRONI_KUBERNETES_",
    "PATRONI_RAFT_",
    "PATRONI_ZOOKEEPER_",
];

/// The variable that holds the whole configuration.
pub const WHOLE: &str = "PATRONI_CONFIGURATION";

/// What the environment says. What it says in vain is told as a warning.
pub fn variables(
    environment: &BTreeMap<String, String>,
    yaml: ReadYaml<'_>,
    problems: &mut Problems,
) -> Variables {
    let mut said = Variables::default();
    let mut known = vec![WHOLE.to_owned()];
    let given = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    for (name, key, read) in OLD_NAMES {
        known.push(name.to_owned());
        if let Some(text) = given(name) {
            said.put(&["log", key], value(text, read, yaml), name);
        }
    }
    for (prefix, section, keys, read) in ONE_BY_ONE {
        for key in *keys {
            let name = format!("PATRONI_{prefix}{}", key.to_uppercase());
            if let Some(text) = given(&name) {
                let mut path: Vec<&str> =
                    section.split('.').filter(|part| !part.is_empty()).collect();
                path.push(key);
                said.put(&path, value(text, *read, yaml), &name);
            }
            known.push(name);
        }
    }
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    for name in environment
        .keys()
        .filter(|name| name.starts_with("PATRONI_"))
    {
        if !known.contains(&name.as_str()) {
            problems.push(unknown(name, &known));
        }
    }
    said
}

fn value(text: &str, read: As, yaml: ReadYaml<'_>) -> Node {
    let wrapped = |open: &str, close: &str| {
        let text = text.trim();
        if text.starts_with(open) {
            yaml(text)
        } else {
            yaml(&format!("{open}{text}{close}"))
        }
    };
    let node = match read {
        As::Text => None,
        As::Format if text.contains("%(") => None,
        As::List | As::Format => wrapped("[", "]"),
        As::Map => wrapped("{", "}"),
    };
    // What is no YAML is left as it is: whoever reads the key says what is wrong with it.
    let mut node = node.unwrap_or_else(|| Node::nowhere(Value::Text(text.to_owned())));
    clear_lines(&mut node);
    node
}

/// A variable has no lines.
fn clear_lines(node: &mut Node) {
    (node.line, node.column) = (0, 0);
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(clear_lines),
        Value::Map(entries) => {
            for (key, node) in entries {
                key.line = 0;
                clear_lines(node);
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
    }
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let (what, expected) = if ELSEWHERE.iter().any(|store| name.starts_with(store)) {
        let what = "has no effect: the agent keeps its cluster in etcd and nowhere else";
        (what.to_owned(), "unset it".to_owned())
    } else if name == "PATRONI_RESTAPI_THREAD_POOL_SIZE" {
        let what = "has no effect: the REST API has no pool of threads";
        (what.to_owned(), "unset it".to_owned())
    } else {
        let expected = nearest(name, known)
            .map(|known| format!("did you mean {known}?"))
            .unwrap_or_default();
        (
            "is no variable of Patroni's and has no effect".to_owned(),
            expected,
        )
    };
    Problem {
        severity: Severity::Warning,
        place: Some(name.to_owned()),
        line: None,
        key: String::new(),
        what,
        expected,
    }
}
