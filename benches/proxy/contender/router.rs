//! trunkline before one member: its keys in a real etcd and its REST API are as a leader's, so that the write port is
//! proven as in production; where its PostgreSQL should be is the target of the measurement.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use trunkline_support::fake_cluster::FakeCluster;
use trunkline_support::fake_member::Rest;
use trunkline_support::postgres::run;
use trunkline_support::router::{Ports, Router, config};

use crate::options::Build;
use crate::stand::Stand;

const MEMBER: &str = "pg-1";
/// Renewed all the time; long enough for a machine that is busy with a measurement.
const LEASE: i64 = 30;
/// Routers take turns with so many addresses: ports are the same everywhere, and no more than a few run at once.
const HOSTS: u32 = 30;
const START: Duration = Duration::from_secs(20);

/// A router that has a target; ended on drop.
#[derive(Debug)]
pub(crate) struct Routed {
    router: Router,
    _cluster: FakeCluster,
}

impl Routed {
    pub(crate) async fn start(build: &Build, stand: &Stand, target: SocketAddr) -> Result<Self> {
        let endpoint = stand.endpoint()?;
        let scope = stand.name("bench");
        let mut cluster =
            FakeCluster::start(&scope, endpoint, &stand.network, &[MEMBER], LEASE).await?;
        let member = cluster.member(MEMBER)?;
        member.say(Rest::Primary).await?;
        let mut key: Value =
            serde_json::from_str(&member.key("primary")).context("a member's key")?;
        key["conn_url"] = Value::from(format!("postgres://{target}/postgres"));
        let name = format!("members/{MEMBER}");
        cluster.put(&name, &key.to_string()).await?;
        cluster.lock(MEMBER).await?;

        let ports = Ports::on(&stand.network, stand.turn(HOSTS)?)?;
        let state = stand.workdir.folder(&format!("{scope}-state"), None)?;
        // HAProxy is run without a log too: a line a session would be compared with none.
        let config = config(&scope, &[endpoint], &ports)
            + &format!("log: {{level: warn}}\nstate: {}\n", state.display());
        let mut command = Command::new(&build.path);
        for variable in &build.env {
            command.env(&variable.key, &variable.value);
        }
        let log = std::fs::File::create(stand.workdir.path().join(format!("{scope}.out")))
            .context("making a file for the router's output")?;
        let streams = [Stdio::null(), log.into()];
        let mut router =
            Router::launch_by(&scope, command, streams, &config, ports, &stand.workdir)?;
        router.wait_up().await?;
        router.wait_ready(&["write"], START).await?;
        Ok(Self {
            router,
            _cluster: cluster,
        })
    }

    pub(crate) fn write(&self) -> SocketAddr {
        self.router.ports().write
    }

    pub(crate) fn pid(&mut self) -> u32 {
        self.router.process().pid()
    }

    pub(crate) fn with_log(&self, failure: &anyhow::Error) -> anyhow::Error {
        self.router.with_log(failure)
    }
}

/// What the binary says it is.
pub(crate) async fn version(binary: &Path) -> Result<String> {
    let mut command = Command::new(binary);
    command.arg("--version");
    let output = run(&mut command.into(), START).await?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(text)
}
