//! Who a client is, for the log and for balancing by address.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::net::SocketAddrAny;

/// The other end of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over a network: its address.
    Tcp(SocketAddr),
    /// Within this machine: its process and user, as the kernel vouches for them.
    Process {
        /// The process.
        pid: i32,
        /// Its user.
        uid: u32,
    },
    /// Within this machine, and the kernel does not say who.
    Unix,
}

impl Peer {
    /// The other end of `socket`, of which accept(2) told `address`.
    #[must_use]
    pub fn of(socket: BorrowedFd<'_>, address: Option<SocketAddrAny>) -> Self {
        match address.map(SocketAddr::try_from) {
            Some(Ok(address)) => Self::Tcp(address),
            Some(Err(_)) | None => match getsockopt(&socket, PeerCredentials) {
                // A process that this one cannot see, in another container, is number 0.
                Ok(process) if process.pid() > 0 => Self::Process {
                    pid: process.pid(),
                    uid: process.uid(),
                },
                Ok(_) | Err(_) => Self::Unix,
            },
        }
    }

    /// Its address, where there is one to balance by.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Process { .. } | Self::Unix => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Process { pid, uid } => write!(f, "unix pid={pid} uid={uid}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}
