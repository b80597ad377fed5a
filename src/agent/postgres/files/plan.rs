//! All that is to be on the disk before PostgreSQL starts or reloads, and putting it there, in an order in which whatever
//! ends the agent half way makes no primary by mistake. What it says was decided before.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use trunkline_core::config::agent::Agent;
use trunkline_core::postgres::files::{self, Configuration};
use trunkline_core::postgres::parameters::Parameters;
use trunkline_core::postgres::restored::Signal;
use trunkline_core::postgres::{Upstream, recovery};

use super::write_pgpass;
use crate::postgres::directory;
use crate::postgres::disk::{self, Changed, FilesError, Rights};

/// All that is to be on the disk.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) agent: Arc<Agent>,
    pub(super) include: String,
    pub(super) has_own_base: bool,
    /// `pg_hba.conf`, where it is the agent's.
    pub(super) hba: Option<String>,
    /// `pg_ident.conf`, where it is the agent's.
    pub(super) ident: Option<String>,
    pub(super) signal: Signal,
    pub(super) upstream: Option<Upstream>,
    pub(super) recovery: BTreeMap<String, String>,
    /// Whether what `postgresql.auto.conf` says of recovery counts.
    pub(super) keeps_auto: bool,
}

impl Plan {
    /// What has to be there before PostgreSQL can be asked: the file that ours includes, which is the operator's own.
    pub(super) fn prepare(&self) -> Result<(), FilesError> {
        if !self.has_own_base {
            return Ok(());
        }
        let base = directory::base(&self.agent);
        let ours = directory::configuration(&self.agent);
        if disk::read(&base)?.is_some() {
            return Ok(());
        }
        adopt(&self.agent, &base)?;
        if disk::read(&base)?.is_some() {
            return Ok(());
        }
        adopt(&self.agent, &ours)?;
        match disk::read_text(&ours)? {
            // A copy: ours takes the original's place in one step.
            Some(text) if !files::is_ours(&text) => disk::copy(&ours, &base),
            Some(_) | None => Err(FilesError::content(
                &base,
                "it is missing, and the original postgresql.conf is nowhere to be found",
                "put it there; an empty file will do where the parameters are all in patroni.yml or etcd",
            )),
        }
    }

    /// Puts everything in place. A standby has its signal before anything else, and a primary loses it after everything else: whatever
    /// ends the agent in between, PostgreSQL does not start as a primary by mistake.
    pub(super) fn install(&self, parameters: &Parameters) -> Result<Changed, FilesError> {
        let (signal, others): (_, &[&str]) = match self.signal {
            Signal::Standby => (Some("standby.signal"), &["recovery.signal"]),
            Signal::Recovery => (Some("recovery.signal"), &["standby.signal"]),
            Signal::None => (None, &["recovery.signal", "standby.signal"]),
            Signal::Kept => (None, &[]),
        };
        if let Some(signal) = signal {
            let signal = self.agent.data_dir.join(signal);
            let _ = disk::touch(&signal, Rights::beside(&self.agent.data_dir, &signal))?;
        }
        let changed = self.write(parameters)?;
        for name in others {
            let _ = disk::remove(&self.agent.data_dir.join(name))?;
        }
        Ok(changed)
    }

    fn write(&self, parameters: &Parameters) -> Result<Changed, FilesError> {
        let agent = &self.agent;
        let mut changed = Changed::No;
        if let Some(upstream) = &self.upstream {
            let hosts: Vec<&str> = upstream.host.split(',').collect();
            let written = write_pgpass(agent, &agent.replication, &hosts, upstream.port)?;
            changed = written.unwrap_or(Changed::No);
        }
        let lists = [
            ("hba_file", "pg_hba.conf", &self.hba),
            ("ident_file", "pg_ident.conf", &self.ident),
        ];
        for (parameter, name, text) in lists {
            let path = agent.config_dir.join(name);
            let named = parameters.get(parameter).map(Path::new);
            if named.is_some_and(|named| named != path) {
                continue;
            }
            match text {
                Some(text) => changed = put(agent, &path, text)?.or(changed),
                None => adopt(agent, &path)?,
            }
        }
        let text = self.text(parameters);
        changed = put(agent, &directory::configuration(agent), &text)?.or(changed);
        if self.keeps_auto {
            return Ok(changed);
        }
        let auto = agent.data_dir.join("postgresql.auto.conf");
        if let Some(text) = disk::read(&auto)?.and_then(|bytes| scrubbed(&bytes)) {
            changed = disk::put(&auto, &text, Rights::beside(&agent.data_dir, &auto))?.or(changed);
        }
        Ok(changed)
    }

    pub(super) fn text(&self, parameters: &Parameters) -> String {
        Configuration {
            include: &self.include,
            parameters,
            hba: &self.agent.config_dir.join("pg_hba.conf"),
            ident: &self.agent.config_dir.join("pg_ident.conf"),
            recovery: &self.recovery,
        }
        .to_text()
    }
}

/// `postgresql.auto.conf` without what belongs to a recovery; bytes that are no text stay as they are, line by line.
fn scrubbed(bytes: &[u8]) -> Option<Vec<u8>> {
    let kept: Vec<u8> = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| recovery::scrub(&String::from_utf8_lossy(line)).is_none())
        .flatten()
        .copied()
        .collect();
    (kept.len() != bytes.len()).then_some(kept)
}

pub(super) fn put(agent: &Agent, path: &Path, text: &str) -> Result<Changed, FilesError> {
    disk::put(path, text.as_bytes(), Rights::beside(&agent.data_dir, path))
}

/// Where the configuration does not live in the data directory and `path` is missing there: takes the copy inside of the data
/// directory, or what initdb wrote into it.
pub(super) fn adopt(agent: &Agent, path: &Path) -> Result<(), FilesError> {
    if disk::read(path)?.is_some() {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default();
    let mut backup = name.to_owned();
    backup.push(".backup");
    for source in [backup, name.to_owned()] {
        if let Some(bytes) = disk::read(&agent.data_dir.join(source))? {
            let _ = disk::put(path, &bytes, Rights::beside(&agent.data_dir, path))?;
            return Ok(());
        }
    }
    Ok(())
}
