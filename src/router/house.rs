//! What runs now (clusters, listeners, ports), and how another configuration takes its place.
//!
//! In two phases: [`House::prepare`] does everything that can fail and changes nothing, [`House::commit`] cannot
//! fail. What stays the same is not touched: a socket keeps its queue of clients, a session whatever it came under. What
//! is different between two configurations is worked out in `trunkline_core::reload`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use trunkline_core::admission::Budget;
use trunkline_core::config::Problems;
use trunkline_core::config::router::{Cluster, Listener, Router, Written};
use trunkline_core::reload::{self, Owner, Port, Source};
use trunkline_io::shutdown::Tasks;
use trunkline_io::{clock, descriptors};

use crate::admin::{self, Admin, Configuration, Shown};
use crate::admission::Admission;
use crate::control::Running;
use crate::door::{Count, Door};
use crate::doorstep::Doorstep;
use crate::listener::{self, Porter};
use crate::ports::PassedSockets;
use crate::pump::pipes;
use crate::worker::Workers;
use crate::{ports, socket};

mod prepared;

pub(crate) use prepared::Prepared;

/// How long it may take until nobody answers on a port that is closed.
const CLOSES: Duration = Duration::from_secs(1);

/// Everything that depends on the configuration.
#[derive(Debug)]
pub(crate) struct House {
    config: Router,
    clusters: Vec<Running>,
    doors: Vec<Arc<Door>>,
    /// What each listener counts, by cluster and name: one that comes back goes on where it stopped.
    counts: BTreeMap<(String, String), Arc<Count>>,
    ports: Vec<Open>,
    passed: PassedSockets,
    shown: Arc<ArcSwap<Shown>>,
    admin: Arc<Admin>,
    admission: Arc<Admission>,
    workers: Arc<Workers>,
    tasks: Tasks,
}

/// A port that somebody answers on.
#[derive(Debug)]
struct Open {
    port: Port,
    socket: Arc<Doorstep>,
    /// Who lets clients in to a listener; the stats page has none.
    porter: Option<Porter>,
    stop: CancellationToken,
    /// Fires when nobody answers any more.
    stopped: CancellationToken,
}

impl Open {
    /// Has nobody answer any more. The socket stays open.
    async fn stop(&self) {
        self.stop.cancel();
        if timeout(CLOSES, self.stopped.cancelled()).await.is_err() {
            tracing::error!(owner = %self.port.owner, "a port is still answered by the rules of before");
        }
    }

    /// Closes the port; when this returns, it can be opened anew.
    async fn close(self) {
        self.stop().await;
        if let Some(porter) = self.porter {
            listener::last_call(&self.socket, &porter);
        }
    }

    fn door(&self) -> Option<&Arc<Door>> {
        self.porter.as_ref().map(|porter| &porter.door)
    }
}

impl House {
    /// An empty house: nothing is configured yet.
    pub(crate) fn new(
        passed: PassedSockets,
        admin: impl FnOnce(Arc<ArcSwap<Shown>>) -> Admin,
        workers: &Arc<Workers>,
        tasks: &Tasks,
    ) -> Self {
        let shown = Arc::new(ArcSwap::from_pointee(Shown {
            clusters: Vec::new(),
            doors: Vec::new(),
            counts: BTreeMap::new(),
            configuration: Configuration::none(clock::now()),
        }));
        let budget = Budget::of(descriptors::raise(), workers.count());
        tracing::info!(
            descriptors = budget.descriptors,
            sessions = budget.sessions,
            "open files of this process, and clients they are enough for"
        );
        pipes::allow(budget.pipes);
        ports::tell_queue();
        Self {
            admission: Arc::new(Admission::new(budget)),
            config: Router::new(Vec::new()),
            clusters: Vec::new(),
            doors: Vec::new(),
            counts: BTreeMap::new(),
            ports: Vec::new(),
            passed,
            admin: Arc::new(admin(Arc::clone(&shown))),
            shown,
            workers: Arc::clone(workers),
            tasks: tasks.clone(),
        }
    }

    /// The configuration in force.
    pub(crate) const fn config(&self) -> &Router {
        &self.config
    }

    /// What there is to show, always the newest.
    pub(crate) const fn shown(&self) -> &Arc<ArcSwap<Shown>> {
        &self.shown
    }

    /// How many clients are connected.
    pub(crate) fn clients(&self) -> u32 {
        let clients = |door: &Arc<Door>| {
            let clients = &door.count.clients;
            clients.load(std::sync::atomic::Ordering::Relaxed)
        };
        self.doors.iter().map(clients).sum()
    }

