//! Options of the programs that are run: what may be written for initdb and pg_basebackup, and for commands of the
//! operator's own.

use super::super::node::{Key, Node, Value, quoted};
use super::super::read::Section;
use super::super::value::Wrong;
use super::values::{scalar, switch};

/// What initdb is not told by the configuration.
const NOT_FOR_INITDB: &[&str] = &[
    "pgdata",
    "nosync",
    "no-sync",
    "pwfile",
    "sync-only",
    "version",
];

/// What pg_basebackup is not told by the configuration.
const NOT_FOR_BASEBACKUP: &[&str] = &[
    "pgdata",
    "format",
    "wal-method",
    "xlog-method",
    "gzip",
    "version",
    "dbname",
    "host",
    "port",
    "username",
    "password",
];

/// A program that is given options.
#[derive(Clone, Copy)]
pub(super) enum Program {
    /// Makes a new data directory.
    Initdb,
    /// Copies one.
    BaseBackup,
}

/// The options under a key, as arguments: a list of flags and one-key maps, or a map.
pub(super) fn options(
    section: &mut Section<'_, '_>,
    key: &'static str,
    program: Program,
) -> Vec<String> {
    let Some(node) = section.take(key) else {
        return Vec::new();
    };
    let mut arguments = Vec::new();
    let mut add = |section: &mut Section<'_, '_>, path: &str, node: &Node, name, value| {
        let read = |_: &Node| option(program, name, value);
        arguments.extend(section.understood(path, node, read).flatten());
    };
    match &node.value {
        Value::List(items) => {
            for (at, item) in items.iter().enumerate() {
                let path = format!("{key}[{at}]");
                match (&item.value, item.entries()) {
                    (Value::Text(text), _) => add(section, &path, item, text.as_str(), None),
                    (_, [(name, value)]) => {
                        add(section, &path, item, name.text.as_str(), Some(value));
                    }
                    (_, _) => {
                        let what = format!("{} is neither a flag nor one key: value", item.shown());
                        let wrong = Wrong::because(&what, "write - flag, or - option: value");
                        section.understood(&path, item, |_| Err::<(), _>(wrong));
                    }
                }
            }
        }
        Value::Map(entries) => {
            for (name, value) in entries {
                let path = format!("{key}.{}", name.text);
                add(section, &path, value, name.text.as_str(), Some(value));
            }
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
            let expected = "write a list: - flag, or - option: value";
            let wrong = Wrong::no("list of options", node, expected);
            section.understood(key, node, |_| Err::<(), _>(wrong));
        }
    }
    arguments
}

/// One option as an argument; none if it is switched off.
fn option(program: Program, name: &str, value: Option<&Node>) -> Result<Option<String>, Wrong> {
    let (bare, given) = name
        .split_once('=')
        .map_or((name, None), |(a, b)| (a, Some(b)));
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if bare.starts_with('-') {
        return Err(Wrong::because(
            &format!("{} begins with a dash", quoted(bare)),
            "write the long option without its dashes",
        ));
    }
    if bare.is_empty() || !bare.chars().all(is_name) {
        return Err(Wrong::because(
            &format!("{} is no option", quoted(bare)),
            "write the name of a long option",
        ));
    }
    let said = match (given, value) {
        (Some(text), _) => Some(text.to_owned()),
        (None, None) => None,
        (None, Some(node)) => match &node.value {
            Value::Null | Value::Bool(false) => return Ok(None),
            Value::Bool(true) => None,
            Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                Some(unquoted(&scalar(node)?).to_owned())
            }
        },
    };
    allowed(program, bare, said.as_deref())?;
    Ok(Some(said.map_or_else(
        || format!("--{bare}"),
        |said| format!("--{bare}={said}"),
    )))
}

fn allowed(program: Program, name: &str, value: Option<&str>) -> Result<(), Wrong> {
    let (tool, forbidden) = match program {
        Program::Initdb => ("initdb", NOT_FOR_INITDB),
        Program::BaseBackup => ("pg_basebackup", NOT_FOR_BASEBACKUP),
    };
    if forbidden.contains(&name) {
        let what = format!("{name} is the agent's to choose when it runs {tool}");
        return Err(Wrong::because(&what, "leave it out"));
    }
    if matches!(program, Program::Initdb) {
        return Ok(());
    }
    if name == "command" {
        return Err(Wrong::because(
            "pg_basebackup has no option \"command\": under basebackup: stand its own long options",
            "give a command of your own a section of another name, and name that in create_replica_methods:",
        ));
    }
    if name == "compress" && !value.is_some_and(|value| value.starts_with("server-")) {
        return Err(Wrong::because(
            "a copy into a directory is compressed by the server or not at all",
            "write compress: server-gzip, server-lz4 or server-zstd (PostgreSQL 15 or later)",
        ));
    }
    Ok(())
}

/// A text without the quotation marks that somebody wrote for a shell.
fn unquoted(text: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|mark| text.strip_prefix(mark)?.strip_suffix(mark))
        .unwrap_or(text)
}

/// Further arguments of a command of the operator's own: every key but those that mean something here.
pub(super) fn arguments(section: &mut Section<'_, '_>, taken: &[&str]) -> Vec<(String, String)> {
    let mut arguments = Vec::new();
    let entries: &[(Key, Node)] = section.entries();
    for (key, node) in entries {
        section.pass(&key.text);
        if !taken.contains(&key.text.as_str()) && node.value != Value::Null {
            let value = section.understood(&key.text, node, scalar);
            arguments.extend(value.map(|value| (key.text.clone(), value)));
        }
    }
    arguments
}

/// A switch of a command's section.
pub(super) fn flag(section: &mut Section<'_, '_>, key: &'static str) -> bool {
    section.value(key, switch).unwrap_or(false)
}
