//! From the configuration in force to a new one: what changes, which sockets stay, and what cannot be changed.
//!
//! Nothing here opens or closes anything. Whoever carries a [`Plan`] out has it whole before the first step, so
//! that a file is either applied or refused.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crate::config::router::{Bind, BindAddr, Cluster, Key, Listener, Router};
use crate::route::Address;

/// Who answers on a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A listener.
    Listener {
        /// Of which cluster, by its name in the file.
        cluster: String,
        /// Which one.
        listener: String,
    },
    /// The stats page.
    Stats,
}

/// Where a listening socket comes from. Two that are equal are the same socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The router opens it.
    Bind(Bind),
    /// The service manager opened it: its number among the sockets that were passed.
    Passed(usize),
}

/// A listening socket and who answers there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Who.
    pub owner: Owner,
    /// Where.
    pub source: Source,
}

/// A listening socket that the service manager passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// What it is called there.
    pub name: String,
    /// Where it listens; `None` if nobody can write that as a `bind`.
    pub address: Option<Address>,
}

/// What a new configuration changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Plan {
    /// Every port there is to be.
    pub ports: Vec<Port>,
    /// The changes, for people.
    pub steps: Vec<Step>,
}

/// One thing that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A cluster is followed from now on.
    ClusterAdded(String),
    /// A cluster is followed only until its last session has ended.
    ClusterRemoved(String),
    /// Other keys of a cluster than its listeners.
    ClusterChanged(String, Vec<&'static str>),
    /// A listener begins.
    ListenerAdded(String, String),
    /// A listener takes no more clients; its sessions go on.
    ListenerRemoved(String, String),
    /// Keys of a listener.
    ListenerChanged(String, String, Vec<&'static str>),
    /// A key of the router as a whole.
    Changed(&'static str),
}

/// A change that takes a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The key.
    pub key: Key,
    /// What is the matter with it.
    pub what: String,
    /// What to do.
    pub expected: String,
}

/// The ports of `router`, where `passed` are the sockets that the service manager opened.
///
/// A socket that is called as a listener (`LISTENER`, `CLUSTER/LISTENER`, or `stats`) is that listener's, in place of
/// all its `bind`. One with any other name takes the place of the `bind` with its address.
#[must_use]
pub fn ports(router: &Router, passed: &[Passed]) -> Vec<Port> {
    let owners = owners(router);
    let named: Vec<Option<&Owner>> = passed
        .iter()
        .map(|socket| called(&socket.name, &owners))
        .collect();
    let mut ports = Vec::new();
    for (owner, binds) in &owners {
        let own = (0..passed.len()).filter(|number| named.get(*number) == Some(&Some(owner)));
        let own: Vec<Source> = own.map(Source::Passed).collect();
        let by_address = || {
            binds.iter().map(|bind| {
                let fits = |(number, socket): &(usize, &Passed)| {
                    named.get(*number) == Some(&None) && is_at(bind, socket.address.as_ref())
                };
                let socket = passed.iter().enumerate().find(fits);
                socket.map_or_else(
                    || Source::Bind((*bind).clone()),
                    |(number, _)| Source::Passed(number),
                )
            })
        };
        let sources: Vec<Source> = if own.is_empty() {
            by_address().collect()
        } else {
            own
        };
        ports.extend(sources.into_iter().map(|source| Port {
            owner: owner.clone(),
            source,
        }));
    }
    ports
}

/// The numbers of the passed sockets that are nobody's among `ports`.
#[must_use]
pub fn unused(ports: &[Port], passed: &[Passed]) -> Vec<usize> {
    let used: BTreeSet<&Source> = ports.iter().map(|port| &port.source).collect();
    (0..passed.len())
        .filter(|number| !used.contains(&Source::Passed(*number)))
        .collect()
}

/// The way from `running` to `wanted`. `leaving` are clusters that were taken out before and still have sessions.
///
/// # Errors
/// Every change that takes a restart: then nothing is to be changed at all.
pub fn plan(
    running: &Router,
    leaving: &[&Cluster],
    wanted: &Router,
    passed: &[Passed],
) -> Result<Plan, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let mut steps = Vec::new();
    for cluster in &wanted.clusters {
        let had = running.clusters.iter().chain(leaving.iter().copied());
        let had = had.filter(|had| had.name == cluster.name);
        refusals.extend(had.filter_map(|had| is_another(had, cluster)));
        match named_as(&running.clusters, cluster) {
            Some(had) => compare(had, cluster, &mut steps),
            None => steps.push(Step::ClusterAdded(cluster.name.clone())),
        }
    }
    let gone = running.clusters.iter();
    let gone = gone.filter(|had| named_as(&wanted.clusters, had).is_none());
    steps.extend(gone.map(|had| Step::ClusterRemoved(had.name.clone())));
    whole(running, wanted, &mut steps, &mut refusals);
    if !refusals.is_empty() {
        return Err(refusals);
    }
    Ok(Plan {
        ports: ports(wanted, passed),
        steps,
    })
}

