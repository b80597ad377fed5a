//! A real etcd, and agents that use it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::Notify;
use trunkline_agent::dcs::{self, Dcs};
use trunkline_core::cluster::ClusterView;
use trunkline_core::ha::Write;
use trunkline_core::keys::Prefix;
use trunkline_core::lease::{Acquisition, Held, Keeping, Lease, Renewal, Written};
use trunkline_core::wire::config::DynamicConfig;
use trunkline_core::{Moment, Scope};
use trunkline_io::clock;
use trunkline_io::etcd::Access;
use trunkline_io::shutdown::Tasks;
use trunkline_support::etcd::{Etcd, Store};
use trunkline_support::parts::Parts;
use trunkline_support::ports::Loopback;
use trunkline_support::wait::until;
use trunkline_support::workdir::WorkDir;

/// What no machine is too busy to renew a lock within.
pub(crate) const TTL: Duration = Duration::from_secs(30);
/// Of a lock whose end is waited for.
pub(crate) const SHORT: Duration = Duration::from_secs(3);
/// Anything that is going to happen has happened by then, on a machine that is busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A real etcd, and agents that use it.
pub(crate) struct Bench {
    pub(crate) etcd: Etcd,
    pub(crate) tasks: Tasks,
    /// Keeps its addresses to itself while it lives.
    _loopback: Loopback,
}

/// One agent's handle.
pub(crate) struct Agent {
    pub(crate) dcs: Dcs,
    pub(crate) wake: Arc<Notify>,
    ttl: Duration,
}

impl Bench {
    pub(crate) async fn of(members: u8) -> Result<Self> {
        let loopback = Loopback::lease()?;
        let workdir = Arc::new(WorkDir::new()?);
        let etcd = Etcd::start(members, &Parts::find()?, &loopback, &workdir).await?;
        Ok(Self {
            etcd,
            tasks: Tasks::new(),
            _loopback: loopback,
        })
    }

    /// An agent that has seen what there is.
    pub(crate) async fn agent(&self, name: &str) -> Result<Agent> {
        self.agent_with(TTL, name).await
    }

    /// The same with leases of that length.
    pub(crate) async fn agent_with(&self, ttl: Duration, name: &str) -> Result<Agent> {
        let endpoints = self.etcd.endpoints().into_iter().map(access).collect();
        let wake = Arc::new(Notify::new());
        let dcs = dcs::start(
            prefix(),
            name.into(),
            DynamicConfig::default(),
            endpoints,
            Arc::clone(&wake),
            &self.tasks,
        )?;
        let agent = Agent { dcs, wake, ttl };
        until("the cluster was listed", SOON, async || {
            agent.dcs.view().fresh().context("it was not")?;
            Ok(())
        })
        .await?;
        Ok(agent)
    }

    pub(crate) async fn store(&self) -> Result<Store> {
        self.etcd.client().await
    }
}

impl Agent {
    pub(crate) async fn lease(&mut self) -> Result<Lease> {
        match self.dcs.keep_lease(self.ttl, soon()).await {
            Keeping::Kept(lease) => Ok(lease),
            Keeping::Unreachable(words) => bail!("{words}"),
        }
    }

    pub(crate) async fn won(&mut self) -> Result<(Lease, Held)> {
        match self.dcs.acquire(self.ttl, soon()).await {
            Acquisition::Won(lease, held) => Ok((lease, held)),
            other @ (Acquisition::Lost | Acquisition::Unreachable(_)) => bail!("{other:?}"),
        }
    }

    pub(crate) async fn confirmed(&mut self) -> Result<(Lease, Held)> {
        match self.renewal().await {
            Renewal::Confirmed(lease, held) => Ok((lease, held)),
            other @ (Renewal::Lost { .. } | Renewal::Unreachable(_)) => bail!("{other:?}"),
        }
    }

    pub(crate) async fn renewal(&mut self) -> Renewal {
        self.dcs.renew(self.ttl, soon()).await
    }

    pub(crate) async fn write(&mut self, write: &Write) -> Written {
        self.dcs.write(write, soon()).await
    }

    pub(crate) fn view(&self) -> Result<ClusterView> {
        self.dcs.view().value().cloned().context("no view")
    }

    pub(crate) fn holder(&self) -> Result<Option<String>> {
        Ok(self.view()?.lock.tenure().map(|it| it.holder.to_string()))
    }

    /// Whether it was woken since it was last asked.
    pub(crate) async fn was_woken(&self) -> bool {
        let woken = tokio::time::timeout(Duration::ZERO, self.wake.notified());
        woken.await.is_ok()
    }

    pub(crate) async fn is_woken(&self) -> Result<()> {
        tokio::time::timeout(SOON, self.wake.notified())
            .await
            .context("nobody woke it")
    }
}

pub(crate) fn access(address: SocketAddr) -> Access {
    Access {
        host: address.ip().to_string(),
        port: address.port(),
        tls: None,
        user: None,
    }
}

pub(crate) fn prefix() -> Prefix {
    Prefix::new("/service", &Scope::from("demo"))
}

pub(crate) fn soon() -> Moment {
    clock::now().after(SOON)
}
