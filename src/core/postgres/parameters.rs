//! The parameters of one server: as they are written, as a standby must have them, and as the postmaster is told of those
//! that have to be the same on every member: on its command line, so that ALTER SYSTEM cannot change them (contract 3.4).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::ControlData;
use crate::config::agent::{ENFORCED, Settings};

/// Parameters by name, values as text.
pub type Parameters = BTreeMap<String, String>;

/// The parameters as they go into `postgresql.conf`, names in lower case as PostgreSQL compares them; and a sentence about each
/// that cannot stand there.
#[must_use]
pub fn to_write(settings: &Settings) -> (Parameters, Vec<String>) {
    let mut parameters = Parameters::new();
    let mut warnings = Vec::new();
    for (name, value) in &settings.parameters {
        let name = name.to_ascii_lowercase();
        match impossible(&name) {
            Some(because) => {
                warnings.push(format!(
                    "postgresql.parameters.{name:?} is left out: {because}"
                ));
            }
            None => {
                parameters.insert(name, value.clone());
            }
        }
    }
    (parameters, warnings)
}

/// Why a parameter cannot stand in the configuration at all.
fn impossible(name: &str) -> Option<&'static str> {
    if !super::quoted::is_name(name) {
        return Some("it is no name of a parameter");
    }
    if super::recovery::is_agents(name) {
        return Some("it is the agent's to set, as the cluster needs it");
    }
    matches!(name, "data_directory" | "config_file")
        .then_some("it follows from postgresql.data_dir and postgresql.config_dir")
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
    // Of this one alone the postmaster is told by file.
    let told = ENFORCED
        .iter()
        .filter(|(name, ..)| *name != "wal_keep_size");
    arguments.extend(told.filter_map(|(name, ..)| {
        let value = parameters.get(*name)?;
        Some(OsString::from(format!("--{name}={value}")))
    }));
    arguments
}