    /// Puts the configuration in place of the one in force.
    pub(crate) async fn commit(&mut self, written: &Written, mut prepared: Prepared) {
        let wanted = &written.router;
        self.follow(wanted, &mut prepared).await;
        self.hang_doors(wanted);
        self.open_ports(std::mem::take(&mut prepared.ports)).await;
        self.config = wanted.clone();
        self.tell_unused();
        let was = self.shown.load();
        let is_first = was.clusters.is_empty();
        let configuration = Configuration {
            file: written.warnings.file.clone(),
            loaded: clock::now(),
            reloads: was.configuration.reloads + u64::from(!is_first),
            refusals: was.configuration.refusals,
            refused: None,
        };
        self.show(configuration);
        if !is_first {
            let steps: Vec<String> = prepared.steps.iter().map(ToString::to_string).collect();
            let changes = match steps.as_slice() {
                [] => "nothing has changed".to_owned(),
                steps => steps.join("; "),
            };
            tracing::info!(
                file = written.warnings.file,
                "the configuration was read again: {changes}"
            );
        }
    }

    /// Notes that a configuration was refused; the old one stays in force.
    pub(crate) fn refused(&self, problems: &Problems) {
        let mut configuration = self.shown.load().configuration.clone();
        configuration.refusals += 1;
        configuration.refused = Some((clock::now(), problems.to_string()));
        self.show(configuration);
        let because: Vec<String> = problems.lines().collect();
        tracing::error!(
            "the new configuration is refused, the old one stays in force: {}",
            because.join("; ")
        );
    }

    /// Has every cluster decided on by its new rules before a client can meet them.
    async fn follow(&mut self, wanted: &Router, prepared: &mut Prepared) {
        let mut begun = std::mem::take(&mut prepared.begun);
        for cluster in &wanted.clusters {
            let place = self
                .clusters
                .iter()
                .position(|it| it.cluster.name == cluster.name);
            match place.and_then(|place| self.clusters.get_mut(place)) {
                Some(running) => {
                    let cluster = with_leaving(cluster, &running.cluster);
                    if cluster != *running.cluster {
                        let certificates = prepared.certificates.remove(&cluster.name);
                        *running = running.told(Arc::new(cluster), certificates).await;
                    }
                }
                None => {
                    let place = begun.iter().position(|it| it.cluster.name == cluster.name);
                    self.clusters
                        .extend(place.map(|place| begun.swap_remove(place)));
                }
            }
        }
    }

    /// A door for every listener; one that stays as it is keeps its own.
    fn hang_doors(&mut self, wanted: &Router) {
        let mut doors = Vec::new();
        for cluster in &wanted.clusters {
            for listener in &cluster.listeners {
                let whose = (cluster.name.clone(), listener.name.clone());
                let count = Arc::clone(self.counts.entry(whose).or_default());
                let had = self.door(&cluster.name, &listener.name);
                match (had, self.running(&cluster.name)) {
                    (Some(had), _) if had.config == *listener && !had.leaving => {
                        doors.push(Arc::clone(had));
                    }
                    (Some(had), _) => doors.push(Arc::new(had.told(listener.clone(), false))),
                    (None, Some(running)) => doors.push(Arc::new(Door {
                        count,
                        ..Door::new(running, listener.clone(), &self.admission, &self.tasks)
                    })),
                    (None, None) => {}
                }
            }
        }
        for had in &self.doors {
            let is_the_same = |door: &Arc<Door>| door.is_called(&had.cluster, &had.config.name);
            if doors.iter().any(is_the_same) {
                continue;
            }
            doors.push(if had.leaving {
                Arc::clone(had)
            } else {
                Arc::new(had.told(had.config.clone(), true))
            });
        }
        self.doors = doors;
    }

    /// Has somebody answer on every port: new ones are open before old ones close.
    async fn open_ports(&mut self, ports: Vec<(Port, Arc<Doorstep>)>) {
        let mut had = std::mem::take(&mut self.ports);
        for (port, socket) in ports {
            let door = match &port.owner {
                Owner::Listener { cluster, listener } => self.door(cluster, listener).cloned(),
                Owner::Stats => None,
            };
            let place = had.iter().position(|open| open.port.source == port.source);
            let before = place.map(|place| had.swap_remove(place));
            if let Some(open) = &before
                && open.port.owner == port.owner
                && is_same(open.door(), door.as_ref())
            {
                self.ports.extend(before);
                continue;
            }
            // The socket is the same, or new: whoever connects to it waits until somebody answers. Two that answer at
            // once would let clients in by the old rules after the new ones are said to be in force.
            if let Some(open) = before {
                open.stop().await;
            }
            let open = self.answer(port, socket, door);
            self.ports.push(open);
        }
        for open in had {
            open.close().await;
        }
    }

