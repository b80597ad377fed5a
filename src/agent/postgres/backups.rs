//! Copies of the configuration files inside of the data directory, so that a clone has them too where they live outside of it
//! (contract 4.1).

use std::path::PathBuf;

use trunkline_core::config::agent::Agent;

use super::directory;
use super::disk::{self, Changed, FilesError, Rights};

/// Copies every configuration file to `<data>/<file>.backup`.
///
/// # Errors
///
/// As the system says.
pub fn save(agent: &Agent) -> Result<Changed, FilesError> {
    let mut changed = Changed::No;
    for (file, backup) in pairs(agent) {
        if let Some(bytes) = disk::read(&file)? {
            let rights = Rights::beside(&agent.data_dir, &backup);
            changed = disk::put(&backup, &bytes, rights)?.or(changed);
        }
    }
    Ok(changed)
}

/// Puts back every configuration file that is missing and has a copy: after a clone, or a bootstrap of the operator's own.
///
/// # Errors
///
/// As the system says.
pub fn restore(agent: &Agent) -> Result<Changed, FilesError> {
    let mut changed = Changed::No;
    for (file, backup) in pairs(agent) {
        if disk::read(&file)?.is_some() {
            continue;
        }
        if let Some(bytes) = disk::read(&backup)? {
            let rights = Rights::beside(&agent.data_dir, &file);
            changed = disk::put(&file, &bytes, rights)?.or(changed);
        }
    }
    Ok(changed)
}

/// Every file and its copy.
fn pairs(agent: &Agent) -> [(PathBuf, PathBuf); 4] {
    let files = [
        directory::configuration(agent),
        directory::base(agent),
        agent.config_dir.join("pg_hba.conf"),
        agent.config_dir.join("pg_ident.conf"),
    ];
    files.map(|file| {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".backup");
        (file, agent.data_dir.join(name))
    })
}
