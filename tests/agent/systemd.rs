//! The agent as a service: the unit that is shipped.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use trunkline_support::units;
use trunkline_support::workdir::WorkDir;

use crate::BINARY;

fn shipped() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/trunkline-agent.service");
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

#[test]
fn systemd_has_nothing_to_say_about_the_shipped_unit() -> Result<()> {
    let folder = WorkDir::new()?;
    let (name, installed) = ("trunkline-agent.service", "/usr/bin/trunkline-agent");
    units::verify(&[units::unit(name, installed, BINARY, folder.path())?])
}

#[test]
fn the_shipped_unit_spares_postgresql_and_never_gives_up_on_the_agent() -> Result<()> {
    let unit = shipped()?;
    for line in [
        "Type=notify",
        "KillMode=process",
        "Restart=always",
        "RestartPreventExitStatus=78",
        "StartLimitIntervalSec=0",
        "TimeoutStartSec=infinity",
        "User=postgres",
    ] {
        ensure!(unit.lines().any(|it| it == line), "{line} is missing");
    }
    Ok(())
}
