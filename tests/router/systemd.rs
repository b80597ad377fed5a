//! The router as a service: what it tells its manager, the sockets it takes from it, and the units that are shipped.
//!
//! The tests play systemd: they listen where `NOTIFY_SOCKET` says and pass sockets as `LISTEN_FDS` does. bash stands in
//! for systemd's last step, in which a process that knows its own number becomes the service.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use trunkline_support::http;
use trunkline_support::units;
use trunkline_support::wait::until;
use trunkline_support::workdir::WorkDir;

use crate::client::{Answer, Client, lands_on};
use crate::stand::{BINARY, Plan, SOON, Stand, on};

/// Becomes the service, with the sockets that are its standard input and output as the descriptors 3 and 4.
pub(crate) const SHIM: &str =
    "exec 3<&0 4<&1 0</dev/null 1>&2; export LISTEN_PID=$$; exec \"$0\" \"$@\"";

/// A service manager that holds a socket named `write` and one with a name of its own.
struct Manager {
    notify: UnixDatagram,
    path: PathBuf,
    write: TcpListener,
    stats: TcpListener,
    heard: Vec<String>,
}

impl Manager {
    fn new(stand: &Stand) -> Result<Self> {
        let folder = stand.state();
        std::fs::create_dir_all(&folder)?;
        let path = folder.join("notify");
        let notify = UnixDatagram::bind(&path)?;
        notify.set_nonblocking(true)?;
        let ip = stand.write().ip();
        Ok(Self {
            notify,
            path,
            write: TcpListener::bind((ip, 6000))?,
            stats: TcpListener::bind((ip, 6001))?,
            heard: Vec::new(),
        })
    }

    /// Starts the router in place of the stand's own.
    async fn start(&self, stand: &mut Stand, more: &str) -> Result<()> {
        let mut command = Command::new("bash");
        command
            .args(["-c", SHIM, BINARY])
            .env("NOTIFY_SOCKET", &self.path)
            .env("LISTEN_FDS", "2")
            .env("LISTEN_FDNAMES", "write:trunkline")
            .env("WATCHDOG_USEC", "2000000");
        let sockets = [self.write.try_clone()?, self.stats.try_clone()?];
        let [input, output] = sockets.map(|socket| Stdio::from(OwnedFd::from(socket)));
        let config = std::fs::read_to_string(stand.router.file())?;
        let (before, after) = config.split_once("stats: {bind: \"").context("no stats")?;
        let (_, after) = after.split_once('"').context("no stats address")?;
        let stats = self.stats()?;
        let config = format!("{before}stats: {{bind: \"{stats}\"{after}{more}");
        stand
            .restart_router_as(command, [input, output], &config, stats)
            .await
    }

    fn write(&self) -> Result<SocketAddr> {
        Ok(self.write.local_addr()?)
    }

    fn stats(&self) -> Result<SocketAddr> {
        Ok(self.stats.local_addr()?)
    }

    /// Waits until the router has said `words`, and returns the whole message. What came before is forgotten.
    async fn hears(&mut self, words: &str) -> Result<String> {
        until(&format!("the manager hears {words:?}"), SOON, async || {
            let mut buffer = [0; 4096];
            while let Ok(length) = self.notify.recv(&mut buffer) {
                let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
                self.heard.push(message);
            }
            match self
                .heard
                .iter()
                .position(|message| message.contains(words))
            {
                Some(place) => Ok(self.heard.drain(..=place).next_back().unwrap_or_default()),
                None => bail!("it heard {:?}", self.heard),
            }
        })
        .await
    }
}

