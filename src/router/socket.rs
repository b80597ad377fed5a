//! Everything that is set on a socket.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use trunkline_core::config::router::Listener;
use trunkline_core::route::Address;

use crate::stream::Stream;

/// How many connections may wait to be accepted; the system cuts it to `net.core.somaxconn`.
pub(crate) const BACKLOG: i32 = 65_535;

/// Connects to a member, with the listener's care for its sockets.
///
/// # Errors
/// As the system says.
pub async fn connect(address: &Address, config: &Listener) -> io::Result<Stream> {
    let stream = Stream::connect(address).await?;
    care(&stream, config)?;
    Ok(stream)
}

/// No delay, keepalive, and a bound for what stays unacknowledged. A unix socket needs none of it: its kernel is ours.
///
/// # Errors
/// As the system says; a peer that is gone already, for one.
pub fn care(stream: &Stream, config: &Listener) -> io::Result<()> {
    let stream = match stream {
        Stream::Tcp(stream) => stream,
        Stream::Unix(_) => return Ok(()),
    };
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(config.keepalive.idle)
        .with_interval(config.keepalive.interval)
        .with_retries(config.keepalive.probes);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(config.user_timeout))
}

/// Have the peer see a reset when this socket is closed, instead of an end in order. Unix sockets know no reset: there
/// the peer sees the end after what it was sent.
pub fn reset_on_close(stream: &Stream) {
    // A socket that does not take it is closed in order: the peer has not read for a while either way.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// A listening socket on one address, or on every address of one family, as PostgreSQL understands `0.0.0.0` and `::`.
///
/// # Errors
/// As the system says: the port is in use, or not ours to take.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    listen_on(address, true)
}

/// A listening socket on every address of the machine: IPv6 with IPv4 in it, or IPv4 alone where there is no IPv6.
///
/// # Errors
/// As the system says: the port is in use, or not ours to take.
pub fn listen_everywhere(port: u16) -> io::Result<TcpListener> {
    match listen_on(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), false) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
        }
        outcome => outcome,
    }
}

fn listen_on(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
