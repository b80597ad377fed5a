//! What runs a node: Patroni itself, or an agent of ours that is given the same patroni.yml.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::parts::Parts;
use crate::workdir::WorkDir;

/// The program that runs a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Program {
    /// Patroni.
    #[default]
    Patroni,
    /// This agent.
    Ours(PathBuf),
}

impl Program {
    /// What it is called in messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Patroni => "Patroni",
            Self::Ours(_) => "trunkline-agent",
        }
    }

    /// The same at a place that the user who runs PostgreSQL can reach: a build is its builder's.
    pub(super) fn reachable(self, workdir: &WorkDir) -> Result<Self> {
        let Self::Ours(built) = self else {
            return Ok(self);
        };
        ensure!(
            built.is_file(),
            "there is no agent at {}: build it first",
            built.display()
        );
        let copy = workdir.path().join("trunkline-agent");
        if !copy.exists() {
            let copied = std::fs::copy(&built, &copy)
                .and_then(|_| std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)));
            copied.with_context(|| format!("copying {} to {}", built.display(), copy.display()))?;
        }
        Ok(Self::Ours(copy))
    }

    /// The command that runs a node by `config`.
    pub(super) fn command(&self, parts: &Parts, home: &Path, config: &Path) -> Command {
        let mut command = match self {
            Self::Patroni => {
                let mut command = parts.command(&parts.python, home);
                command.args(["-m", "patroni"]);
                command
            }
            Self::Ours(agent) => parts.command(agent, home),
        };
        command.arg(config);
        command
    }
}
