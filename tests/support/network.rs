//! Where the parts of a cluster live: the addresses they have, and the place their processes run in.
//!
//! Two kinds: [`crate::ports::Loopback`], for whatever needs no fault of the network, and
//! [`crate::netns::Wire`], where every host can be cut off. Parts ask for `host` numbers and need not know
//! which kind they are on.

use std::fmt::Debug;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command};
use std::sync::Arc;

use anyhow::Result;

use crate::netns::Namespace;
use crate::ports::Loopback;

/// A /24 of hosts that belongs to one cluster.
pub trait Network: Debug + Send + Sync {
    /// The address of the host with that number.
    fn host(&self, host: u8) -> Ipv4Addr;

    /// An address of `host` whose port nobody listens on: `preferred`, or another one near it.
    fn free(&self, host: u8, preferred: u16) -> Result<SocketAddr>;

    /// Where the processes of `host` have to run.
    fn place(&self, host: u8) -> Result<Place>;

    /// Everything its hosts may have as their address, for a pg_hba.conf.
    fn range(&self) -> &'static str;
}

impl Network for Loopback {
    fn host(&self, host: u8) -> Ipv4Addr {
        Self::host(self, host)
    }

    fn free(&self, host: u8, preferred: u16) -> Result<SocketAddr> {
        Self::free(self, host, preferred)
    }

    fn place(&self, _host: u8) -> Result<Place> {
        Ok(Place::default())
    }

    fn range(&self) -> &'static str {
        "127.0.0.0/8"
    }
}

/// Where a process is started; by default where its starter runs.
#[derive(Debug, Clone, Default)]
pub struct Place(Option<Arc<Namespace>>);

impl From<Arc<Namespace>> for Place {
    fn from(namespace: Arc<Namespace>) -> Self {
        Self(Some(namespace))
    }
}

impl Place {
    /// Starts a command there.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        match &self.0 {
            Some(namespace) => namespace.spawn(command),
            None => command.spawn(),
        }
    }
}
