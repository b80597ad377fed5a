//! A real PostgreSQL, and pgbench as its client: what users measure with.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trunkline_support::postgres::{DATABASE, Sql, USER, run};
use trunkline_support::process::Process;
use trunkline_support::wait::until;

use crate::stand::Stand;

/// Its number in its address.
const HOST: u8 = 91;
const START: Duration = Duration::from_secs(60);
const FILL: Duration = Duration::from_secs(300);
/// Beside the time it works.
const LEEWAY: Duration = Duration::from_secs(60);
/// Nothing is measured here that a disk has to do with, and nothing may begin by itself.
const SETTINGS: [&str; 8] = [
    "max_connections=100",
    "shared_buffers=256MB",
    "fsync=off",
    "synchronous_commit=off",
    "autovacuum=off",
    "checkpoint_timeout=1h",
    "max_wal_size=4GB",
    "unix_socket_directories=",
];

/// What pgbench does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    SelectPrepared,
    SelectSimple,
    TpcB,
    SelectPerConnection,
}

impl Script {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SelectPrepared => "pgbench",
            Self::SelectSimple => "pgbench-simple",
            Self::TpcB => "pgbench-tpcb",
            Self::SelectPerConnection => "pgbench-connect",
        }
    }

    pub(crate) const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::SelectPrepared => &["-S", "-M", "prepared"],
            Self::SelectSimple => &["-S", "-M", "simple"],
            Self::TpcB => &["-M", "prepared"],
            Self::SelectPerConnection => &["-S", "-C"],
        }
    }
}

/// A server of our own, with pgbench's tables.
#[derive(Debug)]
pub(crate) struct Postgres {
    process: Process,
    pub(crate) address: SocketAddr,
}

impl Postgres {
    pub(crate) async fn start(stand: &Stand, scale: u32) -> Result<Self> {
        let (parts, account) = (&stand.parts, stand.parts.account.as_ref());
        let data = stand.workdir.folder(&stand.name("postgres"), account)?;
        let mut command = parts.command(&parts.postgresql("initdb"), &data);
        command.args(["--no-sync", "--auth=trust", "--username", USER, "-D"]);
        command.arg(&data);
        let mut initdb = Process::start("initdb", &mut command, account, &stand.workdir)?;
        let status = initdb.wait(START).await?;
        ensure!(status.success(), "initdb: {status}\n{}", initdb.log_tail());

        let address = stand.network.free(HOST, 5432)?;
        let mut command = parts.command(&parts.postgresql("postgres"), &data);
        command.arg("-D").arg(&data);
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.args(["-c", &format!("listen_addresses={host}")]);
        command.args(["-p", &port]);
        let mut process = Process::start("postgres", &mut command, account, &stand.workdir)?;
        let up = until("PostgreSQL lets us in", START, async || {
            process.expect_running()?;
            Sql::connect(address, Duration::from_secs(2)).await
        })
        .await;
        let sql = up.map_err(|failure| process.with_log(&failure))?;
        let scale = scale.to_string();
        let mut fill = pgbench(stand, address, &["-i", "-q", "-s", &scale]);
        let output = run(&mut fill, FILL).await?;
        ensure!(
            output.status.success(),
            "filling pgbench's tables: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        sql.run("CHECKPOINT").await?;
        Ok(Self { process, address })
    }

    /// Ends it in order.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.process.interrupt()?;
        self.process.wait(LEEWAY).await?;
        Ok(())
    }
}

/// What one run of pgbench told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) transactions: f64,
    pub(crate) per_second: f64,
}

/// Runs it for `seconds` at `address`.
pub(crate) async fn work(
    stand: &Stand,
    address: SocketAddr,
    script: Script,
    clients: usize,
    seconds: u64,
) -> Result<Told> {
    let (clients, time) = (clients.to_string(), seconds.to_string());
    let mut command = pgbench(stand, address, script.flags());
    command.args(["-n", "-c", &clients, "-j", "2", "-T", &time]);
    let output = run(&mut command, Duration::from_secs(seconds) + LEEWAY).await?;
    let (told, complaints) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.success(),
        "pgbench: {}\n{told}{complaints}",
        output.status
    );
    Told::parse(&told).with_context(|| format!("what pgbench told is new to us:\n{told}"))
}

impl Told {
    /// Nothing where a transaction failed, or where the words are others.
    fn parse(text: &str) -> Option<Self> {
        let after = |words: &str| -> Option<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(words))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let failed = after("number of failed transactions: ").unwrap_or(0.0);
        (failed == 0.0).then_some(())?;
        Some(Self {
            transactions: after("number of transactions actually processed: ")?,
            per_second: after("tps = ")?,
        })
    }
}

fn pgbench(stand: &Stand, address: SocketAddr, flags: &[&str]) -> tokio::process::Command {
    let program = stand.parts.postgresql("pgbench");
    let mut command: Command = stand.parts.command(&program, stand.workdir.path());
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    command
        .args(["-h", &host, "-p", &port, "-U", USER])
        .args(flags)
        .stdin(Stdio::null());
    let mut command = tokio::process::Command::from(command);
    command.arg(DATABASE).kill_on_drop(true);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "transaction type: <builtin: select only>\nscaling factor: 10\n\
        number of transactions actually processed: 51234\n\
        number of failed transactions: 0 (0.000%)\nlatency average = 0.6 ms\n\
        initial connection time = 21.1 ms\ntps = 25671.25 (without initial connection time)\n";

    #[test]
    fn what_pgbench_tells_is_understood() {
        let told = Told::parse(TOLD).unwrap();
        assert_eq!((told.transactions, told.per_second), (51_234.0, 25_671.25));
    }

    #[test]
    fn a_run_with_failed_transactions_is_no_run() {
        let failed = TOLD.replace("transactions: 0 (", "transactions: 3 (");
        assert_eq!(Told::parse(&failed), None);
        assert_eq!(Told::parse("tps = 5"), None);
    }
}
