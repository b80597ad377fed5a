//! What all contenders stand before: the backend, with an address for each of them, and the etcd that trunkline reads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use trunkline_support::etcd::Etcd;
use trunkline_support::parts::Parts;
use trunkline_support::ports::Loopback;
use trunkline_support::process::Process;
use trunkline_support::workdir::WorkDir;

use crate::backend;

/// Where the backend's addresses begin in the network.
const BACKEND: u8 = 111;
/// Descriptors beside those of idle sessions.
const OTHERS: u64 = 1_000;

/// Its fields end in the order they stand in.
#[derive(Debug)]
pub(crate) struct Stand {
    _backend: Process,
    etcd: Etcd,
    /// One of the backend's addresses for each contender: the ports of a connection that was closed are kept by the
    /// kernel for a minute, and nobody's are to be in another's way.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) parts: Parts,
    pub(crate) network: Loopback,
    pub(crate) workdir: Arc<WorkDir>,
    names: AtomicU32,
    turns: AtomicU32,
}

impl Stand {
    /// With as many addresses as there are contenders.
    pub(crate) async fn start(contenders: usize) -> Result<Self> {
        let parts = Parts::find()?;
        let (network, workdir) = (Loopback::lease()?, Arc::new(WorkDir::new()?));
        let addresses = (BACKEND..)
            .take(contenders)
            .map(|host| network.free(host, 5432))
            .collect::<Result<Vec<SocketAddr>>>()?;
        Ok(Self {
            _backend: backend::start(&addresses, &workdir).await?,
            etcd: Etcd::start(1, &parts, &network, &workdir).await?,
            addresses,
            parts,
            network,
            workdir,
            names: AtomicU32::new(1),
            turns: AtomicU32::new(0),
        })
    }

    /// One of etcd's members.
    pub(crate) fn endpoint(&self) -> Result<SocketAddr> {
        let endpoints = self.etcd.endpoints();
        endpoints
            .first()
            .copied()
            .context("an etcd without members")
    }

    /// A name nothing else here has.
    pub(crate) fn name(&self, kind: &str) -> String {
        format!("{kind}-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// A number below `of` that was not given out for as long as can be.
    pub(crate) fn turn(&self, of: u32) -> Result<u8> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed) % of;
        Ok(u8::try_from(turn)?)
    }
}

/// Raises our limit of descriptors, which whatever we start inherits, to the most there is: it has to do for `idle`
/// sessions here and in the backend, and for `through_one` sessions of two descriptors each in a proxy.
pub(crate) fn raise_the_limit(idle: usize, through_one: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let highest = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, highest).context("raising the limit of descriptors")?;
    let needed = idle.max(2 * through_one) as u64 + OTHERS;
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= needed),
        "{through_one} idle sessions through each proxy need {needed} descriptors and the hard limit is {}: raise it \
         (ulimit -Hn) or ask for fewer (--idle-sessions)",
        limit.maximum.unwrap_or_default()
    );
    Ok(())
}
