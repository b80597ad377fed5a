//! A cluster of nodes on loopback, run by the real Patroni or by agents of ours, the ways to break it, and what it
//! says of itself.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use crate::ca::{Ca, Tls};
use crate::http;
use crate::network::Network;
use crate::parts::Parts;
use crate::wait::until;
use crate::workdir::WorkDir;

mod ctl;
mod node;
mod program;
mod standstill;
mod wishes;
pub use ctl::patronictl;
pub use node::Node;
pub use program::Program;
pub use standstill::Standstill;

/// initdb, two base backups and three Python start-ups, on two busy cores.
const START: Duration = Duration::from_secs(180);
/// The first node's number in its address.
const FIRST_HOST: u8 = 11;

/// What may differ from cluster to cluster; the default is Patroni's own.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cluster's name.
    pub scope: String,
    /// How many nodes.
    pub nodes: u8,
    /// Seconds the leader lock lives without a refresh.
    pub ttl: u32,
    /// Seconds between two rounds of Patroni's loop.
    pub loop_wait: u32,
    /// Seconds one etcd or PostgreSQL operation is retried for.
    pub retry_timeout: u32,
    /// Whether commits wait for a synchronous standby.
    pub synchronous_mode: bool,
    /// Whether a leader that can reach all others survives the loss of etcd.
    pub failsafe_mode: bool,
    /// Whether PostgreSQL offers TLS, with a certificate it signed itself.
    pub ssl: bool,
    /// Whether etcd and the nodes' REST APIs are met over TLS, by clients with certificates only.
    pub tls: Option<Secured>,
    /// Tags of the nodes, by position; none where there are fewer.
    pub tags: Vec<Map<String, Value>>,
    /// What runs the nodes, by position; Patroni where there are fewer.
    pub programs: Vec<Program>,
}

/// What a cluster behind TLS is made of.
#[derive(Debug, Clone)]
pub struct Secured {
    /// Who signs for the nodes and their clients.
    pub ca: Arc<Ca>,
    /// How the nodes get into etcd.
    pub etcd: Tls,
    /// How clients get into the nodes' REST APIs.
    pub rest: Tls,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            scope: "demo".to_owned(),
            nodes: 3,
            ttl: 30,
            loop_wait: 10,
            retry_timeout: 10,
            synchronous_mode: false,
            failsafe_mode: false,
            ssl: false,
            tls: None,
            tags: Vec::new(),
            programs: Vec::new(),
        }
    }
}

impl Settings {
    /// The same with every node run by this agent of ours.
    #[must_use]
    pub fn run_by(mut self, agent: &Path) -> Self {
        self.programs = vec![Program::Ours(agent.to_owned()); usize::from(self.nodes)];
        self
    }

    /// How long the leader lock lives without a refresh.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_secs(u64::from(self.ttl))
    }
}

/// A member as `GET /cluster` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// `leader`, `replica`, `sync_standby` …
    pub role: String,
    /// `running`, `streaming`, `stopped` …
    pub state: String,
    /// Its timeline, where known.
    pub timeline: Option<u64>,
}

/// The nodes, running or not.
#[derive(Debug)]
pub struct Patroni {
    settings: Settings,
    nodes: Vec<Node>,
}

impl Patroni {
    /// Starts all nodes and waits until one leads and the others stream from it.
    pub async fn start(
        settings: Settings,
        etcd: &[SocketAddr],
        parts: &Parts,
        network: &dyn Network,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        let mut patroni = Self::prepare(settings, etcd, parts, network, workdir)?;
        patroni.nodes.iter_mut().try_for_each(Node::start)?;
        patroni.wait_steady(START).await?;
        Ok(patroni)
    }

    /// Writes the nodes' files and starts none of them.
    pub fn prepare(
        settings: Settings,
        etcd: &[SocketAddr],
        parts: &Parts,
        network: &dyn Network,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        let nodes = (0..settings.nodes)
            .map(|number| Node::prepare(number, &settings, etcd, parts, network, workdir))
            .collect::<Result<_>>()?;
        Ok(Self { settings, nodes })
    }

