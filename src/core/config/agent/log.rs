//! The `log` section: how much is logged, and in which shape. It goes to standard error.

use super::super::node::{Node, Value};
use super::super::read::Section;
use super::super::router::LogLevel;
use super::super::value::Wrong;
use super::Log;
use super::values::switch;

/// What is written besides `type` and `level`, and what it does not do here.
const WITHOUT_EFFECT: [(&str, &str); 10] = [
    (
        "dir",
        "is not built: the log goes to standard error, where the service manager keeps it",
    ),
    ("file_num", "has no effect: the log goes to standard error"),
    ("file_size", "has no effect: the log goes to standard error"),
    ("mode", "has no effect: the log goes to standard error"),
    ("format", "is not built: a line is \"TIME LEVEL: MESSAGE\""),
    (
        "dateformat",
        "is not built: times are 2026-11-21 08:04:30,468",
    ),
    ("static_fields", "is not built: no fields are added"),
    ("traceback_level", "has no effect: there are no tracebacks"),
    (
        "max_queue_size",
        "has no effect: no line waits to be written",
    ),
    (
        "loggers",
        "is not built: TRUNKLINE_LOG in the environment sets levels by module",
    ),
];

pub(super) fn log(root: &mut Section<'_, '_>) -> Log {
    let mut log = Log::default();
    let Some(mut section) = root.section("log") else {
        return log;
    };
    section.set("level", &mut log.level, level);
    section.set("type", &mut log.json, json);
    section.set("deduplicate_heartbeat_logs", &mut log.deduplicate, switch);
    for (key, what) in WITHOUT_EFFECT {
        if section.take(key).is_some() {
            section.warn(key, what, "leave it out");
        }
    }
    section.finish();
    log
}

fn level(node: &Node) -> Result<LogLevel, Wrong> {
    let expected = "write DEBUG, INFO, WARNING, ERROR or CRITICAL";
    match node.to_json().as_str().map(str::to_uppercase).as_deref() {
        Some("DEBUG" | "NOTSET") => Ok(LogLevel::Debug),
        Some("INFO") => Ok(LogLevel::Info),
        Some("WARN" | "WARNING") => Ok(LogLevel::Warn),
        Some("ERROR" | "FATAL" | "CRITICAL") => Ok(LogLevel::Error),
        Some(_) | None => Err(Wrong::no("level", node, expected)),
    }
}

fn json(node: &Node) -> Result<bool, Wrong> {
    match &node.value {
        Value::Text(text) if text.eq_ignore_ascii_case("plain") => Ok(false),
        Value::Text(text) if text.eq_ignore_ascii_case("json") => Ok(true),
        Value::Text(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::List(_)
        | Value::Map(_) => Err(Wrong::no("type of log", node, "write plain or json")),
    }
}
