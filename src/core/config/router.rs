//! The router's configuration as meant: every default filled in, every value of a type that cannot be wrong.
//!
//! Nothing here knows how it was written. Whoever holds a [`Router`] holds one that was checked as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::{MemberName, Scope};

mod check;
pub mod defaults;
mod describe;
mod etcd;
mod key;
mod listener;
mod patroni;
mod unbuilt;
mod understand;
mod words;

pub use describe::describe;
pub(in crate::config) use etcd::section as etcd_section;
pub use key::{Key, Written};
pub use patroni::{from_flags, from_patroni};
pub use unbuilt::unbuilt;
pub use understand::understand;
pub(in crate::config) use understand::{namespace, scope};

/// Everything the router was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// The clusters it routes to; at least one, their names unique.
    pub clusters: Vec<Cluster>,
    /// The stats page.
    pub stats: Stats,
    /// How long SIGTERM waits for sessions to end by themselves.
    pub drain: Duration,
    /// How many threads sessions run on; one a processor if `None`.
    pub threads: Option<u32>,
    /// The log.
    pub log: Log,
    /// The directory where what is known is kept for the next start; nowhere if `None`.
    pub state: Option<PathBuf>,
}

/// A Patroni cluster and the listeners that route to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// What it is called here: the key under `clusters`, or the scope.
    pub name: String,
    /// What Patroni calls it.
    pub scope: Scope,
    /// Where Patroni keeps its clusters in etcd, slashes normalised: `/service`, or empty for the root.
    pub namespace: String,
    /// The etcd that knows who leads.
    pub etcd: Etcd,
    /// How members' REST APIs are asked.
    pub restapi: RestApi,
    /// What becomes of write sessions when there is no proof left.
    pub when_unproven: WhenUnproven,
    /// Whether a member's `proxy_url` is used in place of its `conn_url`.
    pub use_proxy_url: bool,
    /// How often members are asked, and how many answers it takes.
    pub probe: Probe,
    /// How long a replica stays a target while its lag cannot be told.
    pub lag_grace: Duration,
    /// Where clients connect; at least one, their names unique.
    pub listeners: Vec<Listener>,
}

/// An etcd cluster and how to speak to it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Etcd {
    /// Where to ask; at least one, no two the same, all with TLS or all without.
    pub endpoints: Vec<Endpoint>,
    /// The bundle the servers' certificates are checked against.
    pub cacert: Option<PathBuf>,
    /// The router's own certificate.
    pub cert: Option<PathBuf>,
    /// Its key, where that is not in the same file.
    pub key: Option<PathBuf>,
    /// The user to authenticate as.
    pub username: Option<String>,
    /// Their password.
    pub password: Option<Secret>,
    /// Whether it was written as an `etcd:` section, which to Patroni means etcd's version 2 store.
    pub version2_section: bool,
}

/// One etcd server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The files for asking REST APIs that speak TLS. Whether one does stands in the member's `api_url`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RestApi {
    /// The bundle the members' certificates are checked against.
    pub cacert: Option<PathBuf>,
    /// The router's own certificate.
    pub cert: Option<PathBuf>,
    /// Its key, where that is not in the same file.
    pub key: Option<PathBuf>,
    /// Whether the members' certificates are taken unchecked.
    pub insecure: bool,
}

/// What becomes of write sessions when nothing proves their target any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenUnproven {
    /// They end at the deadline: no session on a member that may have been replaced.
    #[default]
    Kill,
    /// They stay until something contradicts: no outage because etcd is away.
    Keep,
}

/// How members are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Time between two questions while nothing is in doubt.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good answers in a row that make a member up.
    pub rise: u32,
    /// Bad answers in a row that make it down.
    pub fall: u32,
}

