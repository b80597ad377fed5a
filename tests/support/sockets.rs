//! What a process has set on its sockets, as the kernel says: the descriptors are borrowed from it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// The care a TCP connection is under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Care {
    /// Silence before the first keepalive probe, time between two, how many; `None` without keepalive.
    pub keepalive: Option<(Duration, Duration, u32)>,
    /// `TCP_USER_TIMEOUT`, in milliseconds.
    pub user_timeout: u32,
    /// `TCP_NODELAY`
    pub nodelay: bool,
}

/// The connections of process `pid` between `here`, an address of its own, and anybody, and between it and `there`.
pub fn care(pid: u32, here: SocketAddr, there: SocketAddr) -> Result<Vec<Care>> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("a process")?;
    let process = pidfd_open(pid, PidfdFlags::empty()).context("opening the process")?;
    let folder = format!("/proc/{}/fd", pid.as_raw_nonzero());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).context(folder)? {
        let number: i32 = entry?.file_name().to_string_lossy().parse()?;
        // It may have been closed meanwhile.
        let Ok(fd) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else {
            continue;
        };
        if is_between(&fd, here, there) {
            found.push(of(&fd)?);
        }
    }
    Ok(found)
}

/// Whether it is a connection, not a listener, and one of those looked for.
fn is_between(fd: &OwnedFd, here: SocketAddr, there: SocketAddr) -> bool {
    let address = |address| SocketAddr::try_from(address).ok();
    let peer = rustix::net::getpeername(fd)
        .ok()
        .flatten()
        .and_then(address);
    let own = rustix::net::getsockname(fd).ok().and_then(address);
    peer.is_some() && (own == Some(here) || peer == Some(there))
}

fn of(fd: &OwnedFd) -> Result<Care> {
    let keepalive = if sockopt::socket_keepalive(fd)? {
        Some((
            sockopt::tcp_keepidle(fd)?,
            sockopt::tcp_keepintvl(fd)?,
            sockopt::tcp_keepcnt(fd)?,
        ))
    } else {
        None
    };
    Ok(Care {
        keepalive,
        user_timeout: sockopt::tcp_user_timeout(fd)?,
        nodelay: sockopt::tcp_nodelay(fd)?,
    })
}
