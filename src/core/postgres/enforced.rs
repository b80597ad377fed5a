//! The parameters that are the agent's to set, whatever a node's own file says (contract 3.4): the same on every node,
//! and given to the postmaster on its command line, so that ALTER SYSTEM cannot change them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use serde_json::Value;

use super::ControlData;
use crate::config::agent::{Agent, Settings};
use crate::wire::number;

/// Parameters by name, values as text.
pub type Parameters = BTreeMap<String, String>;

/// What a value may be.
enum Rule {
    /// Nothing but what the agent's own file says.
    Fixed,
    /// `on`, whatever was asked for.
    OnlyOn,
    /// One of the words of `wal_level` that a standby can live with.
    WalLevel,
    /// A whole number, this or more.
    AtLeast(i64, &'static str),
    /// A switch.
    Switch(&'static str),
}

/// The ones on the command line, in its order.
const COMMAND_LINE: [(&str, Rule); 13] = [
    ("listen_addresses", Rule::Fixed),
    ("port", Rule::Fixed),
    ("cluster_name", Rule::Fixed),
    ("wal_level", Rule::WalLevel),
    ("hot_standby", Rule::OnlyOn),
    ("max_connections", Rule::AtLeast(25, "100")),
    ("max_wal_senders", Rule::AtLeast(3, "10")),
    ("max_prepared_transactions", Rule::AtLeast(0, "0")),
    ("max_locks_per_transaction", Rule::AtLeast(32, "64")),
    ("track_commit_timestamp", Rule::Switch("off")),
    ("max_replication_slots", Rule::AtLeast(4, "10")),
    ("max_worker_processes", Rule::AtLeast(2, "8")),
    ("wal_log_hints", Rule::Switch("on")),
];

/// How much WAL one of the segments is that versions before 13 counted, in MB.
const SEGMENT_MB: i64 = 16;
/// `wal_keep_size` if nobody says otherwise.
const WAL_KEEP: &str = "128MB";

/// Whether a parameter is the agent's to set, so that only the dynamic configuration can have a say in it.
#[must_use]
pub fn is_enforced(name: &str) -> bool {
    matches!(name, "wal_keep_size" | "wal_keep_segments")
        || COMMAND_LINE.iter().any(|(enforced, _)| *enforced == name)
}

/// All parameters as they shall be in force: what the settings say, with every enforced one as it must be. What was
/// changed about them, and why, in sentences.
#[must_use]
pub fn in_force(agent: &Agent, settings: &Settings) -> (Parameters, Vec<String>) {
    let mut parameters = Parameters::new();
    let mut warnings = Vec::new();
    for (name, value) in &settings.parameters {
        // PostgreSQL does not tell names apart by case, and what is enforced must not slip by in capitals.
        let name = name.to_ascii_lowercase();
        match refused(&name) {
            Some(because) => warnings.push(format!("postgresql.parameters.{name}: {because}")),
            None => {
                parameters.insert(name, value.clone());
            }
        }
    }
    for (name, rule) in &COMMAND_LINE {
        let value = match *name {
            "listen_addresses" => agent.listen_addresses.clone(),
            "port" => agent.port.to_string(),
            "cluster_name" => agent.scope.to_string(),
            _ => enforce(name, rule, parameters.get(*name), &mut warnings),
        };
        parameters.insert((*name).to_owned(), value);
    }
    let segments = parameters.remove("wal_keep_segments");
    let kept = wal_keep_size(
        parameters.get("wal_keep_size"),
        segments.as_ref(),
        &mut warnings,
    );
    parameters.insert("wal_keep_size".to_owned(), kept);
    (parameters, warnings)
}

/// Why a parameter cannot stand in the configuration at all.
fn refused(name: &str) -> Option<&'static str> {
    if !super::quoted::is_name(name) {
        return Some("this is no name of a parameter; it is left out");
    }
    if super::recovery::is_agents(name) {
        return Some("this is the agent's to set, as the cluster needs it; it is left out");
    }
    matches!(name, "data_directory" | "config_file")
        .then_some("this is set by postgresql.data_dir and postgresql.config_dir; it is left out")
}

fn enforce(name: &str, rule: &Rule, asked: Option<&String>, warnings: &mut Vec<String>) -> String {
    let Some(asked) = asked else {
        return rule.default().to_owned();
    };
    rule.allow(asked).unwrap_or_else(|| {
        let default = rule.default();
        warnings.push(format!(
            "postgresql.parameters.{name}: `{asked}` is not possible ({}); `{default}` is used",
            rule.words()
        ));
        default.to_owned()
    })
}

impl Rule {
    const fn default(&self) -> &'static str {
        match self {
            Self::Fixed => "",
            Self::OnlyOn => "on",
            Self::WalLevel => "replica",
            Self::AtLeast(_, default) | Self::Switch(default) => default,
        }
    }

