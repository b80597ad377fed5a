//! HAProxy with the settings Patroni's users give it, to compare figures with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::network::Network;
use crate::parts::{Parts, on_path};
use crate::patroni::Patroni;
use crate::postgres::Sql;
use crate::process::Process;
use crate::wait::until;
use crate::workdir::WorkDir;

/// Its number in its address.
const HOST: u8 = 251;

/// A running HAProxy.
#[derive(Debug)]
pub struct HaProxy {
    _process: Process,
    write: SocketAddr,
}

impl HaProxy {
    /// Starts it before the cluster and waits until it serves the primary.
    pub async fn start(
        patroni: &Patroni,
        parts: &Parts,
        network: &dyn Network,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        let program = program()?;
        let write = network.free(HOST, 5000)?;
        let file = workdir.path().join("haproxy.cfg");
        std::fs::write(&file, config(patroni, write))
            .with_context(|| format!("writing {}", file.display()))?;
        let mut command = parts.command(&program, workdir.path());
        command.arg("-db").arg("-f").arg(&file);
        let mut process = Process::start_at(
            &network.place(HOST)?,
            "haproxy",
            &mut command,
            None,
            workdir,
        )?;
        let serves = until(
            "HAProxy serves the primary",
            Duration::from_secs(30),
            async || {
                process.expect_running()?;
                let sql = Sql::connect(write, Duration::from_secs(2)).await?;
                // In its first seconds every server counts as up, so a login proves nothing yet.
                let recovering: bool = sql.one("SELECT pg_is_in_recovery()").await?;
                anyhow::ensure!(!recovering, "it served a replica");
                Ok(())
            },
        );
        serves.await.map_err(|failure| process.with_log(&failure))?;
        Ok(Self {
            _process: process,
            write,
        })
    }

    /// Its write port.
    #[must_use]
    pub fn write(&self) -> SocketAddr {
        self.write
    }
}

/// Where HAProxy is.
pub fn program() -> Result<PathBuf> {
    on_path("haproxy").context("`make figures` installs HAProxy")
}

/// Timeouts, checks and `on-marked-down` as in the HAProxy template Patroni ships.
fn config(patroni: &Patroni, write: SocketAddr) -> String {
    let mut text = format!(
        "global\n    maxconn 1000\n\
         defaults\n    mode tcp\n    retries 2\n    timeout client 30m\n    timeout connect 4s\n    \
         timeout server 30m\n    timeout check 5s\n\
         listen write\n    bind {write}\n    option httpchk OPTIONS /primary\n    \
         http-check expect status 200\n    \
         default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions\n"
    );
    for node in patroni.nodes() {
        let (name, server, check) = (node.name(), node.postgresql(), node.rest().port());
        text.push_str(&format!(
            "    server {name} {server} maxconn 100 check port {check}\n"
        ));
    }
    text
}
