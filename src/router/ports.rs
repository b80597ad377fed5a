//! Listening sockets: opened here, or passed by the service manager.
//!
//! Who answers on which is decided in `trunkline_core::reload`; this file opens and hands them over.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use socket2::{Socket, Type};
use tokio::net::lookup_host;
use tokio::time::timeout;
use trunkline_core::config::router::{Bind, BindAddr};
use trunkline_core::reload::Passed;
use trunkline_core::route::Address;
use trunkline_io::systemd;

use crate::doorstep::{self, Doorstep};
use crate::socket;

/// How long the name in a `bind` may take to be resolved.
const LOOKUP: Duration = Duration::from_secs(5);

/// The sockets that the service manager opened. They stay open for as long as the program runs: the manager listens
/// on them as well, whoever answers there.
#[derive(Debug, Default)]
pub struct PassedSockets {
    sockets: Vec<Option<Arc<Doorstep>>>,
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
                Ok((socket, address)) => (Some(Arc::new(socket)), address),
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
    /// When it is no listening stream socket.
    pub fn get(&self, number: usize) -> io::Result<Arc<Doorstep>> {
        let socket = self.sockets.get(number).cloned().flatten();
        socket.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "the socket that was passed is no listening stream socket",
            )
        })
    }
}

/// Takes a socket over; its address is that of a `bind`, where there is one to write.
fn listening(socket: OwnedFd) -> io::Result<(Doorstep, Option<Address>)> {
    let socket = Socket::from(socket);
    let no_listener = || {
        io::Error::new(
            io::ErrorKind::Unsupported,
            "it is no listening stream socket; write ListenStream= with an address or a path",
        )
    };
    let (Type::STREAM, true) = (socket.r#type()?, socket.is_listener()?) else {
        return Err(no_listener());
    };
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    if let Some(address) = address.as_socket() {
        let doorstep = Doorstep::Tcp(socket.into());
        return Ok((doorstep, Some(Address::Tcp(address))));
    }
    if !address.is_unix() {
        return Err(no_listener());
    }
    let path = address.as_pathname().map(|path| Address::Unix(path.into()));
    let doorstep = Doorstep::Unix {
        file: None,
        listener: socket.into(),
    };
    Ok((doorstep, path))
}

/// As many as this can wait to be accepted on a port by Linux's own default.
const USUAL_QUEUE: u32 = 4096;

/// Says how many clients can wait to be accepted on a port: the system cuts what is asked for to its own limit.
pub(crate) fn tell_queue() {
    let setting = "/proc/sys/net/core/somaxconn";
    let most = fs::read_to_string(setting).map(|text| text.trim().parse::<u32>().ok());
    match most {
        Ok(Some(most)) if most < USUAL_QUEUE => tracing::warn!(
            "at most {most} clients can wait to be accepted on a port: of more that log in at once, some wait a second \
             longer; raise net.core.somaxconn"
        ),
        Ok(Some(most)) => {
            tracing::debug!("at most {most} clients can wait to be accepted on a port")
        }
        // Not every container shows it.
        Ok(None) | Err(_) => tracing::debug!("{setting} does not say how many clients can wait"),
    }
}

/// Opens the socket that `bind` asks for.
///
/// # Errors
/// As the system says: the port is in use, or not ours to take; a name that is not resolved within five seconds.
pub async fn open(bind: &Bind) -> io::Result<Doorstep> {
    let (addr, port) = match bind {
        Bind::Tcp { addr, port } => (addr, *port),
        Bind::Unix(path) => return doorstep::listen_at(path).await,
    };
    let address = match addr {
        BindAddr::Ip(ip) => SocketAddr::new(*ip, port),
        BindAddr::Any => return socket::listen_everywhere(port).map(Doorstep::Tcp),
        BindAddr::Name(name) => timeout(LOOKUP, lookup_host((name.as_str(), port)))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the name is not resolved"))??
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?,
    };
    socket::listen(address).map(Doorstep::Tcp)
}
