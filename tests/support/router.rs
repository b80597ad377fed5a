//! The `trunkline` binary, met as an operator meets it: a file, a command line, ports, a stats page.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::ca::Tls;
use crate::http;
use crate::network::{Network, Place};
use crate::process::Process;
use crate::wait::until;
use crate::workdir::WorkDir;

/// The router's number in its address.
pub(crate) const HOST: u8 = 21;
/// How many lines of its log a failure brings along.
const EVENTS: usize = 80;
const START: Duration = Duration::from_secs(20);

/// Where the router listens.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// `to: primary`
    pub write: SocketAddr,
    /// `to: replicas`
    pub read: SocketAddr,
    /// `to: sync`
    pub sync: SocketAddr,
    /// The stats page.
    pub stats: SocketAddr,
}

impl Ports {
    /// The documented ports, on an address of the network. Each router of a test takes its own
    /// `number`, since a second one may start before the first has let go of its ports.
    pub fn on(network: &dyn Network, number: u8) -> Result<Self> {
        let host = HOST + number;
        Ok(Self {
            write: network.free(host, 5000)?,
            read: network.free(host, 5001)?,
            sync: network.free(host, 5002)?,
            stats: network.free(host, 7000)?,
        })
    }
}

/// The configuration for a cluster that etcd knows as `scope`.
#[must_use]
pub fn config(scope: &str, etcd: &[SocketAddr], ports: &Ports) -> String {
    let hosts: Vec<String> = etcd.iter().map(ToString::to_string).collect();
    format!(
        "cluster:\n  scope: {scope}\n  namespace: /service/\n  etcd3: {{hosts: [{}]}}\n\
         listeners:\n  write: {{bind: \"{}\", to: primary, hold: 30s}}\n  \
         read: {{bind: \"{}\", to: replicas}}\n  sync: {{bind: \"{}\", to: sync}}\n\
         stats: {{bind: \"{}\"}}\n",
        hosts.join(", "),
        ports.write,
        ports.read,
        ports.sync,
        ports.stats,
    )
}

/// That configuration with the way into an etcd and into REST APIs that speak TLS.
#[must_use]
pub fn with_tls(config: &str, etcd: &Tls, rest: &Tls) -> String {
    let material = |tls: &Tls| {
        format!(
            "cacert: {}, cert: {}, key: {}",
            tls.ca.display(),
            tls.client.certificate.display(),
            tls.client.key.display()
        )
    };
    let rest = format!("  restapi: {{{}}}\nlisteners:\n", material(rest));
    config
        .replace(
            "etcd3: {",
            &format!("etcd3: {{protocol: https, {}, ", material(etcd)),
        )
        .replacen("listeners:\n", &rest, 1)
}

/// A running router.
#[derive(Debug)]
pub struct Router {
    process: Process,
    ports: Ports,
    file: PathBuf,
}

impl Router {
    /// Writes `config` to a file, starts `binary` with it and waits until the process is up:
    /// its stats port answers, whether or not it knows a target yet.
    pub async fn start(
        name: &str,
        binary: &Path,
        config: &str,
        ports: Ports,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        let mut router = Self::launch(name, binary, config, ports, workdir)?;
        router.wait_up().await?;
        Ok(router)
    }

    /// The same without waiting.
    pub fn launch(
        name: &str,
        binary: &Path,
        config: &str,
        ports: Ports,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        Self::launch_at(&Place::default(), name, binary, config, ports, workdir)
    }

    /// The same after `shell` has prepared what the process finds: its limits, its file system.
    pub fn launch_in(
        shell: &str,
        name: &str,
        binary: &Path,
        config: &str,
        ports: Ports,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        let mut command = Command::new("unshare");
        let script = format!("set -e; {shell}; exec \"$0\" \"$@\"");
        command.args(["--mount", "sh", "-c", &script]).arg(binary);
        command.current_dir(workdir.path());
        Self::begin(name, command, config, ports, workdir, |command| {
            Process::start(name, command, None, workdir)
        })
    }

    /// The same on a host of a network.
    pub fn launch_at(
        place: &Place,
        name: &str,
        binary: &Path,
        config: &str,
        ports: Ports,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        ensure!(
            binary.is_file(),
            "there is no router at {}: build it first",
            binary.display()
        );
        let command = Command::new(binary);
        Self::begin(name, command, config, ports, workdir, |command| {
            Process::start_at(place, name, command, None, workdir)
        })
    }