    /// Starts one more node, and does not wait for it.
    pub fn join(
        &mut self,
        etcd: &[SocketAddr],
        parts: &Parts,
        network: &dyn Network,
        workdir: &Arc<WorkDir>,
    ) -> Result<&Node> {
        let number = u8::try_from(self.nodes.len())?;
        let mut node = Node::prepare(number, &self.settings, etcd, parts, network, workdir)?;
        node.start()?;
        self.nodes.push(node);
        self.nodes.last().context("there is no node")
    }

    /// Takes a node out of the cluster's list; what is done with it is the caller's business.
    pub fn dismiss(&mut self, name: &str) -> Result<Node> {
        let found = self.nodes.iter().position(|node| node.name() == name);
        Ok(self.nodes.remove(found.with_context(|| unknown(name))?))
    }

    /// What it was started with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All nodes, to start and stop.
    pub fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// Where PostgreSQL is on all nodes but one.
    #[must_use]
    pub fn others(&self, but: &str) -> Vec<SocketAddr> {
        let others = self.nodes.iter().filter(|node| node.name() != but);
        others.map(|node| node.postgresql()).collect()
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|node| node.name() == name)
            .with_context(|| unknown(name))
    }

    /// A node by its name, to start and stop.
    pub fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        self.nodes
            .iter_mut()
            .find(|node| node.name() == name)
            .with_context(|| unknown(name))
    }

    /// The node whose PostgreSQL listens there.
    pub fn node_at(&self, postgresql: SocketAddr) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|node| node.postgresql() == postgresql)
            .with_context(|| format!("{postgresql} is the PostgreSQL of no node"))
    }

    /// The members as the node that answers first knows them. All are asked at once: one that vanished would
    /// keep the others waiting.
    pub async fn seen(&self) -> Result<Vec<Seen>> {
        let mut asked = self.ask_all();
        let mut silent = Vec::new();
        while let Some(answer) = asked.join_next().await {
            match answer.map_err(anyhow::Error::from).flatten() {
                Ok(cluster) => return members(&cluster),
                Err(error) => silent.push(format!("{error:#}")),
            }
        }
        bail!("no node's REST API answers: {}", silent.join("; "))
    }

    /// Asks every node for the cluster as it knows it.
    fn ask_all(&self) -> JoinSet<Result<Value>> {
        let mut asked = JoinSet::new();
        for node in &self.nodes {
            let address = node.rest();
            let tls = self.rest_of(node).tls.cloned();
            asked.spawn(async move {
                let tls = tls.as_ref();
                http::Server { address, tls }.get_json("/cluster").await
            });
        }
        asked
    }

    /// A node's REST API, for questions. Those of our own agents speak no TLS.
    #[must_use]
    pub fn rest_of(&self, node: &Node) -> http::Server<'_> {
        let secured = self.settings.tls.as_ref();
        http::Server {
            address: node.rest(),
            tls: secured
                .filter(|_| *node.program() == Program::Patroni)
                .map(|secured| &secured.rest),
        }
    }

    /// The name of the member that leads, with its PostgreSQL running.
    pub async fn leader(&self) -> Result<String> {
        let seen = self.seen().await?;
        let leads = |member: &&Seen| member.role == "leader" && member.state == "running";
        match seen.iter().find(leads) {
            Some(leader) => Ok(leader.name.clone()),
            None => bail!("nobody leads: {}", table(&seen)),
        }
    }

    /// The names of the members in `role` that stream.
    pub async fn streaming(&self, role: &str) -> Result<Vec<String>> {
        Ok(streaming(&self.seen().await?, role))
    }

    /// Starts what does not run, and waits until one node leads, every other streams from it on
    /// the same timeline and, in synchronous mode, one of them is the synchronous standby.
    pub async fn wait_steady(&mut self, bound: Duration) -> Result<String> {
        for node in &mut self.nodes {
            if !node.is_running()? {
                node.start()?;
            }
        }
        let steady = until("the cluster is steady", bound, async || {
            self.agreed_leader().await
        });
        match steady.await {
            Ok(leader) => Ok(leader),
            Err(failure) => Err(self
                .nodes
                .iter()
                .fold(failure, |told, node| node.with_log(told))),
        }
    }

    /// Whom every node that answers takes for the leader of a steady cluster: one of them may have missed a change.
    async fn agreed_leader(&self) -> Result<String> {
        let (mut leader, mut silent) = (None, Vec::new());
        for answer in self.ask_all().join_all().await {
            match answer {
                Ok(cluster) => {
                    let seen = members(&cluster)?;
                    let leads = self.ensure_steady(&seen).with_context(|| table(&seen))?;
                    let named = leader.get_or_insert_with(|| leads.clone());
                    ensure!(*named == leads, "{named} leads, or {leads}");
                }
                Err(error) => silent.push(format!("{error:#}")),
            }
        }
        let leader =
            leader.with_context(|| format!("no node's REST API answers: {}", silent.join("; ")))?;
        // Who has just won the lock has still to be promoted, and others may stream from it already.
        let rest = self.rest_of(self.node(&leader)?);
        let said = rest.get_json("/patroni").await?;
        ensure!(said["role"] == "primary", "{leader} is no primary: {said}");
        Ok(leader)
    }

    fn ensure_steady(&self, seen: &[Seen]) -> Result<String> {
        ensure!(
            seen.len() == self.nodes.len(),
            "{} members are known",
            seen.len()
        );
        let leaders: Vec<_> = seen
            .iter()
            .filter(|member| member.role == "leader")
            .collect();
        let [leader] = leaders[..] else {
            bail!("{} members lead", leaders.len())
        };
        ensure!(leader.state == "running", "the leader is {}", leader.state);
        for member in seen.iter().filter(|member| member.name != leader.name) {
            ensure!(
                member.state == "streaming",
                "{} is {}",
                member.name,
                member.state
            );
            ensure!(
                member.timeline == leader.timeline,
                "{} is on timeline {:?}",
                member.name,
                member.timeline
            );
        }
        let has_standby = seen.iter().any(|member| member.role == "sync_standby");
        ensure!(
            has_standby || !self.settings.synchronous_mode || self.nodes.len() == 1,
            "no member is the synchronous standby"
        );
        Ok(leader.name.clone())
    }

    /// A member a switchover may choose: the synchronous standby in synchronous mode, else the
    /// first replica that streams.
    pub async fn candidate(&self) -> Result<String> {
        let role = if self.settings.synchronous_mode {
            "sync_standby"
        } else {
            "replica"
        };
        let streaming = self.streaming(role).await?;
        streaming
            .into_iter()
            .next()
            .with_context(|| format!("no {role} streams"))
    }
}

/// The names of those in `role` that stream.
#[must_use]
pub fn streaming(seen: &[Seen], role: &str) -> Vec<String> {
    seen.iter()
        .filter(|member| member.role == role && member.state == "streaming")
        .map(|member| member.name.clone())
        .collect()
}

fn members(cluster: &Value) -> Result<Vec<Seen>> {
    let members = cluster["members"]
        .as_array()
        .context("/cluster names no members")?;
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    Ok(members
        .iter()
        .map(|member| Seen {
            name: text(&member["name"]),
            role: text(&member["role"]),
            state: text(&member["state"]),
            timeline: member["timeline"].as_u64(),
        })
        .collect())
}

fn unknown(name: &str) -> String {
    format!("no node is called {name}")
}

fn table(seen: &[Seen]) -> String {
    let member = |seen: &Seen| {
        let timeline = seen
            .timeline
            .map_or_else(|| "?".to_owned(), |number| number.to_string());
        format!(
            "{}: {}, {}, timeline {timeline}",
            seen.name, seen.role, seen.state
        )
    };
    seen.iter().map(member).collect::<Vec<_>>().join("; ")
}
