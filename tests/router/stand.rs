//! What a test stands on: fake members, their keys in etcd, and a router of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::OnceCell;
use trunkline_support::etcd::Etcd;
use trunkline_support::fake_cluster::FakeCluster;
use trunkline_support::fake_member::FakeMember;
use trunkline_support::parts::Parts;
use trunkline_support::ports::Loopback;
use trunkline_support::router::{Ports, Router};
use trunkline_support::wait::until;
use trunkline_support::workdir::WorkDir;

/// The router under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_trunkline");
/// Anything that is going to happen has happened by then, on a machine that is busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// How many stands there were.
static STANDS: AtomicU32 = AtomicU32::new(1);

/// What a stand is to be like.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Who leads at the start.
    pub(crate) leader: Option<&'static str>,
    /// How long the leader's lease is.
    pub(crate) ttl: i64,
    /// The scope the router is told, where it is not the cluster's.
    pub(crate) scope: Option<&'static str>,
    /// An etcd of its own, to be broken.
    pub(crate) own_etcd: bool,
    /// What stands in the write listener's section beside `bind` and `to`.
    pub(crate) write: &'static str,
    /// The same for the read listener.
    pub(crate) read: &'static str,
    /// Whether the read listener routes to any member, not to replicas alone.
    pub(crate) any: bool,
    /// What the shell does before it becomes the router, in a mount namespace and the test's directory.
    pub(crate) shell: &'static str,
    /// What stands in the cluster's section beside `scope` and `etcd3`.
    pub(crate) in_cluster: &'static str,
    /// Other sections of the configuration.
    pub(crate) other: &'static str,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            leader: Some("pg-1"),
            ttl: 15,
            scope: None,
            own_etcd: false,
            write: "hold: 30s",
            read: "hold: 30s",
            any: false,
            shell: "",
            in_cluster: "",
            other: "drain: 30s",
        }
    }
}

/// Three fake members and a router.
pub(crate) struct Stand {
    pub(crate) cluster: FakeCluster,
    pub(crate) router: Router,
    etcd: Option<Etcd>,
    workdir: Arc<WorkDir>,
    pub(crate) network: Loopback,
}

impl Stand {
    async fn start(plan: Plan) -> Result<Self> {
        let network = Loopback::lease()?;
        let workdir = Arc::new(WorkDir::new()?);
        let (etcd, address) = if plan.own_etcd {
            let etcd = Etcd::start(1, &Parts::find()?, &network, &workdir).await?;
            let address = first(&etcd)?;
            (Some(etcd), address)
        } else {
            (None, shared_etcd().await?)
        };
        // A network may be leased again once its test is over; a scope is not.
        let scope = format!("fake-{}", STANDS.fetch_add(1, Ordering::Relaxed));
        let names = ["pg-1", "pg-2", "pg-3"];
        let mut cluster = FakeCluster::start(&scope, address, &network, &names, plan.ttl).await?;
        if let Some(leader) = plan.leader {
            cluster.promote(leader).await?;
        }
        let ports = Ports::on(&network, 0)?;
        let config = config(&plan, plan.scope.unwrap_or(&scope), address, &ports)
            + &format!("state: {}\n", workdir.folder("state", None)?.display());
        let binary = Path::new(BINARY);
        let router = if plan.shell.is_empty() {
            Router::launch("router", binary, &config, ports, &workdir)?
        } else {
            own_names(&workdir)?;
            Router::launch_in(plan.shell, "router", binary, &config, ports, &workdir)?
        };
        Ok(Self {
            cluster,
            router,
            etcd,
            workdir,
            network,
        })
    }

    pub(crate) fn write(&self) -> SocketAddr {
        self.router.ports().write
    }

    pub(crate) fn read(&self) -> SocketAddr {
        self.router.ports().read
    }

    pub(crate) fn sync(&self) -> SocketAddr {
        self.router.ports().sync
    }

    pub(crate) fn member(&self, name: &str) -> Result<&FakeMember> {
        self.cluster.member(name)
    }

    /// This stand's own etcd.
    pub(crate) fn etcd(&mut self) -> Result<&mut Etcd> {
        self.etcd.as_mut().context("this stand shares its etcd")
    }

    /// Where the router keeps what it knows.
    pub(crate) fn state(&self) -> PathBuf {
        self.workdir.path().join("state")
    }

