//! `make demo`: a real cluster and the router before it, on loopback, from one command.
//!
//! Everything it starts ends with it, and nothing else does: see `trunkline_support::workdir`.
#![allow(clippy::print_stdout, reason = "showing is what this program is for")]

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use trunkline_support::patroni::Settings;
use trunkline_support::ports;
use trunkline_support::router::{self, Ports, Router};
use trunkline_support::stand::Stand;

mod check;
mod vanished;
mod view;

/// Shows a trunkline binary before a real cluster: three etcd members and three nodes.
#[derive(Debug, Parser)]
struct Arguments {
    /// The router to show.
    #[arg(long, default_value = "target/debug/trunkline")]
    router: PathBuf,
    /// The agent that runs the nodes; Patroni does if none is named.
    #[arg(long)]
    agent: Option<PathBuf>,
    /// Check it unattended instead of showing it.
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Dropping the demo halfway is its orderly end: whatever it had started ends with it.
    let ending = tokio::select! {
        ending = demo(&arguments) => ending,
        interrupted = interruption() => interrupted.map(|()| {
            println!("\ndemo: everything it started has ended");
            if arguments.check { Verdict::Off } else { Verdict::Fine }
        }),
    };
    match ending {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Off) => ExitCode::FAILURE,
        Err(failure) => {
            println!("demo: {failure:#}");
            ExitCode::FAILURE
        }
    }
}

/// How the demo went.
enum Verdict {
    Fine,
    /// A client saw what none should see; it has been said.
    Off,
}

async fn demo(arguments: &Arguments) -> Result<Verdict> {
    let ports = chosen_ports()?;
    let settings = settings(arguments.agent.as_deref());
    let runner = match &arguments.agent {
        Some(_) => "trunkline-agent",
        None => "Patroni",
    };
    println!("demo: starting three etcd members and three nodes run by {runner} …");
    let mut stand = match arguments.agent {
        // The check begins while two of the nodes are not there yet.
        Some(_) if arguments.check => Stand::begin(settings).await?,
        Some(_) | None => Stand::start(settings).await?,
    };
    let mut router = start_router(&arguments.router, ports, &stand).await?;
    if arguments.check {
        let mut faults = check::run(&mut stand, &mut router).await?;
        drop((router, stand));
        if let Some(agent) = &arguments.agent {
            faults.extend(vanished::run(&arguments.router, agent).await?);
        }
        return Ok(check::verdict(&faults));
    }
    view::things_to_try(&stand, &router)?;
    view::watch(&mut router, std::io::stdout().is_terminal()).await
}

/// Our agents have no synchronous mode yet.
fn settings(agent: Option<&Path>) -> Settings {
    match agent {
        Some(agent) => Settings::default().run_by(agent),
        None => Settings {
            synchronous_mode: true,
            ..Settings::default()
        },
    }
}

async fn start_router(binary: &Path, ports: Ports, stand: &Stand) -> Result<Router> {
    let config = router::config(
        &stand.patroni.settings().scope,
        &stand.etcd.endpoints(),
        &ports,
    );
    Router::start("router", binary, &config, ports, &stand.workdir).await
}

/// The documented ports on 127.0.0.1, or those the environment names; all of them free.
fn chosen_ports() -> Result<Ports> {
    Ok(Ports {
        write: chosen_port("WRITE_PORT", 5000)?,
        read: chosen_port("READ_PORT", 5001)?,
        sync: chosen_port("SYNC_PORT", 5002)?,
        stats: chosen_port("STATS_PORT", 7000)?,
    })
}

fn chosen_port(variable: &str, documented: u16) -> Result<SocketAddr> {
    let port = match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{variable}={text} is no port number"))?,
        Err(_unset) => documented,
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if let Err(error) = std::net::TcpListener::bind(address) {
        let holder = ports::listener(port).map_or_else(String::new, |who| format!(" by {who}"));
        bail!(
            "port {port} is taken{holder} ({error}): end that, or choose another port with \
             {variable}, as in `{variable}={} make demo`",
            port.saturating_add(10_000)
        );
    }
    Ok(address)
}

async fn interruption() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut hang_up = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.context("listening for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
        _ = hang_up.recv() => Ok(()),
    }
}
