//! HAProxy as a plain TCP proxy, in the variants that differ in speed: its default threads or one, splicing where it
//! thinks fit or always.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use trunkline_support::postgres::run;
use trunkline_support::process::Process;
use trunkline_support::wait::until;

use crate::stand::Stand;

/// Its number in its address.
const HOST: u8 = 61;
const START: Duration = Duration::from_secs(10);
/// Two descriptors a session and two for every fourth, for pipes, stay below the 20,000 that a machine may allow.
const MAXCONN: u32 = 6_000;

/// A way to run it.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    binary: PathBuf,
    threads: Threads,
    splice: Splice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threads {
    /// As many as it starts by itself: one a processor.
    Default,
    One,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Splice {
    Auto,
    Forced,
}

impl Variant {
    pub(crate) fn all(binary: &Path) -> Vec<Self> {
        let mut all = Vec::new();
        for threads in [Threads::Default, Threads::One] {
            for splice in [Splice::Auto, Splice::Forced] {
                all.push(Self {
                    binary: binary.to_owned(),
                    threads,
                    splice,
                });
            }
        }
        all
    }

    pub(crate) fn words(&self) -> &'static str {
        match (self.threads, self.splice) {
            (Threads::Default, Splice::Auto) => "auto",
            (Threads::Default, Splice::Forced) => "splice",
            (Threads::One, Splice::Auto) => "auto 1t",
            (Threads::One, Splice::Forced) => "splice 1t",
        }
    }

    pub(crate) const fn forces_splicing(&self) -> bool {
        matches!(self.splice, Splice::Forced)
    }

    /// Nothing but what a TCP proxy needs, no log, no checks, every `tune` setting as it comes.
    fn config(&self, bind: SocketAddr, target: SocketAddr) -> String {
        let threads = match self.threads {
            Threads::Default => "",
            Threads::One => "    nbthread 1\n",
        };
        let splice = match self.splice {
            Splice::Auto => "    option splice-auto\n",
            Splice::Forced => "    option splice-request\n    option splice-response\n",
        };
        format!(
            "global\n    maxconn {MAXCONN}\n{threads}\
             defaults\n    mode tcp\n    maxconn {MAXCONN}\n    timeout connect 10s\n    timeout client 1h\n    \
             timeout server 1h\n{splice}\
             listen bench\n    bind {bind}\n    server backend {target}\n"
        )
    }
}

/// Starts it before `target` and waits until it listens.
pub(crate) async fn start(
    variant: &Variant,
    stand: &Stand,
    target: SocketAddr,
) -> Result<(SocketAddr, Process)> {
    let bind = stand.network.free(HOST, 5000)?;
    let name = stand.name("haproxy");
    let file = stand.workdir.path().join(format!("{name}.cfg"));
    std::fs::write(&file, variant.config(bind, target))
        .with_context(|| format!("writing {}", file.display()))?;
    let mut command = stand.parts.command(&variant.binary, stand.workdir.path());
    command.arg("-db").arg("-f").arg(&file);
    let mut process = Process::start(&name, &mut command, None, &stand.workdir)?;
    let up = until("HAProxy listens", START, async || {
        process.expect_running()?;
        drop(tokio::net::TcpStream::connect(bind).await?);
        Ok(())
    })
    .await;
    up.map_err(|failure| process.with_log(&failure))?;
    Ok((bind, process))
}

/// What a binary says it is.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) line: String,
    pub(crate) number: String,
}

pub(crate) async fn version(binary: &Path) -> Result<Version> {
    let mut command = Command::new(binary);
    command.arg("-v");
    let output = run(&mut command.into(), START).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    // "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/"
    let line = text.lines().next().unwrap_or_default();
    let line = line.split_once(" - ").map_or(line, |(line, _)| line);
    let number = line.split_whitespace().nth(2);
    let number = number.with_context(|| format!("{} -v says {line:?}", binary.display()))?;
    let digits = number.split(['-', '+']).next().unwrap_or(number);
    Ok(Version {
        number: digits.to_owned(),
        line: line.to_owned(),
    })
}
