//! `patroni.dynamic.json` in the data directory: the dynamic configuration as it was last seen, for a start without etcd's.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::spawn_blocking;
use trunkline_core::Moment;
use trunkline_core::config::agent::Agent;
use trunkline_core::wire::config::DynamicConfig;
use trunkline_io::clock;

use super::disk::{self, Changed, FilesError, Rights};

/// The file.
const NAME: &str = "patroni.dynamic.json";
/// How long after it could not be written that is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Has a data directory remember the dynamic configuration. Nobody waits for the disk.
#[derive(Debug, Default)]
pub struct Keeper(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
enum Kept {
    /// Nothing was written by this process.
    #[default]
    Nothing,
    /// It is being written.
    Writing,
    /// This.
    This(DynamicConfig),
    /// This could not be, for that reason; when to try again.
    Failed(DynamicConfig, String, Moment),
}

impl Keeper {
    /// Writes it down, unless it was. What stands in its way is said once, and tried again.
    pub fn keep(&self, agent: &Arc<Agent>, dynamic: &DynamicConfig) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = match &*kept {
            Kept::Writing => return,
            Kept::This(known) if known == dynamic => return,
            Kept::Failed(wanted, _, again) if wanted == dynamic && clock::now() < *again => return,
            Kept::Failed(_, words, _) => Some(words.clone()),
            Kept::Nothing | Kept::This(_) => None,
        };
        *kept = Kept::Writing;
        let (agent, dynamic) = (Arc::clone(agent), dynamic.clone());
        let state = Arc::clone(&self.0);
        drop(spawn_blocking(move || {
            let end = match write(&agent.data_dir, &dynamic) {
                Ok(Changed::Yes | Changed::No) => Kept::This(dynamic),
                Err(error) => {
                    let words = error.to_string();
                    if said.as_ref() != Some(&words) {
                        tracing::warn!("{words}");
                    }
                    Kept::Failed(dynamic, words, clock::now().after(AGAIN))
                }
            };
            *state.lock().unwrap_or_else(PoisonError::into_inner) = end;
        }));
    }
}

/// The dynamic configuration that is kept there; `None` if none is.
///
/// # Errors
///
/// If it cannot be read, or is none.
pub fn read(data: &Path) -> Result<Option<DynamicConfig>, FilesError> {
    let path = data.join(NAME);
    let Some(bytes) = disk::read(&path)? else {
        return Ok(None);
    };
    DynamicConfig::parse(&bytes).map(Some).map_err(|error| {
        FilesError::content(
            &path,
            error.to_string(),
            "it may be removed: etcd has the configuration",
        )
    })
}

/// Keeps a dynamic configuration there.
///
/// # Errors
///
/// As the system says.
pub fn write(data: &Path, configuration: &DynamicConfig) -> Result<Changed, FilesError> {
    let path = data.join(NAME);
    let rights = Rights::beside(data, &path);
    disk::put(&path, configuration.to_spaced().as_bytes(), rights)
}