    /// The same by way of `command`, which is given the file and becomes the router, with these for standard input
    /// and output.
    pub fn launch_by(
        name: &str,
        command: Command,
        streams: [Stdio; 2],
        config: &str,
        ports: Ports,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        Self::begin(name, command, config, ports, workdir, |command| {
            Process::start_passing(name, command, streams, workdir)
        })
    }

    /// Writes the file and has `start` start `command` with it.
    fn begin(
        name: &str,
        mut command: Command,
        config: &str,
        ports: Ports,
        workdir: &WorkDir,
        start: impl FnOnce(&mut Command) -> Result<Process>,
    ) -> Result<Self> {
        let file = workdir.path().join(format!("{name}.yml"));
        std::fs::write(&file, config).with_context(|| format!("writing {}", file.display()))?;
        let process = start(command.arg("-f").arg(&file))?;
        Ok(Self {
            process,
            ports,
            file,
        })
    }

    /// Waits until `/healthz` says 200.
    pub async fn wait_up(&mut self) -> Result<()> {
        let stats = self.ports.stats;
        let up = until("the router is up", START, async || {
            self.process.expect_running()?;
            let answer = http::get(stats, "/healthz").await?;
            ensure!(answer.status == 200, "/healthz says {}", answer.status);
            Ok(())
        });
        up.await.map_err(|failure| self.process.with_log(&failure))
    }

    /// Waits until each of `listeners` has a target.
    pub async fn wait_ready(&mut self, listeners: &[&str], bound: Duration) -> Result<()> {
        for listener in listeners {
            let what = format!("listener {listener} has a target");
            let ready = until(&what, bound, async || {
                self.process.expect_running()?;
                let answer = http::get(self.ports.stats, &format!("/ready/{listener}")).await?;
                match answer.status {
                    200 => Ok(()),
                    status => bail!("/ready/{listener} says {status} {}", answer.body.trim()),
                }
            });
            ready
                .await
                .map_err(|failure| self.process.with_log(&failure))?;
        }
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Its configuration file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The failure, with the end of the router's log attached.
    #[must_use]
    pub fn with_log(&self, failure: &anyhow::Error) -> anyhow::Error {
        self.process.with_log(failure)
    }

    /// The failure, with the last of what the router decided attached: its log without the sessions.
    pub fn with_events(&self, failure: &anyhow::Error) -> Result<anyhow::Error> {
        let log = self.process.log()?;
        let events: Vec<&str> = log
            .lines()
            .filter(|line| !line.contains("session ended"))
            .collect();
        let last = events.len().saturating_sub(EVENTS);
        let told = events[last..].join("\n");
        Ok(anyhow::anyhow!(
            "{failure:#}\n--- what the router decided last:\n{told}"
        ))
    }

    /// Its process, to signal it or to ask whether it runs.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// `/stats.json`.
    pub async fn stats(&self) -> Result<Value> {
        http::get_json(self.ports.stats, "/stats.json").await
    }

    /// What `/stats.json` says of one listener.
    pub async fn listener(&self, name: &str) -> Result<Value> {
        let stats = self.stats().await?;
        let listeners = stats["clusters"][0]["listeners"].as_array();
        let named = |listener: &&Value| listener["name"] == name;
        let found = listeners.and_then(|listeners| listeners.iter().find(named));
        found
            .cloned()
            .with_context(|| format!("/stats.json has no listener {name}: {stats}"))
    }

    /// Where a listener sends new sessions: the members and their addresses.
    pub async fn targets(&self, listener: &str) -> Result<BTreeMap<String, String>> {
        let listener = self.listener(listener).await?;
        let targets = listener["targets"]
            .as_array()
            .context("a listener without targets")?;
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        Ok(targets
            .iter()
            .map(|target| (text(&target["member"]), text(&target["address"])))
            .collect())
    }

    /// The alarms of its cluster.
    pub async fn alarms(&self) -> Result<Vec<String>> {
        let stats = self.stats().await?;
        let alarms = stats["clusters"][0]["alarms"]
            .as_array()
            .context("a cluster without alarms")?;
        Ok(alarms.iter().map(ToString::to_string).collect())
    }

    /// `/metrics`.
    pub async fn metrics(&self) -> Result<String> {
        let answer = http::get(self.ports.stats, "/metrics").await?;
        ensure!(answer.status == 200, "/metrics says {}", answer.status);
        Ok(answer.body)
    }

    /// SIGTERM, and its exit status.
    pub async fn stop(mut self, bound: Duration) -> Result<ExitStatus> {
        self.process.terminate(bound).await
    }
}