    /// Writes the `/etc/hosts` of a router that was started with [`OWN_NAMES`]. Each line is an address and a name.
    pub(crate) fn names(&self, lines: &[String]) -> Result<()> {
        Ok(std::fs::write(
            self.workdir.path().join("hosts"),
            lines.join("\n") + "\n",
        )?)
    }

    /// Kills the router and starts it again.
    pub(crate) async fn restart_router(&mut self) -> Result<()> {
        let config = std::fs::read_to_string(self.router.file())?;
        let ports = self.router.ports();
        self.router.process().kill()?;
        self.router = Router::launch("again", Path::new(BINARY), &config, ports, &self.workdir)?;
        self.router.wait_up().await
    }

    /// Kills the router and has `command` become one, with these for standard input and output; its stats page is at
    /// `stats`.
    pub(crate) async fn restart_router_as(
        &mut self,
        command: Command,
        streams: [Stdio; 2],
        config: &str,
        stats: SocketAddr,
    ) -> Result<()> {
        let ports = Ports {
            stats,
            ..self.router.ports()
        };
        self.router.process().kill()?;
        self.router = Router::launch_by("service", command, streams, config, ports, &self.workdir)?;
        self.router.wait_up().await
    }

    /// Waits until the router's log has `words`.
    pub(crate) async fn logged(&mut self, words: &str) -> Result<()> {
        until(&format!("the log says {words:?}"), SOON, async || {
            let log = self.router.process().log()?;
            ensure!(log.contains(words), "it does not");
            Ok(())
        })
        .await
    }
}

/// Runs `test` on a stand of its own. A failure comes with the router's log; success includes that the router
/// still runs and nothing in it panicked.
pub(crate) async fn on(plan: Plan, test: impl AsyncFnOnce(&mut Stand) -> Result<()>) -> Result<()> {
    let mut stand = Stand::start(plan).await?;
    let outcome = async {
        stand.router.wait_up().await?;
        test(&mut stand).await?;
        let log = stand.router.process().log()?;
        ensure!(!log.contains("panicked"), "something panicked");
        Ok(())
    };
    let outcome: Result<()> = outcome.await;
    outcome.map_err(|failure| stand.router.with_log(&failure))
}

/// A plan's shell that gives the router an `/etc/hosts` of its own, and nobody else to ask for names.
pub(crate) const OWN_NAMES: &str =
    "mount --bind hosts /etc/hosts; mount --bind resolv.conf /etc/resolv.conf";

/// The files of [`OWN_NAMES`].
fn own_names(workdir: &WorkDir) -> Result<()> {
    let file = |name: &str| workdir.path().join(name);
    std::fs::write(file("hosts"), "")?;
    // Nobody listens there.
    let nobody = "nameserver 127.127.255.1\noptions timeout:1 attempts:1\n";
    Ok(std::fs::write(file("resolv.conf"), nobody)?)
}

fn config(plan: &Plan, scope: &str, etcd: SocketAddr, ports: &Ports) -> String {
    format!(
        "cluster:\n  scope: {scope}\n  etcd3: {{hosts: [\"{etcd}\"]}}\n{}\
         listeners:\n\
         \x20 write: {{bind: \"{}\", to: primary, {}}}\n\
         \x20 read: {{bind: \"{}\", to: {}, {}}}\n\
         \x20 sync: {{bind: \"{}\", to: sync, hold: 30s}}\n\
         stats: {{bind: \"{}\"}}\n{}\n",
        plan.in_cluster,
        ports.write,
        plan.write,
        ports.read,
        if plan.any { "any" } else { "replicas" },
        plan.read,
        ports.sync,
        ports.stats,
        plan.other,
    )
}

/// The etcd of all tests that do not break it. Its janitor outlives us and clears it away.
pub(crate) async fn shared_etcd() -> Result<SocketAddr> {
    static SHARED: OnceCell<(Etcd, Loopback)> = OnceCell::const_new();
    let start = async || -> Result<(Etcd, Loopback)> {
        let (network, workdir) = (Loopback::lease()?, Arc::new(WorkDir::new()?));
        let etcd = Etcd::start(1, &Parts::find()?, &network, &workdir).await?;
        Ok((etcd, network))
    };
    first(&SHARED.get_or_try_init(start).await?.0)
}

fn first(etcd: &Etcd) -> Result<SocketAddr> {
    etcd.endpoints()
        .first()
        .copied()
        .context("an etcd without members")
}
