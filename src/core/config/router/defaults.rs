//! What holds where nothing is written: the one place for every default number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{
    Balance, Bind, BindAddr, Cluster, Endpoint, Etcd, Hold, Keepalive, Listener, Log, OnLeave,
    Probe, RestApi, Router, Stats, To, WhenUnproven,
};
use crate::Scope;

/// Where Patroni keeps its clusters unless told otherwise.
pub const NAMESPACE: &str = "/service";

/// etcd's client port.
pub const ETCD_PORT: u16 = 2379;

/// The names that say by themselves what a listener is for, with the port each has in HAProxy files.
pub(super) const WELL_KNOWN: [(&str, u16, To); 3] = [
    ("write", 5000, To::Primary),
    ("read", 5001, To::Replicas),
    ("sync", 5002, To::Sync),
];

impl Router {
    /// A router for these clusters, all else as if nothing were written.
    #[must_use]
    pub fn new(clusters: Vec<Cluster>) -> Self {
        Self {
            clusters,
            stats: Stats::default(),
            drain: Duration::from_secs(30),
            threads: None,
            state: None,
            log: Log::default(),
        }
    }
}

impl Cluster {
    /// A cluster with the listeners `write`, `read` and `sync`, all else as if nothing were written.
    #[must_use]
    pub fn new(scope: Scope, etcd: Etcd) -> Self {
        Self {
            name: scope.to_string(),
            scope,
            namespace: NAMESPACE.to_owned(),
            etcd,
            restapi: RestApi::default(),
            when_unproven: WhenUnproven::default(),
            use_proxy_url: false,
            probe: Probe::default(),
            lag_grace: Duration::from_secs(10),
            listeners: WELL_KNOWN
                .map(|(name, port, to)| Listener::new(name, vec![Bind::any(port)], to))
                .into(),
        }
    }
}

impl Etcd {
    /// An etcd at these places, without user and certificates.
    #[must_use]
    pub fn at(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints,
            ..Self::default()
        }
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 1,
        }
    }
}

impl Listener {
    /// A listener with the defaults of what it routes to.
    #[must_use]
    pub fn new(name: &str, bind: Vec<Bind>, to: To) -> Self {
        let hold = Hold {
            time: to.default_hold(),
            number: 10_000,
        };
        Self {
            name: name.to_owned(),
            bind,
            to,
            balance: Balance::default(),
            hold,
            max_lag: None,
            fallback: None,
            tags: BTreeMap::new(),
            prefer: BTreeMap::new(),
            weights: BTreeMap::new(),
            backup: BTreeSet::new(),
            maxconn: None,
            server_maxconn: None,
            queue_timeout: hold.time,
            on_leave: to.default_on_leave(),
            connect_timeout: Duration::from_secs(4),
            retries: 2,
            source: Vec::new(),
            client_idle: None,
            keepalive: Keepalive::default(),
            // With one, Linux no longer counts keepalive probes: a dead peer would be found when it has passed.
            user_timeout: None,
        }
    }
}

impl To {
    /// Who follows the lock waits out a failover; who reads has other members to go to.
    const fn default_hold(self) -> Duration {
        match self {
            Self::Primary | Self::StandbyLeader => Duration::from_secs(30),
            Self::Replicas | Self::Sync | Self::Any => Duration::from_secs(5),
        }
    }

    /// Sessions that follow the lock must not stay behind; a reader's may.
    const fn default_on_leave(self) -> OnLeave {
        match self {
            Self::Primary | Self::StandbyLeader => OnLeave::Kill,
            Self::Replicas | Self::Sync | Self::Any => OnLeave::Keep,
        }
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10),
            interval: Duration::from_secs(3),
            probes: 3,
        }
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            bind: vec![Bind::any(7000)],
        }
    }
}

impl Bind {
    /// A TCP port on every address of the machine.
    #[must_use]
    pub const fn any(port: u16) -> Self {
        Self::Tcp {
            addr: BindAddr::Any,
            port,
        }
    }
}
