//! The agent and whoever manages it as a service: what it tells over `NOTIFY_SOCKET`, and when.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use trunkline_support::etcd::Etcd;
use trunkline_support::http;
use trunkline_support::parts::Parts;
use trunkline_support::patroni::{Node, Patroni, Program, Settings};
use trunkline_support::ports::Loopback;
use trunkline_support::process::Process;
use trunkline_support::wait::until;
use trunkline_support::workdir::WorkDir;

use crate::BINARY;

const BOUND: Duration = Duration::from_secs(60);

/// One node and its etcd, and what tells the service manager's words.
struct Stand {
    cluster: Patroni,
    etcd: Etcd,
    parts: Parts,
    _network: Loopback,
    workdir: Arc<WorkDir>,
}

impl Stand {
    async fn new() -> Result<Self> {
        let (parts, workdir) = (Parts::find()?, Arc::new(WorkDir::new()?));
        let network = Loopback::lease()?;
        let etcd = Etcd::start(1, &parts, &network, &workdir).await?;
        let settings = Settings {
            nodes: 1,
            ttl: 5,
            loop_wait: 1,
            retry_timeout: 1,
            ..Settings::default()
        };
        let settings = settings.run_by(BINARY.as_ref());
        let cluster = Patroni::prepare(settings, &etcd.endpoints(), &parts, &network, &workdir)?;
        Ok(Self {
            cluster,
            etcd,
            parts,
            _network: network,
            workdir,
        })
    }

    fn node(&self) -> Result<&Node> {
        self.cluster.nodes().first().context("there is no node")
    }

    /// The agent as a service manager starts it.
    fn agent(&self, socket: &str) -> Result<Process> {
        let node = self.node()?;
        let Program::Ours(program) = node.program() else {
            bail!("it is run by {}", node.program().name())
        };
        let mut command: Command = self.parts.command(program, self.workdir.path());
        command.arg(node.config_file()).env("NOTIFY_SOCKET", socket);
        let account = self.parts.account.as_ref();
        Process::start("service", &mut command, account, &self.workdir)
    }

    async fn leads(&self) -> Result<()> {
        let rest = self.node()?.rest();
        until("it leads", BOUND, async || {
            let answer = http::get(rest, "/primary").await?;
            ensure!(answer.status == 200, "{}", answer.body);
            Ok(())
        })
        .await
    }
}

/// What was told, one datagram after the other; `None` if nothing is there.
fn heard(socket: &UnixDatagram) -> Result<Option<String>> {
    let mut bytes = [0; 4096];
    match socket.recv(&mut bytes) {
        Ok(length) => Ok(Some(String::from_utf8(bytes[..length].to_vec())?)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn hears(socket: &UnixDatagram, line: &str) -> Result<String> {
    until(&format!("it tells {line}"), BOUND, async || {
        let told = heard(socket)?.context("nothing was told")?;
        ensure!(told.lines().any(|it| it == line), "{told:?}");
        let status = told.lines().any(|it| it.starts_with("STATUS="));
        ensure!(status, "no status: {told:?}");
        Ok(told)
    })
    .await
}

#[tokio::test]
async fn the_service_manager_hears_when_it_serves_reloads_and_stops_and_postgresql_knows_nothing_of_it()
-> Result<()> {
    let mut stand = Stand::new().await?;
    let path = stand.workdir.path().join("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_nonblocking(true)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777))?;
    let path = path.to_str().context("a path that is no text")?.to_owned();

    // Without etcd it is not known whether this node may run at all.
    stand.etcd.freeze()?;
    let mut agent = stand.agent(&path)?;
    until("it waits", BOUND, async || {
        let log = agent.log()?;
        ensure!(log.contains("waiting on etcd"), "{log}");
        Ok(())
    })
    .await?;
    ensure!(
        heard(&socket)?.is_none(),
        "it told something before it served"
    );
    stand.etcd.thaw()?;
    hears(&socket, "READY=1").await?;
    let answer = http::get(stand.node()?.rest(), "/liveness").await?;
    ensure!(answer.status == 200, "it does not serve: {}", answer.status);

    stand.leads().await?;
    let postmaster = stand.node()?.postmaster()?.as_raw_nonzero();
    let environment = std::fs::read(format!("/proc/{postmaster}/environ"))?;
    let mut variables = environment.split(|byte| *byte == 0);
    ensure!(
        variables.any(|it| it.starts_with(b"PATH=")),
        "no environment"
    );
    let ours = |it: &[u8]| it.starts_with(b"NOTIFY_SOCKET=") || it.starts_with(b"PATRONI_");
    ensure!(
        !environment.split(|byte| *byte == 0).any(ours),
        "{environment:?}"
    );

    agent.hang_up()?;
    let told = hears(&socket, "RELOADING=1").await?;
    let since = told
        .lines()
        .find_map(|it| it.strip_prefix("MONOTONIC_USEC="));
    ensure!(
        since.is_some_and(|it| it.parse::<u64>().is_ok()),
        "{told:?}"
    );
    hears(&socket, "READY=1").await?;

    agent.ask_to_end()?;
    hears(&socket, "STOPPING=1").await?;
    let status = agent.wait(BOUND).await?;
    ensure!(status.code() == Some(0), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_manager_at_an_abstract_address_is_told_and_one_that_is_deaf_or_gone_keeps_nobody_waiting()
-> Result<()> {
    let stand = Stand::new().await?;
    let name = format!("trunkline-{}-notify", std::process::id());
    let address = SocketAddr::from_abstract_name(&name)?;
    let socket = UnixDatagram::bind_addr(&address)?;
    socket.set_nonblocking(true)?;
    let mut agent = stand.agent(&format!("@{name}"))?;
    hears(&socket, "READY=1").await?;
    stand.leads().await?;

    // Nobody takes its words any more: the queue is full.
    let stuffer = UnixDatagram::unbound()?;
    stuffer.set_nonblocking(true)?;
    while stuffer.send_to_addr(b"X=1", &address).is_ok() {}
    agent.hang_up()?;
    until("it gives up on it", BOUND, async || {
        let log = agent.log()?;
        ensure!(log.contains("the service manager does not listen"), "{log}");
        Ok(())
    })
    .await?;
    stand.leads().await?;
    let status = agent.terminate(BOUND).await?;
    ensure!(status.code() == Some(0), "{status}");

    for nobody in ["/nonexistent/notify", "no address at all", "@"] {
        let mut agent = stand.agent(nobody)?;
        stand.leads().await.context(nobody)?;
        let status = agent.terminate(BOUND).await?;
        ensure!(status.code() == Some(0), "{nobody}: {status}");
    }
    Ok(())
}
