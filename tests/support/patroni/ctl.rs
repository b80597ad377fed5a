//! The real `patronictl`, as an operator runs it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Patroni;
use crate::parts::Parts;
use crate::postgres::run;

/// Python's start takes half a second on an idle machine; a switchover is polled for by the second.
const BOUND: Duration = Duration::from_secs(120);

/// Where patronictl is.
#[must_use]
pub fn patronictl(parts: &Parts) -> PathBuf {
    parts.python.with_file_name("patronictl")
}

impl Patroni {
    /// What `patronictl -c <a node's patroni.yml> <arguments>` prints; an error of it is one of this.
    pub async fn ctl(&self, parts: &Parts, arguments: &[&str]) -> Result<String> {
        let node = self.nodes.first().context("there are no nodes")?;
        let mut command = parts.command(&patronictl(parts), std::path::Path::new("/"));
        command
            .arg("-c")
            .arg(node.config_file())
            .args(arguments)
            .stdin(Stdio::null());
        let output = run(&mut command.into(), BOUND).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(
            output.status.success(),
            "patronictl {}: {}\n{}{}",
            arguments.join(" "),
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
        Ok(text(&output.stdout))
    }

    /// `patronictl list`, as data.
    pub async fn ctl_list(&self, parts: &Parts) -> Result<Vec<Value>> {
        let list = self.ctl(parts, &["list", "--format", "json"]).await?;
        serde_json::from_str(&list).with_context(|| format!("patronictl list: {list}"))
    }
}
