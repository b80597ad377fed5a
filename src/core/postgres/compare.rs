//! What a changed configuration means for a running server: what a reload applies and what has to wait for a restart
//! (contract 4.2 and H.10).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::parameters::Parameters;
use super::units;
use crate::wire::number;

/// One row of `pg_settings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `name`.
    pub name: String,
    /// `setting`, in units of `unit`.
    pub setting: String,
    /// `unit`: `8kB`, `ms` …
    pub unit: Option<String>,
    /// `context`.
    pub context: Context,
    /// `vartype`.
    pub kind: Kind,
}

/// When a parameter can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Never: it is only shown (`internal`).
    Never,
    /// When the server starts (`postmaster`).
    Restart,
    /// Without a restart (`sighup`, `superuser`, `user` …).
    Reload,
}

/// What the values of a parameter are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `bool`.
    Bool,
    /// `integer` or `real`.
    Number,
    /// `enum`.
    Enum,
    /// `string`.
    Text,
}

/// What is different between the configuration and the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What a reload applies.
    pub reload: BTreeSet<String>,
    /// What waits for a restart: the value in force and the configured one, both as people read them.
    pub restart: BTreeMap<String, (String, String)>,
    /// What the server does not know: to be left out, since it would refuse the whole file.
    pub unknown: BTreeSet<String>,
}

impl Context {
    /// Reads the column.
    #[must_use]
    pub fn of(column: &str) -> Self {
        match column {
            "internal" => Self::Never,
            "postmaster" => Self::Restart,
            _ => Self::Reload,
        }
    }
}

impl Kind {
    /// Reads the column.
    #[must_use]
    pub fn of(column: &str) -> Self {
        match column {
            "bool" => Self::Bool,
            "integer" | "real" => Self::Number,
            "enum" => Self::Enum,
            _ => Self::Text,
        }
    }
}

impl Difference {
    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.reload.is_empty() && self.restart.is_empty()
    }
}

/// Compares what is `wanted` with what the server says is in force. `written`: what the file on disk says so far; a parameter that
/// goes away there falls back to a default that only the server knows (`?` here).
#[must_use]
pub fn compare(wanted: &Parameters, written: &Parameters, server: &[Setting]) -> Difference {
    let rows: BTreeMap<String, &Setting> = server
        .iter()
        .map(|row| (row.name.to_ascii_lowercase(), row))
        .collect();
    let mut difference = Difference::default();
    for (name, value) in wanted {
        let name = name.to_ascii_lowercase();
        let Some(row) = rows.get(&name) else {
            if !name.contains('.') {
                difference.unknown.insert(name);
            } else if written.get(&name) != Some(value) {
                difference.reload.insert(name);
            }
            continue;
        };
        if !is_not_compared(&name) && !is_in_force(value, row, &rows) {
            difference.put(row, shown(value, row));
        }
    }
    let gone = written.keys().map(|name| name.to_ascii_lowercase());
    for name in gone.filter(|name| !wanted.contains_key(name) && !is_not_compared(name)) {
        match rows.get(&name) {
            Some(row) => difference.put(row, "?".to_owned()),
            None if name.contains('.') => {
                difference.reload.insert(name);
            }
            None => {}
        }
    }
    difference
}

impl Difference {
    fn put(&mut self, row: &Setting, configured: String) {
        match row.context {
            Context::Never => {}
            Context::Reload => {
                self.reload.insert(row.name.clone());
            }
            Context::Restart => {
                let now = with_unit(&row.setting, row.unit.as_deref());
                self.restart.insert(row.name.clone(), (now, configured));
            }
        }
    }
}

/// What the section about recovery sets, and what must be as it is anyway.
fn is_not_compared(name: &str) -> bool {
    matches!(name, "hot_standby" | "hba_file" | "ident_file") || super::recovery::is_recovery(name)
}

