//! What stands in the data directory: only looking, nothing is changed.

use std::fs;
use std::io;
use std::path::Path;

use trunkline_core::config::agent::Agent;
use trunkline_core::postgres::{DataDirectory, Upstream, recovery};

use super::disk;
use super::unfinished;

/// What makes a directory PostgreSQL's.
const NEEDED: [&str; 2] = ["PG_VERSION", "global/pg_control"];
/// What makes PostgreSQL recover when it starts.
const SIGNALS: [&str; 3] = ["standby.signal", "recovery.signal", "recovery.conf"];

/// Looks at the data directory. It waits for the disk: not for a thread that has other work.
#[must_use]
pub fn observe(agent: &Agent) -> DataDirectory {
    match look(agent) {
        Ok(seen) => seen,
        Err(words) => DataDirectory::Unusable(words),
    }
}

fn look(agent: &Agent) -> Result<DataDirectory, String> {
    let data = &agent.data_dir;
    let said = |path: &Path, error: &io::Error| format!("{}: {error}", path.display());
    if is_empty(data).map_err(|error| said(data, &error))? {
        return Ok(DataDirectory::Empty);
    }
    // A half of this agent's own, which it wipes before it makes it anew.
    if unfinished::is_unfinished(data) {
        return Ok(DataDirectory::Empty);
    }
    let stands = |name: &str| {
        let path = data.join(name);
        path.try_exists().map_err(|error| said(&path, &error))
    };
    for name in NEEDED {
        if !stands(name)? {
            return Err(format!(
                "{} is not empty and has no {name}: it is no data directory of PostgreSQL, or its copy was never \
                 finished; look at what is there, and empty it if it may go",
                data.display()
            ));
        }
    }
    let mut signal = false;
    for name in SIGNALS {
        signal |= stands(name)?;
    }
    Ok(DataDirectory::Present {
        signal,
        backup_label: stands("backup_label")?,
        follows: follows(agent),
    })
}

/// Whether it is missing, or holds nothing but dot files and what a new file system has.
fn is_empty(data: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(data) {
        Ok(entries) => entries,
        // A link that leads nowhere is no missing directory: what it leads to may come back.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !data.is_symlink() => {
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name();
        let bytes = name.as_encoded_bytes();
        if !bytes.starts_with(b".") && bytes != b"lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whom the configuration there says to follow. One that cannot be read is written anew before PostgreSQL is started.
fn follows(agent: &Agent) -> Option<Upstream> {
    let file = disk::read_text(&configuration(agent)).ok()??;
    recovery::follows(&file)
}

/// `postgresql.conf`, under its configured name.
pub(super) fn configuration(agent: &Agent) -> std::path::PathBuf {
    agent
        .config_dir
        .join(format!("{}.conf", agent.config_base_name))
}

/// `postgresql.base.conf`, under its configured name.
pub(super) fn base(agent: &Agent) -> std::path::PathBuf {
    agent
        .config_dir
        .join(format!("{}.base.conf", agent.config_base_name))
}
