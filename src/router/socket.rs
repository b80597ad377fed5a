//! Everything that is set on a socket.
//!
//! Measured (a proxy of one thread on loopback, its processor time, medians of nine rounds) and left out:
//! - TCP_QUICKACK after each read: 1.58 times the cost of a round trip, for a call and a packet of its own. Switched off
//!   while connecting or accepting it spares an acknowledgement: 0.97 to 0.98 of a short session, within the noise, and
//!   up to 200 ms until the server sees a client that says nothing yet.
//! - TCP_DEFER_ACCEPT: 1.00. It hides who says nothing from limits, log and drain, and the way to the server is not
//!   opened while the client's first packet travels.
//!
//! What accepted sockets inherit costs nothing; the six calls it takes to set it on each are 1.9 µs, the two questions
//! that are left 0.8 µs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream};
use trunkline_core::config::router::Listener;
use trunkline_core::route::Address;
use trunkline_io::descriptors;

use crate::doorstep::Doorstep;
use crate::stream::Stream;

/// How many connections may wait to be accepted; the system cuts it to `net.core.somaxconn`.
pub(crate) const BACKLOG: i32 = 65_535;

/// Whose turn it is among the addresses to connect from.
static TURN: AtomicUsize = AtomicUsize::new(0);

/// Why there is no connection to a member.
#[derive(Debug, thiserror::Error)]
pub enum Unconnected {
    /// This machine has nothing to connect with (a source port or address, a descriptor, memory), which says nothing of
    /// the member: what there is none of, in a sentence.
    #[error("{0}")]
    Lacking(String),
    /// The member, or the way to it.
    #[error(transparent)]
    Failed(io::Error),
}

impl From<Unconnected> for io::Error {
    fn from(unconnected: Unconnected) -> Self {
        match unconnected {
            Unconnected::Failed(error) => error,
            Unconnected::Lacking(_) => Self::other(unconnected),
        }
    }
}

/// Connects to a member, from where the listener is told to and with its care for its sockets.
///
/// # Errors
/// [`Unconnected`]
pub async fn connect(address: &Address, config: &Listener) -> Result<Stream, Unconnected> {
    let stream = match address {
        Address::Tcp(address) => Stream::Tcp(connect_over_ip(*address, &config.source).await?),
        // A unix socket needs no care: its kernel is ours.
        Address::Unix(_) => {
            let connected = Stream::connect(address).await;
            return connected.map_err(|error| judge(error, address));
        }
    };
    set(&SockRef::from(&stream), config).map_err(Unconnected::Failed)?;
    Ok(stream)
}

/// Connects from each of `sources` in turn, as far as they are of the member's family: an address that has no port left
/// for this member, or from which nothing goes to it, passes on to the next.
async fn connect_over_ip(
    address: SocketAddr,
    sources: &[IpAddr],
) -> Result<TcpStream, Unconnected> {
    let of_its_family = |ip: &&IpAddr| ip.is_ipv4() == address.is_ipv4();
    let usable = || sources.iter().filter(of_its_family);
    let judged = |error| judge(error, &Address::Tcp(address));
    let mut lacking = None;
    let first = TURN.fetch_add(usize::from(sources.len() > 1), Ordering::Relaxed);
    let count = usable().count();
    for step in 0..count {
        let place = first.wrapping_add(step) % count;
        let Some(source) = usable().nth(place) else {
            break;
        };
        let connecting = connect_from(*source, address).await;
        match connecting.map_err(|error| judge_source(error, address)) {
            Err(Unconnected::Lacking(what)) => lacking = Some(format!("from {source}: {what}")),
            outcome => return outcome,
        }
    }
    match lacking {
        Some(what) => Err(Unconnected::Lacking(what)),
        None => TcpStream::connect(address).await.map_err(judged),
    }
}

async fn connect_from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    bound(source)?.connect(address).await
}

