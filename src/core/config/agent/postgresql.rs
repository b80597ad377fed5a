//! The `postgresql` section, as far as it is this node's own for good: where PostgreSQL is, and who logs in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value as Json};

use super::super::node::{Node, Value};
use super::super::read::Section;
use super::super::value::{path, text};
use super::Credentials;
use super::shared::{check_local, finish_local};
use super::values::{address, addresses, is_wildcard, scalar, secret};

/// PostgreSQL's port.
const PORT: u16 = 5432;

/// What libpq is told beside user and password.
const OPTIONS: [&str; 10] = [
    "sslmode",
    "sslkey",
    "sslpassword",
    "sslcert",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "gssencmode",
    "channel_binding",
    "sslnegotiation",
];

/// Where logins stand, or stood long ago.
const LOGINS: [&str; 4] = ["authentication", "superuser", "replication", "pg_rewind"];

const PROGRAMS: [&str; 7] = [
    "pg_ctl",
    "initdb",
    "pg_controldata",
    "pg_basebackup",
    "postgres",
    "pg_isready",
    "pg_rewind",
];

/// What the section says of this node.
pub(super) struct Postgresql {
    pub(super) data_dir: PathBuf,
    pub(super) config_dir: Option<PathBuf>,
    pub(super) config_base_name: Option<String>,
    pub(super) bin_dir: Option<PathBuf>,
    pub(super) bin_name: BTreeMap<String, String>,
    pub(super) listen: (String, u16),
    pub(super) connect: Option<(String, u16)>,
    pub(super) proxy: Option<(String, u16)>,
    pub(super) database: Option<String>,
    pub(super) pgpass: PathBuf,
    pub(super) superuser: Credentials,
    pub(super) replication: Credentials,
    pub(super) rewind: Option<Credentials>,
    pub(super) written: Map<String, Json>,
}

/// Reads the section; `home` is the directory of the user who runs the agent.
pub(super) fn postgresql(root: &mut Section<'_, '_>, home: Option<&str>) -> Option<Postgresql> {
    let Some(node) = root.take("postgresql") else {
        root.missing(
            "postgresql",
            "write postgresql: with listen:, data_dir: and authentication:",
        );
        return None;
    };
    let mut section = root.section_at("postgresql", node)?;
    section.pass("name");
    let data_dir = section.value("data_dir", path);
    if data_dir.is_none() && !section.has("data_dir") {
        section.missing("data_dir", "write the directory of the database cluster");
    }
    let listen = section.value("listen", addresses(PORT));
    if listen.is_none() && !section.has("listen") {
        section.missing("listen", "write address:port (10.0.0.1:5432)");
    }
    let connect = section.value("connect_address", address(PORT));
    if let (Some((hosts, _)), false) = (&listen, section.has("connect_address"))
        && hosts.split(',').any(is_wildcard)
    {
        let what = "is missing, and listen: names no address where others could connect";
        section.warn(
            "connect_address",
            what,
            "write the host:port where they reach it",
        );
    }
    let pgpass = section
        .value("pgpass", path)
        .or_else(|| home.map(|home| PathBuf::from(home).join("pgpass")));
    if pgpass.is_none() && !section.has("pgpass") {
        section.missing(
            "pgpass",
            "write the path of a file for passwords; HOME is not set",
        );
    }
    let config_dir = section.value("config_dir", path);
    let config_base_name = section.value("config_base_name", text);
    let bin_dir = section.value("bin_dir", path);
    let bin_name = programs(&mut section);
    let proxy = section.value("proxy_address", address(PORT));
    let database = section.value("database", text);
    let (superuser, replication, rewind) = authentication(&mut section);
    check_local(&mut section);
    finish_local(section);
    Some(Postgresql {
        data_dir: data_dir?,
        config_dir,
        config_base_name,
        bin_dir,
        bin_name,
        listen: listen?,
        connect,
        proxy,
        database,
        pgpass: pgpass?,
        superuser: superuser?,
        replication: replication?,
        rewind,
        written: without_logins(node),
    })
}

/// The section as written. Logins are read on their own, and are to be seen nowhere else.
fn without_logins(section: &Node) -> Map<String, Json> {
    section
        .entries()
        .iter()
        .filter(|(key, _)| !LOGINS.contains(&key.text.as_str()))
        .map(|(key, node)| (key.text.clone(), node.to_json()))
        .collect()
}

/// `bin_name`: other names of the programs.
fn programs(section: &mut Section<'_, '_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let Some(mut names) = section.section("bin_name") else {
        return found;
    };
    for program in PROGRAMS {
        let name = names.value(program, text);
        found.extend(name.map(|name| (program.to_owned(), name)));
    }
    names.finish();
    found
}

type Logins = (
    Option<Credentials>,
    Option<Credentials>,
    Option<Credentials>,
);

/// `authentication`, or each of its users at the place it had long ago.
fn authentication(section: &mut Section<'_, '_>) -> Logins {
    const OLD: [&str; 3] = ["superuser", "replication", "pg_rewind"];
    let expected = "write username: and password: of it";
    let before = OLD.map(|key| {
        let node = section.take(key)?;
        section.section_at(key, node).map(credentials)
    });
    let [old_superuser, old_replication, old_rewind] = before;
    let Some(mut logins) = section.section("authentication") else {
        if old_superuser.is_none() || old_replication.is_none() {
            let expected =
                "write superuser: and replication: under it, each with username: and password:";
            section.missing("authentication", expected);
        }
        return (old_superuser, old_replication, old_rewind);
    };
    for key in ["username", "password"] {
        if logins.take(key).is_some() {
            let what = "is nobody's: the agent logs in as more than one user";
            let expected = "write it under authentication.superuser, and again under authentication.replication";
            logins.refuse(key, what, expected);
        }
    }
    let mut login = |key: &'static str, old: Option<Credentials>| {
        let node = logins.take(key);
        match node {
            Some(node) => logins.section_at(key, node).map(credentials),
            None => old,
        }
    };
    let superuser = login("superuser", old_superuser);
    let replication = login("replication", old_replication);
    let rewind = login("rewind", old_rewind);
    for (key, found) in [("superuser", &superuser), ("replication", &replication)] {
        if found.is_none() && !logins.has(key) {
            logins.missing(key, expected);
        }
    }
    if replication
        .as_ref()
        .is_some_and(|login| login.username.is_none())
    {
        logins.refuse("replication", "names no user", "write username: under it");
    }
    logins.finish();
    (superuser, replication, rewind)
}

fn credentials(mut login: Section<'_, '_>) -> Credentials {
    let mut found = Credentials {
        username: login.value("username", text),
        password: login.value("password", secret),
        options: BTreeMap::new(),
    };
    for option in OPTIONS {
        let value = if option == "sslpassword" {
            login
                .value(option, secret)
                .map(|secret| secret.reveal().to_owned())
        } else {
            login.value(option, option_text)
        };
        found
            .options
            .extend(value.map(|value| (option.to_owned(), value)));
    }
    login.finish();
    found
}

/// `sslmode: require` is a text, whatever YAML makes of `on` and `no`.
fn option_text(node: &Node) -> Result<String, super::super::value::Wrong> {
    match &node.value {
        Value::Bool(_) => text(node),
        Value::Null
        | Value::Int(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Map(_) => scalar(node),
    }
}
