//! The leanest PostgreSQL there is: a process that lets everybody in and never looks at them again.
//!
//! It stands for backends on other machines, whose own ends cost the router's machine nothing. Killed, it closes
//! all its sockets as fast as a process can: the floor of what an observer can see.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trunkline_support::process::Process;
use trunkline_support::wait::until;
use trunkline_support::workdir::WorkDir;

/// AuthenticationOk, ReadyForQuery.
pub(crate) const WELCOME: [u8; 15] = *b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
/// Who connects and says nothing for so long is hung up on.
const SILENCE: Duration = Duration::from_secs(5);

/// Starts one as a process of its own and waits until it listens.
pub(crate) async fn start(address: SocketAddr, workdir: &Arc<WorkDir>) -> Result<Process> {
    let ourselves: PathBuf = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(ourselves);
    command.args(["backend", "--listen", &address.to_string()]);
    let name = format!("backend-{}", address.ip());
    let mut process = Process::start(&name, &mut command, None, workdir)?;
    until(&name, Duration::from_secs(10), async || {
        process.expect_running()?;
        drop(tokio::net::TcpStream::connect(address).await?);
        Ok(())
    })
    .await?;
    Ok(process)
}

/// What that process does, until it is killed.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
    let mut guests = Vec::new();
    for guest in listener.incoming() {
        let mut guest = guest.context("accepting")?;
        // Who leaves at once is not missed.
        if let Ok(()) = let_in(&mut guest) {
            guests.push(guest);
        }
    }
    Ok(())
}

fn let_in(guest: &mut TcpStream) -> Result<()> {
    guest.set_read_timeout(Some(SILENCE))?;
    guest.set_nodelay(true)?;
    let mut length = [0; 4];
    guest.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    ensure!((8..10_000).contains(&length), "no StartupMessage");
    guest.read_exact(&mut vec![0; length - 4])?;
    guest.write_all(&WELCOME)?;
    Ok(())
}