fn named_as<'c>(clusters: &'c [Cluster], named: &Cluster) -> Option<&'c Cluster> {
    clusters.iter().find(|cluster| cluster.name == named.name)
}

/// What is remembered of a cluster (who led, who was proven) must not be taken for another one's.
fn is_another(had: &Cluster, now: &Cluster) -> Option<Refusal> {
    let refusal = |key, had: &dyn fmt::Display| Refusal {
        key: Key::Cluster(now.name.clone(), key),
        what: format!(
            "names another cluster than {had}, which is followed as {}",
            now.name
        ),
        expected: "restart the router, or give the other cluster a name of its own under clusters:"
            .to_owned(),
    };
    if had.scope != now.scope {
        return Some(refusal("scope", &had.scope));
    }
    (had.namespace != now.namespace).then(|| refusal("namespace", &had.namespace))
}

fn compare(had: &Cluster, now: &Cluster, steps: &mut Vec<Step>) {
    let keys = cluster_keys(had, now);
    if !keys.is_empty() {
        steps.push(Step::ClusterChanged(now.name.clone(), keys));
    }
    let name = || now.name.clone();
    for listener in &now.listeners {
        match had.listeners.iter().find(|had| had.name == listener.name) {
            None => steps.push(Step::ListenerAdded(name(), listener.name.clone())),
            Some(had) => {
                let keys = listener_keys(had, listener);
                if !keys.is_empty() {
                    steps.push(Step::ListenerChanged(name(), listener.name.clone(), keys));
                }
            }
        }
    }
    let gone = had.listeners.iter();
    let gone = gone.filter(|had| now.listeners.iter().all(|now| now.name != had.name));
    steps.extend(gone.map(|had| Step::ListenerRemoved(name(), had.name.clone())));
}

fn whole(had: &Router, now: &Router, steps: &mut Vec<Step>, refusals: &mut Vec<Refusal>) {
    // Taken apart, so that a setting that is added cannot be forgotten here.
    let Router {
        clusters: _,
        stats,
        drain,
        threads,
        log,
        state,
    } = now;
    let changed = [
        ("stats", *stats != had.stats),
        ("drain", *drain != had.drain),
        ("log.level", log.level != had.log.level),
    ];
    steps.extend(differing(&changed).into_iter().map(Step::Changed));
    let restart = [
        ("state", *state != had.state),
        ("threads", *threads != had.threads),
        ("log.format", log.format != had.log.format),
    ];
    refusals.extend(differing(&restart).into_iter().map(|key| Refusal {
        key: Key::Whole(key),
        what: "cannot be changed while the router runs".to_owned(),
        expected: "restart the router, or leave it as it was".to_owned(),
    }));
}

fn cluster_keys(had: &Cluster, now: &Cluster) -> Vec<&'static str> {
    let Cluster {
        name: _,
        scope: _,
        namespace: _,
        etcd,
        restapi,
        when_unproven,
        use_proxy_url,
        probe,
        lag_grace,
        listeners: _,
    } = now;
    differing(&[
        ("etcd3", *etcd != had.etcd),
        ("restapi", *restapi != had.restapi),
        ("when_unproven", *when_unproven != had.when_unproven),
        ("use_proxy_url", *use_proxy_url != had.use_proxy_url),
        ("probe", *probe != had.probe),
        ("lag_grace", *lag_grace != had.lag_grace),
    ])
}

