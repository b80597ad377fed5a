//! The parameters of PostgreSQL that have to be the same on every member, and are therefore taken from the dynamic
//! configuration alone (contract 3.4).

use super::super::node::Node;
use super::super::value::Wrong;
use super::values::{scalar, switch};
use crate::wire::number::{self, Unit};

/// One of them: its name, its default, and what it may be.
type Enforced = (&'static str, &'static str, Rule);

/// What one of them may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It follows from something else (`listen`, the scope) and is not to be set.
    Fixed,
    /// It must be on.
    On,
    /// A level of WAL that is enough for replication.
    WalLevel,
    /// A number of at least so many.
    Least(i64),
    /// On or off.
    Switch,
    /// A size of at least so many megabytes.
    Megabytes(i64),
}

/// Every one of them, in the order in which the postmaster is told of them; `wal_keep_size` is told by file alone.
pub const ENFORCED: [Enforced; 14] = [
    ("listen_addresses", "", Rule::Fixed),
    ("port", "", Rule::Fixed),
    ("cluster_name", "", Rule::Fixed),
    ("wal_level", "replica", Rule::WalLevel),
    ("hot_standby", "on", Rule::On),
    ("max_connections", "100", Rule::Least(25)),
    ("max_wal_senders", "10", Rule::Least(3)),
    ("max_prepared_transactions", "0", Rule::Least(0)),
    ("max_locks_per_transaction", "64", Rule::Least(32)),
    ("track_commit_timestamp", "off", Rule::Switch),
    ("max_replication_slots", "10", Rule::Least(4)),
    ("max_worker_processes", "8", Rule::Least(2)),
    ("wal_log_hints", "on", Rule::Switch),
    ("wal_keep_size", "128MB", Rule::Megabytes(16)),
];

/// What `wal_keep_size` was called before PostgreSQL 13: a number of files of 16 MB.
pub(super) const WAL_KEEP_SEGMENTS: &str = "wal_keep_segments";
const SEGMENT_MEGABYTES: i64 = 16;

/// The rule for a parameter, if it is one of them.
pub(super) fn rule(name: &str) -> Option<Rule> {
    let found = ENFORCED
        .iter()
        .find(|(known, ..)| known.eq_ignore_ascii_case(name));
    let renamed = name.eq_ignore_ascii_case(WAL_KEEP_SEGMENTS);
    found
        .map(|(.., rule)| *rule)
        .or_else(|| renamed.then_some(Rule::Least(1)))
}

/// A value of the dynamic configuration by its rule.
pub(super) fn ruled(rule: Rule, node: &Node) -> Result<String, Wrong> {
    let written = scalar(node)?;
    let wrong = |what: &str, expected: &str| Err(Wrong::because(what, expected));
    match rule {
        Rule::Fixed => wrong("is not to be set: it is the agent's", "leave it out"),
        Rule::On => match switch(node) {
            Ok(true) => Ok("on".to_owned()),
            Ok(false) | Err(_) => wrong("can only be on", "leave it out"),
        },
        Rule::WalLevel => match written.to_lowercase().as_str() {
            "replica" | "hot_standby" => Ok("replica".to_owned()),
            "logical" => Ok("logical".to_owned()),
            _ => wrong(
                &format!("{} is no level for replication", node.shown()),
                "write replica or logical",
            ),
        },
        Rule::Least(least) => match number::whole(&node.to_json()) {
            Some(number) if number >= least => Ok(number.to_string()),
            Some(_) | None => wrong(
                &format!("{} is too little or no number", node.shown()),
                &format!("write {least} or more"),
            ),
        },
        Rule::Switch => switch(node).map(|on| if on { "on" } else { "off" }.to_owned()),
        Rule::Megabytes(least) => match megabytes(&node.to_json()) {
            Some(size) if size >= least => Ok(written),
            Some(_) | None => wrong(
                &format!("{} is too little or no size", node.shown()),
                &format!("write {least}MB or more"),
            ),
        },
    }
}

/// A bare number is megabytes, as to PostgreSQL.
fn megabytes(value: &serde_json::Value) -> Option<i64> {
    number::whole(value).or_else(|| number::in_unit(value, Unit::Bytes).map(|bytes| bytes >> 20))
}

/// `wal_keep_size` for so many files.
pub(super) fn size_of_segments(segments: &str) -> Option<String> {
    let segments: i64 = segments.parse().ok()?;
    Some(format!("{}MB", segments.checked_mul(SEGMENT_MEGABYTES)?))
}