#[tokio::test]
async fn the_manager_is_told_of_readiness_the_primary_reloads_and_the_end() -> Result<()> {
    on(Plan::default(), async |stand| {
        let mut manager = Manager::new(stand)?;
        manager.start(stand, "").await?;
        manager.hears("READY=1").await?;
        manager.hears("primary pg-1").await?;
        stand.cluster.promote("pg-2").await?;
        manager.hears("primary pg-2").await?;
        let alive = manager.hears("WATCHDOG=1").await?;
        ensure!(alive.contains("STATUS="), "{alive}");

        stand.router.process().hang_up()?;
        let reloading = manager.hears("RELOADING=1").await?;
        ensure!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
        manager.hears("READY=1").await?;
        std::fs::write(stand.router.file(), "cluster: {}\n")?;
        stand.router.process().hang_up()?;
        manager.hears("RELOADING=1").await?;
        let ready = manager.hears("READY=1").await?;
        ensure!(
            ready.contains("the last configuration was refused"),
            "{ready}"
        );

        let (mut session, _) = Client::login(manager.write()?).await?;
        stand.router.process().ask_to_end()?;
        let stopping = manager.hears("STOPPING=1").await?;
        ensure!(stopping.contains("STATUS=draining"), "{stopping}");
        session.echo(b"drained, not cut").await
    })
    .await
}

#[tokio::test]
async fn passed_sockets_win_over_bind_and_no_connect_is_refused_while_the_router_restarts()
-> Result<()> {
    on(Plan::default(), async |stand| {
        let manager = Manager::new(stand)?;
        let bound = stand.write();
        manager.start(stand, "").await?;
        // One by its listener's name, one by its address.
        ensure!(lands_on(manager.write()?).await? == "pg-1");
        ensure!(http::get(manager.stats()?, "/healthz").await?.status == 200);
        ensure!(
            tokio::net::TcpStream::connect(bound).await.is_err(),
            "the address in the file is open too"
        );
        stand.router.process().kill()?;
        let mut waiting = Client::ask(manager.write()?).await?;
        ensure!(
            waiting.waits(Duration::from_millis(200)).await,
            "nobody could have answered"
        );
        manager.start(stand, "").await?;
        let answer = waiting.answer().await?;
        ensure!(answer == Answer::Served("pg-1".to_owned()), "{answer:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_reload_keeps_a_passed_socket_and_tells_of_one_that_nobody_answers_on() -> Result<()> {
    on(Plan::default(), async |stand| {
        let mut manager = Manager::new(stand)?;
        manager.start(stand, "").await?;
        manager.hears("READY=1").await?;
        let (mut session, _) = Client::login(manager.write()?).await?;
        let good = std::fs::read_to_string(stand.router.file())?;
        let line = good.lines().find(|line| line.contains(" write:"));
        let without = good.replace(&format!("{}\n", line.context("no write listener")?), "");
        std::fs::write(stand.router.file(), without)?;
        stand.router.process().hang_up()?;
        stand
            .logged("nobody answers on a socket that the service manager opened")
            .await?;
        session.echo(b"going on").await?;
        let mut waiting = Client::ask(manager.write()?).await?;
        std::fs::write(stand.router.file(), good)?;
        stand.router.process().hang_up()?;
        let answer = waiting.answer().await?;
        ensure!(answer == Answer::Served("pg-1".to_owned()), "{answer:?}");
        session.echo(b"all the time").await
    })
    .await
}

/// The shipped unit of that name, run by the router under test.
fn unit(name: &str, folder: &Path) -> Result<PathBuf> {
    units::unit(name, "/usr/bin/trunkline", BINARY, folder)
}

#[test]
fn systemd_has_nothing_to_say_about_the_shipped_units() -> Result<()> {
    let folder = WorkDir::new()?;
    let units = [
        unit("trunkline.service", folder.path())?,
        unit("trunkline.socket", folder.path())?,
    ];
    units::verify(&units)
}

#[test]
fn the_shipped_service_can_get_its_account_and_never_gives_up_starting() -> Result<()> {
    let folder = WorkDir::new()?;
    let text = std::fs::read_to_string(unit("trunkline.service", folder.path())?)?;
    // systemd refuses an account of its own making whose name is a group's already.
    let groups = text.lines().filter_map(|line| {
        let (_, after) = line.split_once("groupadd --system ")?;
        after.split([' ', ';']).next()
    });
    let groups: Vec<&str> = groups.collect();
    ensure!(
        !groups.is_empty() && !groups.contains(&"trunkline"),
        "{groups:?}"
    );
    ensure!(
        text.contains("DynamicUser=yes"),
        "an account of another kind"
    );
    let unit = text.split("\n[Service]\n").next().unwrap_or_default();
    ensure!(unit.contains("\nStartLimitIntervalSec=0\n"), "{unit}");
    Ok(())
}
