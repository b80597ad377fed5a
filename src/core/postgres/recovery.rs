//! What a PostgreSQL is told about recovery: whom to stream from, and which targets are not set (contract H.6).

use std::collections::BTreeMap;

use super::conninfo::{self, Conninfo};
use super::{MajorVersion, Upstream};
use crate::config::agent::{Agent, Settings};

/// The targets of a recovery. All are emptied: one that is left over, in an included file, would stop a standby short.
const TARGETS: [&str; 5] = [
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
];

/// The parameters of a recovery that are the operator's.
const OPERATORS: [&str; 4] = [
    "archive_cleanup_command",
    "recovery_end_command",
    "recovery_min_apply_delay",
    "restore_command",
];

/// Whether a parameter of a recovery is the agent's alone.
pub(super) fn is_agents(name: &str) -> bool {
    matches!(
        name,
        "primary_conninfo" | "primary_slot_name" | "standby_mode"
    ) || name.starts_with("recovery_target")
}

/// Whether a parameter belongs to a recovery at all, so that it may not stand in `postgresql.auto.conf`, where it would
/// win over the agent's own.
#[must_use]
pub fn is_recovery(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    is_agents(&name)
        || OPERATORS.contains(&name.as_str())
        || matches!(name.as_str(), "promote_trigger_file" | "trigger_file")
}

/// The parameters of the `# recovery.conf` section, for a server of this version that follows `upstream`, or nobody.
#[must_use]
pub fn section(
    agent: &Agent,
    settings: &Settings,
    upstream: Option<&Upstream>,
    version: MajorVersion,
) -> BTreeMap<String, String> {
    let operators = settings
        .recovery
        .iter()
        .filter(|(name, _)| super::quoted::is_name(name) && !is_agents(&name.to_ascii_lowercase()));
    let mut section: BTreeMap<String, String> = operators
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect();
    for target in TARGETS {
        section.insert(target.to_owned(), String::new());
    }
    section.insert("recovery_target_timeline".to_owned(), "latest".to_owned());
    if let Some(upstream) = upstream {
        section.insert(
            "primary_conninfo".to_owned(),
            primary_conninfo(agent, settings, upstream, version),
        );
        if let Some(slot) = &upstream.slot {
            section.insert("primary_slot_name".to_owned(), slot.clone());
        }
    }
    section
}

/// The parameters of the same section while what the operator's own method restored recovers: `written` is the method's
/// `recovery_conf`. Where the method's own configuration is kept, nothing is put beside it.
pub(super) fn restored(written: &BTreeMap<String, String>, kept: bool) -> BTreeMap<String, String> {
    let mut section: BTreeMap<String, String> = written
        .iter()
        .filter(|(name, _)| super::quoted::is_name(name) && *name != "standby_mode")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    // Beside a target that is set PostgreSQL before 16 takes not even an empty one.
    let named = TARGETS.iter().any(|target| section.contains_key(*target));
    if !kept && !named {
        section.extend(TARGETS.map(|target| (target.to_owned(), String::new())));
    }
    section
}

/// How the WAL receiver logs in.
#[must_use]
pub fn primary_conninfo(
    agent: &Agent,
    settings: &Settings,
    upstream: &Upstream,
    version: MajorVersion,
) -> String {
    let mut conninfo = Conninfo::of(&agent.replication)
        .set("dbname", &agent.database)
        .set("host", &upstream.host)
        .set("port", &upstream.port)
        .set("application_name", &agent.name)
        .or("sslmode", "prefer")
        .or("gssencmode", "prefer")
        .or("channel_binding", "prefer")
        .or("sslnegotiation", "postgres");
    if agent.replication.password.is_some() {
        conninfo = conninfo.set("passfile", &agent.pgpass.display());
    }
    if let Some(name) = &settings.krbsrvname {
        conninfo = conninfo.set("krbsrvname", name);
    }
    conninfo.to_text(version)
}

/// Whom a configuration file that this agent or Patroni wrote tells PostgreSQL to follow. Its member's name does not
/// stand there.
#[must_use]
pub fn follows(file: &str) -> Option<Upstream> {
    let settings = super::quoted::settings(file);
    let conninfo = conninfo::parse(settings.get("primary_conninfo")?)?;
    Some(Upstream {
        name: None,
        host: conninfo.get("host")?.clone(),
        port: conninfo
            .get("port")
            .map_or(Some(5432), |port| port.parse().ok())?,
        slot: settings
            .get("primary_slot_name")
            .filter(|slot| !slot.is_empty())
            .cloned(),
    })
}

/// `postgresql.auto.conf` without the parameters of a recovery, which pg_basebackup -R, pg_rewind and ALTER SYSTEM put
/// there; `None` if there are none.
#[must_use]
pub fn scrub(auto: &str) -> Option<String> {
    let is_kept = |line: &&str| !super::quoted::name(line).is_some_and(is_recovery);
    let kept: String = auto.split_inclusive('\n').filter(is_kept).collect();
    (kept.len() != auto.len()).then_some(kept)
}