fn listener_keys(had: &Listener, now: &Listener) -> Vec<&'static str> {
    let Listener {
        name: _,
        bind,
        to,
        balance,
        hold,
        max_lag,
        fallback,
        tags,
        prefer,
        weights,
        backup,
        maxconn,
        server_maxconn,
        queue_timeout,
        on_leave,
        connect_timeout,
        retries,
        source,
        client_idle,
        keepalive,
        user_timeout,
    } = now;
    differing(&[
        ("bind", *bind != had.bind),
        ("to", *to != had.to),
        ("balance", *balance != had.balance),
        ("hold", *hold != had.hold),
        ("max_lag", *max_lag != had.max_lag),
        ("fallback", *fallback != had.fallback),
        ("tags", *tags != had.tags),
        ("prefer", *prefer != had.prefer),
        ("weights", *weights != had.weights),
        ("backup", *backup != had.backup),
        ("maxconn", *maxconn != had.maxconn),
        ("server_maxconn", *server_maxconn != had.server_maxconn),
        ("queue_timeout", *queue_timeout != had.queue_timeout),
        ("on_leave", *on_leave != had.on_leave),
        ("connect_timeout", *connect_timeout != had.connect_timeout),
        ("retries", *retries != had.retries),
        ("source", *source != had.source),
        ("client_idle", *client_idle != had.client_idle),
        ("keepalive", *keepalive != had.keepalive),
        ("user_timeout", *user_timeout != had.user_timeout),
    ])
}

fn differing(keys: &[(&'static str, bool)]) -> Vec<&'static str> {
    let differing = keys.iter().filter(|(_, differs)| *differs);
    differing.map(|(key, _)| *key).collect()
}

fn owners(router: &Router) -> Vec<(Owner, &[Bind])> {
    let mut owners = Vec::new();
    for cluster in &router.clusters {
        owners.extend(cluster.listeners.iter().map(|listener| {
            let owner = Owner::Listener {
                cluster: cluster.name.clone(),
                listener: listener.name.clone(),
            };
            (owner, listener.bind.as_slice())
        }));
    }
    owners.push((Owner::Stats, router.stats.bind.as_slice()));
    owners
}

/// Whom a socket's name means; nobody if it could mean two.
fn called<'o>(name: &str, owners: &'o [(Owner, &[Bind])]) -> Option<&'o Owner> {
    let means = |owner: &Owner| match owner {
        Owner::Listener { cluster, listener } => {
            name == listener || name.split_once('/') == Some((cluster.as_str(), listener.as_str()))
        }
        Owner::Stats => name == "stats",
    };
    let mut meant = owners
        .iter()
        .map(|(owner, _)| owner)
        .filter(|owner| means(owner));
    let first = meant.next()?;
    meant.next().is_none().then_some(first)
}

/// Whether a socket at `address` is what `bind` asks for.
fn is_at(bind: &Bind, address: Option<&Address>) -> bool {
    match (bind, address) {
        (Bind::Tcp { addr, port }, Some(Address::Tcp(at))) if *port == at.port() => match addr {
            BindAddr::Any => at.ip().is_unspecified(),
            BindAddr::Ip(ip) => *ip == at.ip() || is_every(*ip, at.ip()),
            BindAddr::Name(_) => false,
        },
        (Bind::Unix(path), Some(Address::Unix(at))) => **path == **at,
        (Bind::Tcp { .. } | Bind::Unix(_), None | Some(Address::Tcp(_) | Address::Unix(_))) => {
            false
        }
    }
}

/// systemd's `ListenStream=PORT` is one socket for IPv6 and IPv4: it does for who asked for every IPv4 address.
fn is_every(wanted: IpAddr, at: IpAddr) -> bool {
    wanted.is_unspecified() && at.is_unspecified() && at.is_ipv6()
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener { cluster, listener } => write!(f, "{cluster}/{listener}"),
            Self::Stats => f.write_str("stats"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClusterAdded(name) => write!(f, "cluster {name} is new"),
            Self::ClusterRemoved(name) => write!(f, "cluster {name} is gone"),
            Self::ClusterChanged(name, keys) => write!(f, "cluster {name}: {}", keys.join(", ")),
            Self::ListenerAdded(cluster, name) => write!(f, "listener {cluster}/{name} is new"),
            Self::ListenerRemoved(cluster, name) => write!(f, "listener {cluster}/{name} is gone"),
            Self::ListenerChanged(cluster, name, keys) => {
                write!(f, "listener {cluster}/{name}: {}", keys.join(", "))
            }
            Self::Changed(key) => f.write_str(key),
        }
    }
}

#[cfg(test)]
mod tests;
