//! Listening sockets: opened here, or passed by the service manager.
//!
//! Who answers on which is decided in `trunkline_core::reload`; this file opens and hands them over.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Socket, Type};
use tokio::net::{TcpListener, lookup_host};
use tokio::time::timeout;
use trunkline_core::config::router::{Bind, BindAddr};
use trunkline_core::reload::Passed;
use trunkline_io::systemd;

use crate::socket;

/// How long the name in a `bind` may take to be resolved.
const LOOKUP: Duration = Duration::from_secs(5);

/// The sockets that the service manager opened. They stay open for as long as the program runs: the manager listens
/// on them as well, whoever answers there.
#[derive(Debug, Default)]
pub struct PassedSockets {
    sockets: Vec<Option<Arc<TcpListener>>>,
    known: Vec<Passed>,
}

impl PassedSockets {
    /// Takes them over.
    ///
    /// # Errors
    /// When the environment speaks of sockets that are not there.
    pub fn take() -> io::Result<Self> {
        let mut passed = Self::default();
        for systemd::Passed { name, socket } in systemd::passed()? {
            let (socket, address) = match listening(socket) {
                Ok((socket, address)) => (Some(Arc::new(socket)), Some(address)),
                Err(error) => {
                    tracing::error!(name, "a socket that was passed cannot be used: {error}");
                    (None, None)
                }
            };
            passed.sockets.push(socket);
            passed.known.push(Passed { name, address });
        }
        Ok(passed)
    }

    /// What they are called and where they listen.
    #[must_use]
    pub fn known(&self) -> &[Passed] {
        &self.known
    }

    /// The socket of that number.
    ///
    /// # Errors
    /// When it is no listening TCP socket.
    pub fn get(&self, number: usize) -> io::Result<Arc<TcpListener>> {
        let socket = self.sockets.get(number).cloned().flatten();
        socket.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "the socket that was passed is no listening TCP socket",
            )
        })
    }
}

fn listening(socket: OwnedFd) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::from(socket);
    let address = socket.local_addr()?.as_socket();
    let (Type::STREAM, true, Some(address)) = (socket.r#type()?, socket.is_listener()?, address)
    else {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "it is no listening TCP socket; write ListenStream= with an address",
        ));
    };
    socket.set_nonblocking(true)?;
    Ok((TcpListener::from_std(socket.into())?, address))
}

/// Opens the socket that `bind` asks for.
///
/// # Errors
/// As the system says: the port is in use, or not ours to take; a name that is not resolved within five seconds.
pub async fn open(bind: &Bind) -> io::Result<TcpListener> {
    let (addr, port) = match bind {
        Bind::Tcp { addr, port } => (addr, *port),
        Bind::Unix(_) => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "unix sockets are not built yet",
            ));
        }
    };
    let address = match addr {
        BindAddr::Ip(ip) => SocketAddr::new(*ip, port),
        BindAddr::Any => return socket::listen_everywhere(port),
        BindAddr::Name(name) => timeout(LOOKUP, lookup_host((name.as_str(), port)))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the name is not resolved"))??
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?,
    };
    socket::listen(address)
}
