//! The whole set-up on a network of its own: etcd, and the Patroni cluster that lives by it.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::ca::Ca;
use crate::etcd::Etcd;
use crate::network::Network;
use crate::parts::Parts;
use crate::patroni::{Patroni, Secured, Settings};
use crate::ports::Loopback;
use crate::postgres::Sql;
use crate::router::{self, Ports, Router};
use crate::workdir::WorkDir;

/// A real cluster. Its fields end in the order they stand in: the clients of a part before it,
/// the directory after everything that lives there.
#[derive(Debug)]
pub struct Stand {
    /// The nodes.
    pub patroni: Patroni,
    /// Their store.
    pub etcd: Etcd,
    /// The programs all of it is made of.
    pub parts: Parts,
    /// The addresses it has.
    pub network: Box<dyn Network>,
    /// Its logs and data.
    pub workdir: Arc<WorkDir>,
    routers: AtomicU8,
}

impl Stand {
    /// Starts three etcd members and the nodes, and waits until all of it is steady.
    pub async fn start(settings: Settings) -> Result<Self> {
        Self::start_on(Box::new(Loopback::lease()?), settings).await
    }

    /// The same on a network of the caller's.
    pub async fn start_on(network: Box<dyn Network>, settings: Settings) -> Result<Self> {
        let parts = Parts::find()?;
        let workdir = Arc::new(WorkDir::new()?);
        let etcd = Etcd::start(3, &parts, &*network, &workdir).await?;
        Self::before(settings, etcd, parts, network, workdir).await
    }

    /// The same with TLS and client certificates on etcd and on the nodes' REST APIs.
    pub async fn start_with_tls(mut settings: Settings) -> Result<Self> {
        let parts = Parts::find()?;
        let network: Box<dyn Network> = Box::new(Loopback::lease()?);
        let workdir = Arc::new(WorkDir::new()?);
        let ca = Arc::new(Ca::new(&workdir.folder("ca", None)?, "ca")?);
        let etcd = Etcd::start_with_tls(3, &ca, &parts, &*network, &workdir).await?;
        let material = etcd.tls().context("etcd has no TLS")?.clone();
        settings.tls = Some(Secured {
            rest: material.clone(),
            etcd: material,
            ca,
        });
        Self::before(settings, etcd, parts, network, workdir).await
    }

    /// Starts three etcd members and the nodes, and does not wait for these.
    pub async fn begin(settings: Settings) -> Result<Self> {
        let mut stand = Self::prepare_on(Box::new(Loopback::lease()?), settings).await?;
        for node in stand.patroni.nodes_mut() {
            node.start()?;
        }
        Ok(stand)
    }

    /// Starts three etcd members on a network of the caller's, and none of the nodes.
    pub async fn prepare_on(network: Box<dyn Network>, settings: Settings) -> Result<Self> {
        let (parts, workdir) = (Parts::find()?, Arc::new(WorkDir::new()?));
        let etcd = Etcd::start(3, &parts, &*network, &workdir).await?;
        let patroni = Patroni::prepare(settings, &etcd.endpoints(), &parts, &*network, &workdir)?;
        Ok(Self {
            patroni,
            etcd,
            parts,
            network,
            workdir,
            routers: AtomicU8::new(0),
        })
    }

    async fn before(
        settings: Settings,
        etcd: Etcd,
        parts: Parts,
        network: Box<dyn Network>,
        workdir: Arc<WorkDir>,
    ) -> Result<Self> {
        let patroni =
            Patroni::start(settings, &etcd.endpoints(), &parts, &*network, &workdir).await?;
        Ok(Self {
            patroni,
            etcd,
            parts,
            network,
            workdir,
            routers: AtomicU8::new(0),
        })
    }

    /// Starts one more node, and does not wait for it; its name and where its PostgreSQL will listen.
    pub fn join(&mut self) -> Result<(String, SocketAddr)> {
        let etcd = self.etcd.endpoints();
        let node = self
            .patroni
            .join(&etcd, &self.parts, &*self.network, &self.workdir)?;
        Ok((node.name().to_owned(), node.postgresql()))
    }

    /// Starts another cluster of one node, in the same store, at the addresses of a node that does not run.
    pub async fn stranger_at(&self, name: &str) -> Result<Patroni> {
        const START: Duration = Duration::from_secs(60);
        let node = self.patroni.node(name)?;
        let IpAddr::V4(address) = node.host() else {
            bail!("{} is no host of the network", node.host())
        };
        let ports = (node.postgresql().port(), node.rest().port());
        let settings = Settings {
            scope: "stranger".to_owned(),
            nodes: 1,
            ..self.patroni.settings().clone()
        };
        let (etcd, workdir) = (self.etcd.endpoints(), Arc::new(WorkDir::new()?));
        let network = &*self.network;
        let mut stranger = Patroni::prepare(settings, &etcd, &self.parts, network, &workdir)?;
        for node in stranger.nodes_mut() {
            node.move_to(network, address.octets()[3], ports)?;
        }
        stranger.wait_steady(START).await?;
        Ok(stranger)
    }

    /// Starts a router before this cluster, on ports of its own.
    pub async fn router(&self, binary: &Path) -> Result<Router> {
        let mut router = self.launch_router(binary)?;
        router.wait_up().await?;
        Ok(router)
    }

    /// The same without waiting until it is up.
    pub fn launch_router(&self, binary: &Path) -> Result<Router> {
        self.launch_router_with(binary, |config| config)
    }

    /// The same with a configuration that `change` made of the ordinary one.
    pub fn launch_router_with(
        &self,
        binary: &Path,
        change: impl FnOnce(String) -> String,
    ) -> Result<Router> {
        // Some two hundred addresses, used in turn: a router long gone has freed its own.
        let number = self.routers.fetch_add(1, Ordering::Relaxed) % 200;
        let ports = Ports::on(&*self.network, number)?;
        let settings = self.patroni.settings();
        let mut config = router::config(&settings.scope, &self.etcd.endpoints(), &ports);
        if let Some(secured) = &settings.tls {
            config = router::with_tls(&config, &secured.etcd, &secured.rest);
        }
        Router::launch_at(
            &self.network.place(router::HOST + number)?,
            &format!("router-{number}"),
            binary,
            &change(config),
            ports,
            &self.workdir,
        )
    }

    /// Logs in through `port` and says on which node that landed.
    pub async fn landing(&self, port: SocketAddr, bound: Duration) -> Result<String> {
        let sql = Sql::connect(port, bound).await?;
        self.node_of(&sql)
            .await
            .with_context(|| format!("through {port}"))
    }

    /// The node at the far end of a connection.
    pub async fn node_of(&self, sql: &Sql) -> Result<String> {
        Ok(self
            .patroni
            .node_at(sql.server_address().await?)?
            .name()
            .to_owned())
    }
}
