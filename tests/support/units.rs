//! The units that are shipped for systemd, and what systemd has to say about them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The shipped unit of that name in `folder`, with the binary that was built in place of the one that is installed.
pub fn unit(name: &str, installed: &str, built: &str, folder: &Path) -> Result<PathBuf> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../systemd");
    let shipped = Path::new(root).join(name);
    let text = std::fs::read_to_string(&shipped).with_context(|| shipped.display().to_string())?;
    let path = folder.join(name);
    std::fs::write(&path, text.replace(installed, built))?;
    Ok(path)
}

/// Fails with systemd's words if it has any about these units.
pub fn verify(units: &[PathBuf]) -> Result<()> {
    let outcome = Command::new("systemd-analyze")
        .arg("verify")
        .args(units)
        .output()
        .context("systemd-analyze is missing: `make test` installs systemd")?;
    let said = String::from_utf8_lossy(&outcome.stderr);
    ensure!(outcome.status.success() && said.is_empty(), "{said}");
    Ok(())
}