    /// Has the listener, or the stats page, answer on `socket`.
    fn answer(&self, port: Port, socket: Arc<Doorstep>, door: Option<Arc<Door>>) -> Open {
        let stop = match &door {
            Some(_) => self.tasks.draining().child_token(),
            None => self.tasks.ending().child_token(),
        };
        let stopped = CancellationToken::new();
        let (answers, told, says) = (Arc::clone(&socket), stop.clone(), stopped.clone());
        let porter = door.map(|door| Porter {
            door,
            workers: Arc::clone(&self.workers),
            near: self.workers.in_turn(),
        });
        match &porter {
            Some(porter) => {
                socket::pass_on_care(&socket, &porter.door.config);
                let accepting = listener::accept(answers, porter.clone(), told);
                let runtime = &self.workers.nth(porter.near).runtime;
                self.tasks.spawn_on(runtime, "listener", async move {
                    accepting.await;
                    says.cancel();
                });
            }
            None => {
                let serving = admin::serve(answers, Arc::clone(&self.admin), told);
                self.tasks.spawn("stats", async move {
                    serving.await;
                    says.cancel();
                });
            }
        }
        Open {
            port,
            socket,
            porter,
            stop,
            stopped,
        }
    }

    /// Lets go of listeners and clusters that were taken out and have no client left.
    pub(crate) async fn sweep(&mut self) {
        let is_over = |door: &Arc<Door>| door.leaving && door.is_empty();
        if !self.doors.iter().any(is_over) {
            return;
        }
        let (over, doors): (Vec<_>, Vec<_>) = self.doors.drain(..).partition(is_over);
        self.doors = doors;
        for door in over {
            let name = &door.config.name;
            tracing::info!(
                cluster = door.cluster,
                listener = name,
                "the last client of a listener that was taken out has left"
            );
        }
        let mut clusters = Vec::new();
        for running in std::mem::take(&mut self.clusters) {
            let cluster = &running.cluster;
            let listeners = cluster.listeners.iter();
            let left: Vec<Listener> = listeners
                .filter(|listener| self.door(&cluster.name, &listener.name).is_some())
                .cloned()
                .collect();
            if left.is_empty() {
                running.stop();
                tracing::info!(
                    cluster = cluster.name,
                    "a cluster that was taken out is no longer followed"
                );
            } else if left.len() == cluster.listeners.len() {
                clusters.push(running);
            } else {
                let cluster = Cluster {
                    listeners: left,
                    ..Cluster::clone(cluster)
                };
                clusters.push(running.told(Arc::new(cluster), None).await);
            }
        }
        self.clusters = clusters;
        self.show(self.shown.load().configuration.clone());
    }

    /// Lets nobody new in. The stats page goes on.
    pub(crate) async fn close_listeners(&mut self) {
        let ports = std::mem::take(&mut self.ports);
        let (listeners, stats) = ports.into_iter().partition(|open| open.porter.is_some());
        self.ports = stats;
        let listeners: Vec<Open> = listeners;
        for open in listeners {
            match open.port.source {
                Source::Bind(_) => open.close().await,
                // Who is queued there is the next router's: the service manager keeps the socket open.
                Source::Passed(_) => open.stop().await,
            }
        }
    }

    fn show(&self, configuration: Configuration) {
        self.shown.store(Arc::new(Shown {
            clusters: self.clusters.clone(),
            doors: self.doors.clone(),
            counts: self.counts.clone(),
            configuration,
        }));
    }

    fn tell_unused(&self) {
        let ports: Vec<Port> = self.ports.iter().map(|open| open.port.clone()).collect();
        for number in reload::unused(&ports, self.passed.known()) {
            if let Some(passed) = self.passed.known().get(number) {
                let address = passed.address.as_ref().map(ToString::to_string);
                tracing::warn!(
                    name = passed.name,
                    address,
                    "nobody answers on a socket that the service manager opened: clients hang there; stop its socket \
                     unit, or name it as a listener"
                );
            }
        }
    }

    fn running(&self, name: &str) -> Option<&Running> {
        let mut clusters = self.clusters.iter();
        clusters.find(|running| running.cluster.name == name)
    }

    fn door(&self, cluster: &str, listener: &str) -> Option<&Arc<Door>> {
        let mut doors = self.doors.iter();
        doors.find(|door| door.is_called(cluster, listener))
    }
}

/// `wanted` with the listeners that `running` has beside: their sessions are to be decided on until they end.
fn with_leaving(wanted: &Cluster, running: &Cluster) -> Cluster {
    let mut cluster = wanted.clone();
    let is_wanted = |listener: &&Listener| {
        let mut listeners = wanted.listeners.iter();
        listeners.any(|wanted| wanted.name == listener.name)
    };
    let leaving = running
        .listeners
        .iter()
        .filter(|listener| !is_wanted(listener));
    cluster.listeners.extend(leaving.cloned());
    cluster
}

fn is_same(one: Option<&Arc<Door>>, other: Option<&Arc<Door>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