/// A socket that connects from `source`. Its port is chosen when it is connected: one that is taken for another member is
/// as good, and there are as many for each member.
fn bound(source: IpAddr) -> io::Result<TcpSocket> {
    let socket = match source {
        IpAddr::V4(_) => TcpSocket::new_v4(),
        IpAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Where the system does not know it (gVisor) a port is taken now: it connects all the same.
    let _ = setsockopt(&socket, IpBindAddressNoPort, &true);
    socket.bind(SocketAddr::new(source, 0))?;
    Ok(socket)
}

/// Whether this machine can connect from `source` at all: the address is one of its own, or it may use others'.
///
/// # Errors
/// As the system says.
pub(crate) fn try_source(source: IpAddr) -> io::Result<()> {
    bound(source).map(drop)
}

/// As [`judge`] does, where the address to connect from was asked for.
fn judge_source(error: io::Error, address: SocketAddr) -> Unconnected {
    use io::ErrorKind::{InvalidInput, NetworkUnreachable};
    // The source is an IPv4 loopback address and the member elsewhere (EINVAL), or the address has left this machine, as
    // those that keepalived moves do; `ip_nonlocal_bind` lets them be bound to all the same. Of that Linux says EINVAL
    // too, and of late (6.18) ENETUNREACH: then it depends on whether there is a way without the source.
    let is_of_source =
        error.kind() == InvalidInput || error.kind() == NetworkUnreachable && has_way_to(address);
    if is_of_source {
        return Unconnected::Lacking(format!(
            "this machine cannot connect to {address} from that address ({error})"
        ));
    }
    judge(error, &Address::Tcp(address))
}

/// Whether this machine has a way there from any of its addresses. Nothing is sent.
fn has_way_to(address: SocketAddr) -> bool {
    let unspecified = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    UdpSocket::bind((unspecified, 0)).is_ok_and(|socket| socket.connect(address).is_ok())
}

fn judge(error: io::Error, address: &Address) -> Unconnected {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable};
    if matches!(error.kind(), AddrInUse | AddrNotAvailable) {
        return Unconnected::Lacking(format!(
            "no port, or no address, is left to connect to {address} from ({error})"
        ));
    }
    if descriptors::is_shortage(&error) {
        return Unconnected::Lacking(error.to_string());
    }
    Unconnected::Failed(error)
}

/// Has the clients of a listening socket come with the listener's care: an accepted TCP socket inherits what is set here.
pub fn pass_on_care(doorstep: &Doorstep, config: &Listener) {
    let listener = match doorstep {
        Doorstep::Tcp(listener) => listener,
        Doorstep::Unix { .. } => return,
    };
    if let Err(error) = set(&SockRef::from(listener), config) {
        // Each client's own socket is looked at as well.
        let listener = &config.name;
        tracing::warn!(
            listener,
            "setting options of a listening socket failed: {error}"
        );
    }
}

/// Sees to it that a client's socket has a listener's care. Most have inherited it; who was in the queue of a socket that
/// the service manager opened before this router answered there has not.
///
/// # Errors
/// As the system says; a peer that is gone already, for one.
pub fn care(stream: &Stream, config: &Listener) -> io::Result<()> {
    let stream = match stream {
        Stream::Tcp(stream) => stream,
        Stream::Unix(_) => return Ok(()),
    };
    let socket = SockRef::from(stream);
    // Keepalive is off unless somebody turned it on; that may have been the service manager, with times of its own.
    if socket.keepalive()? && socket.tcp_keepalive_time()? == config.keepalive.idle {
        return Ok(());
    }
    set(&socket, config)
}