    /// The value as it will be written, if it is allowed.
    fn allow(&self, asked: &str) -> Option<String> {
        let value = Value::String(asked.to_owned());
        match self {
            Self::Fixed => None,
            Self::OnlyOn => (number::switch(&value) == Some(true)).then(|| "on".to_owned()),
            Self::WalLevel => match asked.to_ascii_lowercase().as_str() {
                "hot_standby" | "replica" => Some("replica".to_owned()),
                "logical" => Some("logical".to_owned()),
                _ => None,
            },
            Self::AtLeast(least, _) => number::whole(&value)
                .filter(|number| number >= least)
                .map(|number| number.to_string()),
            Self::Switch(_) => {
                number::switch(&value).map(|on| if on { "on" } else { "off" }.into())
            }
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Fixed => "it cannot be set".to_owned(),
            Self::OnlyOn => "only `on` is".to_owned(),
            Self::WalLevel => "only `replica` and `logical` are".to_owned(),
            Self::AtLeast(least, _) => format!("a whole number, {least} or more, is"),
            Self::Switch(_) => "`on` and `off` are".to_owned(),
        }
    }
}

/// `wal_keep_size`, which may have been asked for in the segments of versions before 13.
fn wal_keep_size(
    asked: Option<&String>,
    segments: Option<&String>,
    warnings: &mut Vec<String>,
) -> String {
    if let Some(asked) = asked {
        let megabytes = super::units::amount(asked, "MB");
        if megabytes.is_some_and(|megabytes| megabytes >= SEGMENT_MB as f64) {
            return asked.clone();
        }
        warnings.push(format!(
            "postgresql.parameters.wal_keep_size: `{asked}` is not possible (16MB or more is); `{WAL_KEEP}` is used"
        ));
        return WAL_KEEP.to_owned();
    }
    let Some(segments) = segments else {
        return WAL_KEEP.to_owned();
    };
    let size = number::whole(&Value::String(segments.clone()))
        .filter(|count| *count >= 1)
        .and_then(|count| count.checked_mul(SEGMENT_MB));
    if let Some(size) = size {
        return format!("{size}MB");
    }
    warnings.push(format!(
        "postgresql.parameters.wal_keep_segments: `{segments}` is not possible (a whole number, 1 or more, is); \
         wal_keep_size `{WAL_KEEP}` is used"
    ));
    WAL_KEEP.to_owned()
}

/// A parameter that was raised for a standby.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// Its name.
    pub name: &'static str,
    /// What the configuration says.
    pub configured: String,
    /// What the primary had, by the control file: a standby with less refuses to start.
    pub used: String,
}

/// Raises what a standby must have at least as much of as the primary that wrote its WAL (contract H.4). Which were raised:
/// they wait for a restart.
pub fn raise(parameters: &mut Parameters, control: &ControlData) -> Vec<Raised> {
    let needed = [
        ("max_connections", control.max_connections),
        ("max_worker_processes", control.max_worker_processes),
        ("max_wal_senders", control.max_wal_senders),
        (
            "max_prepared_transactions",
            control.max_prepared_transactions,
        ),
        (
            "max_locks_per_transaction",
            control.max_locks_per_transaction,
        ),
    ];
    let mut raised = Vec::new();
    for (name, needed) in needed {
        let Some(configured) = parameters.get_mut(name) else {
            continue;
        };
        if configured
            .parse::<u64>()
            .is_ok_and(|have| have < u64::from(needed))
        {
            let used = needed.to_string();
            raised.push(Raised {
                name,
                configured: std::mem::replace(configured, used.clone()),
                used,
            });
        }
    }
    raised
}

/// The arguments of the postmaster, in the order that Patroni gives them.
#[must_use]
pub fn command_line(data: &Path, configuration: &Path, parameters: &Parameters) -> Vec<OsString> {
    let mut file = OsString::from("--config-file=");
    file.push(configuration);
    let mut arguments = vec![OsString::from("-D"), data.into(), file];
    arguments.extend(COMMAND_LINE.iter().filter_map(|(name, _)| {
        let value = parameters.get(*name)?;
        Some(OsString::from(format!("--{name}={value}")))
    }));
    arguments
}
