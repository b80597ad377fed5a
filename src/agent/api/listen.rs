//! The listening socket of the REST API.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, lookup_host};
use tokio::time::timeout;
use trunkline_core::config::agent::Rest;

/// How long a name may take to be resolved.
const LOOKUP: Duration = Duration::from_secs(5);
/// How many connections may wait to be accepted at least: a few hundred silent clients fill a short queue, and who
/// asks then is heard a second later.
const BACKLOG: u32 = 1024;

/// Why there is no listening socket.
#[derive(Debug, thiserror::Error)]
#[error("restapi.listen: cannot listen on {host}:{port}: {cause}")]
pub struct Unbound {
    /// The host as it is written.
    host: String,
    /// The port.
    port: u16,
    /// The system's words.
    #[source]
    cause: io::Error,
}

impl Unbound {
    /// Whether somebody else has the port.
    pub(crate) fn is_taken(&self) -> bool {
        self.cause.kind() == io::ErrorKind::AddrInUse
    }
}

/// Listens where `restapi.listen` says: on an address, a name, or `*` for all addresses there are.
///
/// # Errors
/// If the name does not resolve, or none of its addresses can be bound.
pub async fn listen(rest: &Rest) -> Result<TcpListener, Unbound> {
    let (host, port) = (rest.listen.0.as_str(), rest.listen.1);
    let backlog = i32::try_from(rest.backlog.max(BACKLOG)).unwrap_or(i32::MAX);
    let unbound = |cause| Unbound {
        host: host.to_owned(),
        port,
        cause,
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses(host, port).await.map_err(unbound)? {
        match bound(address, backlog) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(unbound(last))
}

/// Where to listen: the first that can be had.
async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host == "*" {
        // Of IPv6 first, which takes IPv4 in as well.
        let all: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
        return Ok(all.map(|address| SocketAddr::new(address, port)).into());
    }
    let found = timeout(LOOKUP, lookup_host((host, port))).await;
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the name was not resolved in time");
    Ok(found.map_err(late)??.collect())
}

fn bound(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != IpAddr::from(Ipv6Addr::UNSPECIFIED))?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}
