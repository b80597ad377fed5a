//! `patroni.dynamic.json` in the data directory: the dynamic configuration as it was last seen, for a start without etcd's.

use std::path::Path;

use trunkline_core::wire::config::DynamicConfig;

use super::disk::{self, Changed, FilesError, Rights};

/// The file.
const NAME: &str = "patroni.dynamic.json";

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