/// Whether a configured value is the one in force.
fn is_in_force(value: &str, row: &Setting, rows: &BTreeMap<String, &Setting>) -> bool {
    match row.kind {
        Kind::Bool => match (switch(value), switch(&row.setting)) {
            (Some(wanted), Some(now)) => wanted == now,
            _ => value.eq_ignore_ascii_case(&row.setting),
        },
        Kind::Number => {
            let unit = row.unit.as_deref().unwrap_or_default();
            let now = units::amount(&row.setting, unit);
            let wanted = units::amount(value, unit).map(|wanted| computed(wanted, row, rows));
            match (wanted, now) {
                // An integer is rounded, and is shown rounded.
                (Some(wanted), Some(now)) if now.fract() == 0.0 => {
                    wanted.round_ties_even() == now || wanted == now
                }
                (Some(wanted), Some(now)) => wanted == now,
                _ => value == row.setting,
            }
        }
        Kind::Enum => same_word(&row.name, value, &row.setting),
        Kind::Text => value == row.setting,
    }
}

/// What PostgreSQL makes of a number that means "find out yourself".
fn computed(wanted: f64, row: &Setting, rows: &BTreeMap<String, &Setting>) -> f64 {
    let amount = |name: &str, unit| {
        let row = rows.get(name)?;
        // Without a unit of its own it is a number of bytes.
        let text = with_unit(&row.setting, row.unit.as_deref().or(Some("B")));
        units::amount(&text, unit)
    };
    let now = || units::amount(&row.setting, "").unwrap_or(wanted);
    match row.name.as_str() {
        // A thirty-second of shared_buffers, eight pages or more, one WAL segment at most.
        "wal_buffers" if wanted == -1.0 => {
            match (
                amount("shared_buffers", "8kB"),
                amount("wal_segment_size", "8kB"),
            ) {
                (Some(buffers), Some(segment)) => (buffers / 32.0).floor().min(segment).max(8.0),
                _ => now(),
            }
        }
        // These are shown as the server computed them (17 and 18).
        "commit_timestamp_buffers" | "subtransaction_buffers" | "transaction_buffers"
            if wanted == 0.0 =>
        {
            now()
        }
        "io_max_concurrency" if wanted == -1.0 => now(),
        _ => wanted,
    }
}

/// Whether two words of an enum mean the same: some have others that PostgreSQL takes and never shows.
fn same_word(name: &str, wanted: &str, now: &str) -> bool {
    let wanted = wanted.to_ascii_lowercase();
    if wanted == now.to_ascii_lowercase() {
        return true;
    }
    match (name, wanted.as_str()) {
        ("wal_level", "archive" | "hot_standby") => now == "replica",
        ("wal_compression", _) if switch(&wanted) == Some(true) => now == "pglz",
        (_, "debug") => now == "debug2",
        _ => switch(&wanted).is_some_and(|on| now == if on { "on" } else { "off" }),
    }
}

fn switch(text: &str) -> Option<bool> {
    number::switch(&Value::String(text.to_owned()))
}

/// The configured value as people compare it with the one in force: in the same unit where it names none.
fn shown(value: &str, row: &Setting) -> String {
    match row.kind {
        Kind::Number => with_unit(value, row.unit.as_deref()),
        Kind::Bool | Kind::Enum | Kind::Text => value.to_owned(),
    }
}

/// `4096` in units of `8kB` as `32MB`: the largest unit of which it is a whole number.
fn with_unit(number: &str, unit: Option<&str>) -> String {
    let Some(unit) = unit.filter(|unit| !unit.is_empty()) else {
        return number.to_owned();
    };
    let base = unit.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let times: i64 = unit[..unit.len() - base.len()].parse().unwrap_or(1);
    match number
        .parse::<i64>()
        .ok()
        .and_then(|number| number.checked_mul(times))
    {
        Some(amount) if amount > 0 => units::largest(amount, base),
        // Zero and -1 have meanings of their own.
        Some(_) | None => number.to_owned(),
    }
}