/// A port and what is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name: on the stats page, in the log, in metrics.
    pub name: String,
    /// Where it listens; at least one.
    pub bind: Vec<Bind>,
    /// Which members it routes to.
    pub to: To,
    /// How one of them is chosen.
    pub balance: Balance,
    /// How a client is held while there is no target.
    pub hold: Hold,
    /// How far behind a replica may be, in bytes of WAL; no limit if `None`.
    pub max_lag: Option<u64>,
    /// Which members it routes to when there is none of the others.
    pub fallback: Option<To>,
    /// Tags a member must have, with these values.
    pub tags: BTreeMap<String, String>,
    /// Tags of the members to be preferred: the others serve only when none of these is left.
    pub prefer: BTreeMap<String, String>,
    /// How many sessions a member gets, relative to the others; 1 where it is not named.
    pub weights: BTreeMap<MemberName, u32>,
    /// Members that serve only when no other is left.
    pub backup: BTreeSet<MemberName>,
    /// How many sessions there may be; no limit of its own if `None`.
    pub maxconn: Option<u32>,
    /// How many sessions a member may have; further ones queue.
    pub server_maxconn: Option<u32>,
    /// How long a session may queue for a member below `server_maxconn`.
    pub queue_timeout: Duration,
    /// What becomes of sessions whose member leaves the pool.
    pub on_leave: OnLeave,
    /// How long connecting to a member may take.
    pub connect_timeout: Duration,
    /// How often connecting is tried again, on another member where there is one.
    pub retries: u32,
    /// The addresses of this machine that members are connected to from, each in turn; those of a member's own
    /// family count. Where there is none of it the system chooses.
    pub source: Vec<IpAddr>,
    /// How long a session may be silent; for ever if `None`.
    pub client_idle: Option<Duration>,
    /// TCP keepalive, on both legs.
    pub keepalive: Keepalive,
    /// How long data may stay unacknowledged, or unsent because the reader stopped (`TCP_USER_TIMEOUT`): a living reader
    /// that stops for longer is cut, since Linux counts the probes of its closed window too. As long as the system lets
    /// it if `None`. Where it is set, Linux goes by it instead of by the number of keepalive probes.
    pub user_timeout: Option<Duration>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bind {
    /// A TCP port.
    Tcp {
        /// Of which address.
        addr: BindAddr,
        /// Which one; never 0.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// The address of a TCP port to listen on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BindAddr {
    /// Every address of the machine, IPv4 and IPv6.
    Any,
    /// One address, or every one of its family.
    Ip(IpAddr),
    /// A name, to be resolved at start.
    Name(String),
}

/// Which members a listener routes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum To {
    /// The one that is proven to be the primary.
    Primary,
    /// The replicas.
    Replicas,
    /// The synchronous standbys.
    Sync,
    /// Every member that runs.
    Any,
    /// The leader of a standby cluster.
    StandbyLeader,
}

/// How one target of several is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Balance {
    /// The one with the fewest sessions for its weight.
    #[default]
    LeastConn,
    /// Each in turn.
    RoundRobin,
    /// Any.
    Random,
    /// By the client's address: the same client finds the same member.
    Source,
}

/// How a client is held while there is no target for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// How long; not at all if zero.
    pub time: Duration,
    /// How many clients at once.
    pub number: u32,
}

/// What becomes of sessions whose member leaves the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnLeave {
    /// They end at once.
    Kill,
    /// They may end by themselves; new ones go elsewhere, and the page shows them as draining.
    Drain,
    /// They stay, unless the member becomes primary or is gone.
    Keep,
}

/// When a peer that says nothing is asked whether it lives, and when it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first question.
    pub idle: Duration,
    /// Time between two questions.
    pub interval: Duration,
    /// Questions without an answer until the peer counts as dead.
    pub probes: u32,
}

/// The stats page, and what else is served on its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Where it listens; nowhere if empty.
    pub bind: Vec<Bind>,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Log {
    /// The least level that is written.
    pub level: LogLevel,
    /// The shape of a line.
    pub format: LogFormat,
}

/// How much an operator needs to see a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// We are not doing our job.
    Error,
    /// Somebody may be needed.
    Warn,
    /// A role, lock, table or target changed.
    #[default]
    Info,
    /// A line a cycle.
    Debug,
    /// Everything.
    Trace,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For collectors: one JSON object a line.
    Json,
}

/// A password: it can be used, but neither printed nor logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a password out of sight.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The password itself, for the one who sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
