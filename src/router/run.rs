//! From a configuration to a running router, and to its end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, lookup_host};
use trunkline_core::config::router::{Bind, BindAddr, Cluster, Router};
use trunkline_io::clock;
use trunkline_io::metrics::Recorder;
use trunkline_io::shutdown::{StopSignals, Tasks};

use crate::admin::{self, Admin};
use crate::certificates::Certificates;
use crate::control::{self, Running};
use crate::door::Door;
use crate::{listener, metrics, socket};

/// How long tasks may take to end once they are told to.
const GRACE: Duration = Duration::from_secs(2);
/// How often histogram samples are folded.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why the router did not start.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A port could not be had.
    #[error("{listener}: cannot listen on {bind}: {cause}")]
    Bind {
        /// Which listener.
        listener: String,
        /// Where.
        bind: String,
        /// What the system says.
        cause: io::Error,
    },
    /// The system refused something every process needs.
    #[error("{what}: {cause}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system says.
        cause: io::Error,
    },
    /// A certificate cannot be used.
    #[error("{0}")]
    Certificates(trunkline_io::tls::Unusable),
    /// Metrics could not be set up.
    #[error("cannot set up metrics: {0}")]
    Metrics(String),
}

/// Runs the router until a signal stops it: SIGTERM or SIGINT drains, a second one ends at once.
///
/// # Errors
/// [`Failure`], before any client is accepted.
pub async fn run(config: Router) -> Result<(), Failure> {
    let signals = StopSignals::take().map_err(|cause| Failure::System {
        what: "taking over signals",
        cause,
    })?;
    let recorder = Recorder::install().map_err(|error| Failure::Metrics(error.to_string()))?;
    metrics::describe();
    let tasks = Tasks::new();
    // Every port is taken before anything is asked of anybody: a router that cannot serve does not start.
    let mut ports = Vec::new();
    for cluster in &config.clusters {
        for (number, listener) in cluster.listeners.iter().enumerate() {
            for bind in &listener.bind {
                let socket = bind_one(&listener.name, bind).await?;
                ports.push((cluster.name.clone(), number, socket));
            }
        }
    }
    let mut pages = Vec::new();
    for bind in &config.stats.bind {
        pages.push(bind_one("stats", bind).await?);
    }
    let mut doors: Vec<Arc<Door>> = Vec::new();
    let mut clusters = Vec::new();
    for cluster in config.clusters {
        let running = follow(cluster, config.state.as_deref(), &tasks)?;
        let count = running.cluster.listeners.len();
        doors.extend(
            (0..count)
                .filter_map(|number| Door::new(&running, number, &tasks))
                .map(Arc::new),
        );
        clusters.push(running);
    }
    for (cluster, number, socket) in ports {
        let door = doors
            .iter()
            .find(|door| door.cluster == cluster && door.number == number);
        if let Some(door) = door {
            tasks.spawn("listener", listener::accept(socket, Arc::clone(door)));
        }
    }
    let admin = Arc::new(Admin::new(
        clusters,
        doors.clone(),
        recorder.clone(),
        tasks.clone(),
    ));
    for page in pages {
        tasks.spawn("stats", admin::serve(page, Arc::clone(&admin)));
    }
    let end = tasks.ending().clone();
    tasks.spawn("metrics upkeep", async move {
        let upkeep = async {
            loop {
                tokio::time::sleep(UPKEEP).await;
                recorder.upkeep();
            }
        };
        let _: Option<()> = end.run_until_cancelled(upkeep).await;
    });
    stop(signals, &tasks, &doors, config.drain).await;
    Ok(())
}

/// Starts to follow a cluster.
fn follow(cluster: Cluster, state: Option<&Path>, tasks: &Tasks) -> Result<Running, Failure> {
    let certificates = Certificates::load(&cluster).map_err(Failure::Certificates)?;
    control::start(Arc::new(cluster), certificates, state, tasks).map_err(|cause| Failure::System {
        what: "taking a timer",
        cause,
    })
}

/// Waits for a signal, drains, ends.
async fn stop(mut signals: StopSignals, tasks: &Tasks, doors: &[Arc<Door>], bound: Duration) {
    let signal = signals.next().await;
    tasks.drain();
    let began = clock::now();
    let sessions = count(doors);
    tracing::info!(signal, sessions, within = ?bound, "draining: no new clients");
    let drained = async {
        while count(doors) > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = drained => {}
        () = tokio::time::sleep(bound) => tracing::warn!(sessions = count(doors), "the drain took too long: ending sessions"),
        signal = signals.next() => tracing::warn!(signal, sessions = count(doors), "a second signal: ending sessions"),
    }
    if !tasks.end(GRACE).await {
        tracing::error!("some tasks did not end in time");
    }
    tracing::info!(after = ?clock::now().since(began), "stopped");
}

fn count(doors: &[Arc<Door>]) -> u32 {
    let clients = |door: &Arc<Door>| {
        door.count
            .clients
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    doors.iter().map(clients).sum()
}

async fn bind_one(listener: &str, bind: &Bind) -> Result<TcpListener, Failure> {
    let failure = |cause| Failure::Bind {
        listener: listener.to_owned(),
        bind: bind.to_string(),
        cause,
    };
    let (addr, port) = match bind {
        Bind::Tcp { addr, port } => (addr, *port),
        Bind::Unix(_) => {
            return Err(failure(io::Error::new(
                io::ErrorKind::Unsupported,
                "unix sockets are not built yet",
            )));
        }
    };
    let address = match addr {
        BindAddr::Ip(ip) => SocketAddr::new(*ip, port),
        BindAddr::Any => return bind_any(port).map_err(failure),
        BindAddr::Name(name) => lookup_host((name.as_str(), port))
            .await
            .map_err(failure)?
            .next()
            .ok_or_else(|| {
                failure(io::Error::new(
                    io::ErrorKind::NotFound,
                    "the name has no address",
                ))
            })?,
    };
    socket::listen(address).map_err(failure)
}

/// Every address of the machine: IPv6 with IPv4 in it, or IPv4 alone where there is no IPv6.
fn bind_any(port: u16) -> io::Result<TcpListener> {
    let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    match socket::listen(v6) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            socket::listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
        }
        outcome => outcome,
    }
}
