//! Where a server is reached: a TCP address with its name resolved, or a unix socket of this machine.
//!
//! Nothing here looks a name up or touches a file; two addresses that are equal are one place.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// A place to connect to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(Arc<Path>),
}

impl Address {
    /// The socket of the PostgreSQL that keeps its sockets in `directory` and has this port: PostgreSQL calls it so.
    #[must_use]
    pub fn in_directory(directory: &str, port: u16) -> Self {
        let path = Path::new(directory).join(format!(".s.PGSQL.{port}"));
        Self::Unix(path.into())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_and_a_port_are_one_place_however_the_directory_is_ended() {
        let address = Address::in_directory("/run/pg", 5432);
        assert_eq!(address.to_string(), "/run/pg/.s.PGSQL.5432");
        assert_eq!(Address::in_directory("/run/pg/", 5432), address);
        assert_ne!(Address::in_directory("/run/pg", 5433), address);
    }
}
