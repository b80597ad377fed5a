//! A cluster of one of the two systems on a wire of its own, with the way in that goes with it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use trunkline_support::etcd::Store;
use trunkline_support::haproxy::HaProxy;
use trunkline_support::netns::{Machines, Wire};
use trunkline_support::patroni::Settings;
use trunkline_support::postgres::Sql;
use trunkline_support::router::Router;
use trunkline_support::stand::Stand;
use trunkline_support::wait::until;
use trunkline_support::writer::{self, Crew, Tls, Writers};

use super::Lab;
use super::event::Event;
use super::table::Run;

/// Anything a cluster gets over by itself is over by then.
pub(super) const STEADY: Duration = Duration::from_secs(60);

/// One look at a node that may not be up yet.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum System {
    /// trunkline-agent on the nodes, trunkline before them.
    Ours,
    /// Patroni on the nodes, HAProxy before them.
    Patroni,
}

impl System {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Patroni => "Patroni",
        }
    }
}

/// The cluster, whose clients end before it.
pub(super) struct Bench {
    way: Option<Way>,
    pub(super) stand: Stand,
    pub(super) wire: Wire,
    pub(super) system: System,
    router: PathBuf,
    writers: usize,
}

/// What clients log in through.
enum Way {
    Router(Router),
    HaProxy(HaProxy),
}

impl Bench {
    /// etcd runs, and no node does yet.
    pub(super) async fn prepare(wire: &Wire, lab: &Lab, settings: Settings) -> Result<Self> {
        let settings = match lab.system {
            System::Ours => settings.run_by(&lab.agent),
            System::Patroni => settings,
        };
        let network = Box::new(Machines::from(wire.clone()));
        Ok(Self {
            way: None,
            stand: Stand::prepare_on(network, settings).await?,
            wire: wire.clone(),
            system: lab.system,
            router: lab.router.clone(),
            writers: lab.writers,
        })
    }

    /// Whether its cluster has this lease.
    pub(super) fn has(&self, settings: &Settings) -> bool {
        self.stand.patroni.settings().ttl == settings.ttl
    }

    /// Lets `event` happen to it, steady before that unless the event asks for empty directories.
    pub(super) async fn undergo(&mut self, event: Event, name: &str) -> Result<Run> {
        if !event.needs_a_fresh_cluster() {
            self.steady().await?;
        }
        event.happen(self, name).await
    }

    /// Copies what everybody has logged so far.
    pub(super) fn keep_logs(&self, folder: &Path) -> Result<()> {
        let copied = std::fs::create_dir_all(folder).and_then(|()| {
            for entry in std::fs::read_dir(self.stand.workdir.path())? {
                let log = entry?.path();
                if let Some(name) = log.file_name()
                    && log.extension().is_some_and(|kind| kind == "log")
                {
                    std::fs::copy(&log, folder.join(name))?;
                }
            }
            Ok(())
        });
        copied.with_context(|| format!("leaving logs in {}", folder.display()))
    }

    /// Starts what does not run, and waits until everybody streams, there is a table to write to, and the way in leads
    /// to the primary.
    async fn steady(&mut self) -> Result<()> {
        let patroni = &mut self.stand.patroni;
        let servers: Vec<_> = patroni
            .nodes()
            .iter()
            .map(|node| node.postgresql())
            .collect();
        // What members say of themselves may be a round of their loop old.
        until(
            "the cluster is steady, and PostgreSQL says so too",
            STEADY,
            async || {
                let leader = patroni.wait_steady(STEADY).await?;
                writer::prepare(patroni.node(&leader)?.postgresql()).await?;
                let streaming = streaming(&servers).await?;
                ensure!(streaming + 1 == servers.len(), "{streaming} stream");
                Ok(())
            },
        )
        .await?;
        self.open().await
    }

    /// Has a way in that leads to the primary.
    pub(super) async fn open(&mut self) -> Result<()> {
        let way = match self.way.take() {
            Some(way) => way,
            None => self.build_way().await?,
        };
        let way = self.way.insert(way);
        match way {
            Way::Router(router) => router.wait_ready(&["write"], STEADY).await,
            // It was waited for when it started, and whoever logs in finds out how it is now.
            Way::HaProxy(_) => Ok(()),
        }
    }

    async fn build_way(&self) -> Result<Way> {
        let Stand {
            patroni,
            parts,
            network,
            workdir,
            ..
        } = &self.stand;
        Ok(match self.system {
            System::Ours => Way::Router(self.stand.router(&self.router).await?),
            System::Patroni => {
                Way::HaProxy(HaProxy::start(patroni, parts, &**network, workdir).await?)
            }
        })
    }

    /// Where clients log in.
    pub(super) fn address(&self) -> Result<SocketAddr> {
        match self.way.as_ref().context("there is no way in yet")? {
            Way::Router(router) => Ok(router.ports().write),
            Way::HaProxy(haproxy) => Ok(haproxy.write()),
        }
    }

    /// Starts writers that come in that way.
    pub(super) async fn writers(&self, name: &str) -> Result<Writers> {
        let crew = Crew {
            writers: self.writers,
            idle: 0,
            tls: Tls::Preferred,
        };
        let Stand { parts, workdir, .. } = &self.stand;
        Writers::start(name, &[self.address()?], crew, parts, workdir).await
    }

    /// What is left of the lease behind the lock, in whole seconds, rounded down; asked of etcd, so not while it is in trouble.
    pub(super) async fn lease_left(&self, store: &mut Store) -> Result<i64> {
        let key = format!("/service/{}/leader", self.stand.patroni.settings().scope);
        let left = store.lease_left(&key).await?;
        left.context("nobody holds the lock")
    }
}

/// How many of `servers` are standbys that stream. Who takes no connections does not.
pub(super) async fn streaming(servers: &[SocketAddr]) -> Result<usize> {
    let mut streaming = 0;
    for server in servers {
        if let Ok(sql) = Sql::connect(*server, LOOK).await {
            streaming += usize::from(streams(&sql).await?);
        }
    }
    Ok(streaming)
}

/// Whether the server is a standby that streams.
pub(super) async fn streams(server: &Sql) -> Result<bool> {
    server
        .one("SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')")
        .await
}