/// No delay, keepalive, and a bound for what stays unacknowledged where one is configured.
fn set(socket: &SockRef<'_>, config: &Listener) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(config.keepalive.idle)
        .with_interval(config.keepalive.interval)
        .with_retries(config.keepalive.probes);
    socket.set_tcp_keepalive(&keepalive)?;
    // With one, Linux ends an idle connection to a dead peer only when it has passed, however many keepalive probes went
    // unanswered: none is set unless it was asked for.
    socket.set_tcp_user_timeout(config.user_timeout)
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

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::getsockopt;
    use std::os::unix::net::UnixListener;
    use trunkline_core::config::router::{Keepalive, To};

    fn told(source: &[&str]) -> Listener {
        let mut listener = Listener::new("write", Vec::new(), To::Primary);
        listener.source = source.iter().map(|ip| ip.parse().unwrap()).collect();
        listener
    }

    /// Whether a socket has the care that `config` asks for.
    fn has_care(stream: &Stream, config: &Listener) -> bool {
        let socket = SockRef::from(stream);
        let Keepalive {
            idle,
            interval,
            probes,
        } = config.keepalive;
        socket.tcp_nodelay().unwrap()
            && socket.keepalive().unwrap()
            && socket.tcp_keepalive_time().unwrap() == idle
            && socket.tcp_keepalive_interval().unwrap() == interval
            && socket.tcp_keepalive_retries().unwrap() == probes
            && socket.tcp_user_timeout().unwrap() == config.user_timeout
    }

    /// A client in the queue of `doorstep`, and its accepted socket.
    async fn let_in(doorstep: &Doorstep) -> (TcpStream, Stream) {
        let Doorstep::Tcp(listener) = doorstep else {
            panic!("no TCP")
        };
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let client = client.await.unwrap();
        (client, doorstep.next().unwrap().socket.stream().unwrap())
    }

    #[tokio::test]
    async fn an_accepted_socket_has_inherited_the_care_of_the_listener_it_came_to() {
        let mut config = told(&[]);
        let listeners = [
            listen((Ipv4Addr::LOCALHOST, 0).into()),
            // IPv4 clients of an IPv6 socket.
            listen_everywhere(0),
        ];
        for doorstep in listeners.map(|listener| Doorstep::Tcp(listener.unwrap())) {
            pass_on_care(&doorstep, &config);
            let (_client, stream) = let_in(&doorstep).await;
            assert!(has_care(&stream, &config));
            // A reload.
            config.keepalive.idle += Duration::from_secs(7);
            config.user_timeout = Some(Duration::from_secs(67));
            pass_on_care(&doorstep, &config);
            let (_client, stream) = let_in(&doorstep).await;
            assert!(has_care(&stream, &config));
        }
    }

    #[tokio::test]
    async fn who_was_in_the_queue_before_anybody_answered_is_taken_care_of_all_the_same() {
        let config = told(&[]);
        let doorstep = Doorstep::Tcp(listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap());
        let (_client, stream) = let_in(&doorstep).await;
        assert!(!has_care(&stream, &config));
        care(&stream, &config).unwrap();
        assert!(has_care(&stream, &config));
    }

    #[tokio::test]
    async fn a_unix_socket_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let doorstep = Doorstep::Unix {
            file: None,
            listener,
        };
        pass_on_care(&doorstep, &told(&[]));
        let (address, config) = (Address::Unix(path.into()), told(&["127.9.9.9"]));
        let server = connect(&address, &config).await.unwrap();
        let client = doorstep.next().unwrap().socket.stream().unwrap();
        care(&client, &config).unwrap();
        for stream in [server, client] {
            assert!(!SockRef::from(&stream).keepalive().unwrap());
        }
    }

    /// From where `count` connections to a listener at `ip` come.
    async fn come_from(ip: IpAddr, config: &Listener, count: usize) -> Vec<String> {
        let listener = listen((ip, 0).into()).unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let mut from = Vec::new();
        for _ in 0..count {
            let stream = connect(&address, config).await.unwrap();
            assert!(has_care(&stream, config));
            from.push(listener.accept().unwrap().1.ip().to_string());
        }
        from.sort();
        from
    }

    #[tokio::test]
    async fn members_are_connected_to_from_each_source_of_their_family_in_turn() {
        let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        let one = told(&["127.8.7.6"]);
        assert_eq!(come_from(v4, &one, 2).await, ["127.8.7.6"; 2]);
        assert_eq!(come_from(v6, &one, 1).await, ["::1"]);
        let several = told(&["127.8.7.6", "::1", "127.8.7.5"]);
        let from = come_from(v4, &several, 10).await;
        assert!(from.iter().any(|ip| ip == "127.8.7.5"), "{from:?}");
        assert!(from.iter().any(|ip| ip == "127.8.7.6"), "{from:?}");
        assert_eq!(come_from(v6, &several, 2).await, ["::1"; 2]);
    }

    #[tokio::test]
    async fn a_source_takes_no_port_before_it_is_known_for_whom() {
        for source in ["127.8.7.6", "::1"] {
            let socket = bound(source.parse().unwrap()).unwrap();
            assert_eq!(socket.local_addr().unwrap().port(), 0, "{source}");
            assert!(getsockopt(&socket, IpBindAddressNoPort).unwrap());
        }
    }

    #[tokio::test]
    async fn a_source_that_is_not_ours_is_no_fault_of_the_members_and_another_serves() {
        // Kept for documentation (RFC 5737): nobody's.
        let not_ours = "192.0.2.1";
        assert!(try_source(not_ours.parse().unwrap()).is_err());
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let lacking = connect(&address, &told(&[not_ours])).await;
        assert!(
            matches!(&lacking, Err(Unconnected::Lacking(what)) if what.contains(not_ours)),
            "{lacking:?}"
        );
        let both = told(&[not_ours, "127.8.7.6"]);
        for _ in 0..2 {
            connect(&address, &both).await.unwrap();
        }
        // Nobody listens there now: that is the member's matter.
        drop(listener);
        let failed = connect(&address, &told(&[])).await;
        assert!(matches!(failed, Err(Unconnected::Failed(_))), "{failed:?}");
    }

    #[tokio::test]
    async fn a_source_from_which_nothing_goes_to_the_member_is_no_fault_of_the_members() {
        // Kept for documentation (RFC 5737): it is not on this machine.
        let address = SocketAddr::from((Ipv4Addr::new(203, 0, 113, 1), 5432));
        let invalid = || io::Error::from_raw_os_error(nix::errno::Errno::EINVAL as i32);
        let judged = judge_source(invalid(), address);
        assert!(matches!(judged, Unconnected::Lacking(_)), "{judged:?}");
        // Without a source the system chose: the same error is about the member's address.
        let judged = judge(invalid(), &Address::Tcp(address));
        assert!(matches!(judged, Unconnected::Failed(_)), "{judged:?}");

        // A machine without a way there says so, whatever the source.
        if !has_way_to(address) {
            return;
        }
        let lacking = connect(&Address::Tcp(address), &told(&["127.8.7.6"])).await;
        assert!(
            matches!(&lacking, Err(Unconnected::Lacking(what)) if what.contains("127.8.7.6")),
            "{lacking:?}"
        );
    }
}
