//! The one task that decides and publishes: woken by anything, it looks at everything again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use trunkline_core::config::router::Cluster;
use trunkline_core::keys::Prefix;
use trunkline_core::probe::Probe;
use trunkline_core::route::change::{self, Change};
use trunkline_core::route::{self, Address, Ledger, Table};
use trunkline_core::wire::member::{ApiUrl, ConnUrl, Host, Member};
use trunkline_core::{MemberName, Moment};
use trunkline_io::clock::{self, Alarm};
use trunkline_io::etcd::Access;
use trunkline_io::shutdown::Tasks;

use crate::certificates::Certificates;
use crate::events;
use crate::feed::{self, Feed, Seen};
use crate::machine::Machine;
use crate::memory::Shelf;
use crate::poll::{self, Poll, Question};
use crate::published::{Board, Seats, Snapshot};
use crate::resolve::{Resolver, Wanted};

/// How sessions tell control that a member failed them; a full queue loses nothing, the doubt is there already.
pub type Doubts = mpsc::Sender<MemberName>;

/// A running cluster: what its listeners and the stats page need of it.
#[derive(Clone, Debug)]
pub struct Running {
    /// What was configured.
    pub cluster: Arc<Cluster>,
    /// Where its decisions are found.
    pub board: Arc<Board>,
    /// Where sessions report.
    pub doubts: Doubts,
    /// What etcd and the members are met with.
    pub certificates: Certificates,
    orders: mpsc::Sender<Order>,
    tasks: Tasks,
    /// Those that look after the certificates: other ones end them.
    looking: Tasks,
}

/// What control is told to decide by from now on, and whom it tells that it does.
#[derive(Debug)]
struct Order {
    cluster: Arc<Cluster>,
    /// What etcd and the members are met with from now on, where that changes.
    certificates: Option<Certificates>,
    done: oneshot::Sender<()>,
}

/// How many doubts may wait to be heard.
const DOUBTS: usize = 64;
/// How long control may take to decide by something else; a look takes less than a millisecond.
const OBEYS: Duration = Duration::from_secs(2);

impl Running {
    /// A cluster that nobody decides on any more than `board` shows, for tests of what is made of it.
    #[doc(hidden)]
    #[must_use]
    pub fn deaf(cluster: Arc<Cluster>, board: Arc<Board>) -> Self {
        Self {
            cluster,
            board,
            doubts: mpsc::channel(1).0,
            certificates: Certificates {
                etcd: None,
                rest: None,
            },
            orders: mpsc::channel(1).0,
            tasks: Tasks::new(),
            looking: Tasks::new(),
        }
    }

    /// The same cluster by other rules and with other listeners: when this returns, they are decided on.
    /// `certificates` take the place of the present ones; whoever changes how etcd or the members are met has some.
    /// Where etcd is met as before, its connections and what looks after its certificates stay.
    pub async fn told(&self, cluster: Arc<Cluster>, certificates: Option<Certificates>) -> Self {
        let certificates = certificates.map(|new| Certificates {
            etcd: if cluster.etcd == self.cluster.etcd {
                self.certificates.etcd.clone()
            } else {
                new.etcd
            },
            rest: new.rest,
        });
        let (done, is_done) = oneshot::channel();
        let order = Order {
            cluster: Arc::clone(&cluster),
            certificates: certificates.clone(),
            done,
        };
        let obeyed = async { self.orders.send(order).await.is_ok() && is_done.await.is_ok() };
        if timeout(OBEYS, obeyed).await != Ok(true) {
            tracing::error!(
                cluster = cluster.name,
                "the routing decision does not go by the new configuration yet"
            );
        }
        let mut told = Self {
            cluster,
            ..self.clone()
        };
        if let Some(certificates) = certificates {
            self.looking.stop();
            told.looking = self.tasks.part();
            certificates.follow(&told.looking);
            told.certificates = certificates;
        }
        told
    }

    /// Stops to follow the cluster: there are no sessions left that could be decided on.
    pub fn stop(&self) {
        self.tasks.stop();
    }
}

/// Starts to follow and to decide for `cluster`; what is known of it is kept in the directory `state`.
///
/// # Errors
/// When the system has no timer to give.
pub fn start(
    cluster: Arc<Cluster>,
    certificates: Certificates,
    state: Option<&Path>,
    tasks: &Tasks,
) -> std::io::Result<Running> {
    let tasks = &tasks.part();
    let shelf = state.map(|directory| Shelf::new(directory, &cluster.name));
    let feed = feed::start(
        Prefix::new(&cluster.namespace, &cluster.scope),
        Access::all(&cluster.etcd, certificates.etcd.as_ref()),
        shelf,
        tasks,
    )?;
    let (doubts, doubted) = mpsc::channel(DOUBTS);
    let (orders, ordered) = mpsc::channel(1);
    let mut control = Control {
        poll: Poll::new(
            &cluster.name,
            cluster.scope.clone(),
            certificates.rest.clone(),
            tasks.clone(),
        ),
        cluster: Arc::clone(&cluster),
        feed,
        resolver: Resolver::default(),
        machine: Machine::default(),
        failed: BTreeSet::new(),
        ledger: Ledger::default(),
        seats: Seats::new(tasks.ending().clone()),
        table: None,
    };
    let board = Arc::new(Board::new(control.first_snapshot()));
    let alarm = Alarm::new()?;
    let running = Running {
        cluster,
        board: Arc::clone(&board),
        doubts,
        certificates,
        orders,
        tasks: tasks.clone(),
        looking: tasks.part(),
    };
    running.certificates.follow(&running.looking);
    let end = tasks.ending().clone();
    tasks.spawn("control", async move {
        let _ = end
            .run_until_cancelled(control.run(&board, doubted, ordered, alarm))
            .await;
    });
    Ok(running)
}

struct Control {
    cluster: Arc<Cluster>,
    feed: Feed,
    poll: Poll,
    resolver: Resolver,
    machine: Machine,
    /// Members that failed a session since the last look.
    failed: BTreeSet<MemberName>,
    ledger: Ledger,
    seats: Seats,
    table: Option<Table>,
}

/// Where members are, names resolved.
#[derive(Default)]
struct Addresses {
    postgres: BTreeMap<MemberName, Address>,
    rest: BTreeMap<MemberName, SocketAddr>,
}

impl Control {
    async fn run(
        &mut self,
        board: &Board,
        mut doubted: mpsc::Receiver<MemberName>,
        mut ordered: mpsc::Receiver<Order>,
        alarm: Alarm,
    ) {
        let mut again = clock::now();
        let mut obeyed = None;
        loop {
            tokio::select! {
                changed = self.feed.seen.changed() => if changed.is_err() { return },
                () = self.poll.changed() => {}
                () = self.resolver.changed() => {}
                Some(member) = doubted.recv() => {
                    // Thousands of sessions end together: one look is enough for all that wait.
                    self.failed.insert(member);
                    let others = (1..DOUBTS).map_while(|_| doubted.try_recv().ok());
                    self.failed.extend(others);
                    for member in &self.failed {
                        self.poll.doubt(member);
                    }
                }
                Some(order) = ordered.recv() => {
                    self.obey(order.cluster, order.certificates);
                    obeyed = Some(order.done);
                }
                rung = alarm.at(again) => if let Err(error) = rung {
                    tracing::error!(%error, "the timer of the routing decision failed");
                },
            }
            again = self.apply(board);
            if let Some(done) = obeyed.take() {
                // Who gave the order may have stopped waiting.
                let _ = done.send(());
            }
        }
    }

    /// Decides by `cluster` from the next look on. What is known of the members and the lock stays.
    fn obey(&mut self, cluster: Arc<Cluster>, certificates: Option<Certificates>) {
        if let Some(certificates) = certificates {
            // A proof that lives is not given up for another way to ask REST APIs.
            if self.cluster.etcd != cluster.etcd {
                self.feed
                    .moved(Access::all(&cluster.etcd, certificates.etcd.as_ref()));
            }
            self.poll.meet_with(certificates.rest);
        }
        self.cluster = cluster;
    }

    /// Looks, decides, publishes. Returns when to look again.
    fn apply(&mut self, board: &Board) -> Moment {
        let seen = Arc::clone(&self.feed.seen.borrow_and_update());
        let probes = self.poll.probes();
        let addresses = self.addresses(&seen, &probes);
        let situation = route::Snapshot {
            cluster: &self.cluster,
            view: &seen.view,
            reading: &seen.reading,
            probes: &probes,
            addresses: &addresses.postgres,
            now: clock::now(),
            wall: clock::wall(),
        };
        let table = route::look(&mut self.ledger, &situation);
        let change = change::between(self.table.as_ref(), &table);
        let lanes = self.seats.lanes(&table);
        let snapshot = Snapshot {
            at: situation.now,
            lanes,
            proof: self.ledger.lock().map(|lock| (lock.asked, lock.deadline)),
            members: self.ledger.members().clone(),
            endpoint: seen.endpoint.clone(),
            view: seen.view.clone(),
            table: table.clone(),
            probes,
        };
        let ended = self.seats.publish(board, snapshot, &change);
        self.tell(&change, ended, &table);
        if table.read_elsewhere && !self.table.as_ref().is_some_and(|had| had.read_elsewhere) {
            self.feed.doubt();
        }
        self.poll.direct(self.questions(&table, &seen, &addresses));
        let again = table.again;
        self.table = Some(table);
        again
    }

    /// Where the members' PostgreSQL and REST APIs are, as far as it is known.
    fn addresses(&mut self, seen: &Seen, probes: &BTreeMap<MemberName, Probe>) -> Addresses {
        let proxied = self.cluster.use_proxy_url;
        let url = |member: &Member| {
            let proxy = member.proxy.clone().filter(|_| proxied);
            proxy.or_else(|| member.conn.clone())
        };
        let remembered = self.ledger.members().iter();
        let remembered = remembered.map(|(name, known)| (name, &known.published));
        let published = seen.view.value().into_iter().flat_map(|view| &view.members);
        // What was just published counts, unless its address cannot be read.
        let mut urls: BTreeMap<&MemberName, (Option<ConnUrl>, Option<&ApiUrl>)> = BTreeMap::new();
        for (name, member) in remembered.chain(published) {
            let known = urls.entry(name).or_default();
            known.0 = url(member).or_else(|| known.0.take());
            known.1 = member.api.as_ref().or(known.1);
        }
        let mut addresses = Addresses::default();
        self.resolver.begin();
        for (name, (conn, api)) in urls {
            let probe = probes.get(name);
            let rest = api.and_then(|ApiUrl { host, port, .. }| {
                let failing = probe.is_some_and(|probe| poll::is_failing(&probe.rest));
                self.resolver.address(Wanted {
                    host,
                    port: *port,
                    failing,
                })
            });
            addresses.rest.extend(rest.map(|it| (name.clone(), it)));
            let Some(ConnUrl { host, port, .. }) = &conn else {
                continue;
            };
            let silent = probe.is_some_and(|probe| poll::is_failing(&probe.postgres));
            let postgres = match host {
                // The path is good on the member's machine: it is this one if its REST API is here.
                Host::Socket(directory) => rest
                    .filter(|rest| self.machine.has(rest.ip()))
                    .map(|_| Address::in_directory(directory, *port)),
                Host::Ip(_) | Host::Name(_) => {
                    let failing = silent || self.failed.contains(name);
                    let port = *port;
                    let wanted = Wanted {
                        host,
                        port,
                        failing,
                    };
                    self.resolver.address(wanted).map(Address::Tcp)
                }
            };
            addresses
                .postgres
                .extend(postgres.map(|it| (name.clone(), it)));
        }
        self.failed.clear();
        self.resolver.look_up();
        addresses
    }

    fn questions(
        &self,
        table: &Table,
        seen: &Seen,
        addresses: &Addresses,
    ) -> BTreeMap<MemberName, Question> {
        let system_id = seen.view.value().and_then(|view| view.system_id.clone());
        let question = |name, asks| Question {
            asks,
            api: self
                .ledger
                .members()
                .get(name)
                .and_then(|known| known.published.api.clone()),
            rest: addresses.rest.get(name).copied(),
            postgres: addresses.postgres.get(name).cloned(),
            system_id: system_id.clone(),
            timeout: self.cluster.probe.timeout,
        };
        table
            .members
            .iter()
            .map(|(name, asks)| (name.clone(), question(name, *asks)))
            .collect()
    }

    fn tell(&self, change: &Change, ended: u64, table: &Table) {
        for event in &change.events {
            events::tell(&self.cluster.name, event, table);
        }
        if !change.ends.is_empty() {
            events::tell_ends(&self.cluster.name, &change.ends, ended);
        }
    }

    fn first_snapshot(&mut self) -> Snapshot {
        let seen = Arc::clone(&self.feed.seen.borrow());
        let now = clock::now();
        let nothing = route::Snapshot {
            cluster: &self.cluster,
            view: &seen.view,
            reading: &seen.reading,
            probes: &BTreeMap::new(),
            addresses: &BTreeMap::new(),
            now,
            wall: clock::wall(),
        };
        let table = route::look(&mut self.ledger, &nothing);
        Snapshot {
            at: now,
            lanes: self.seats.lanes(&table),
            table,
            view: seen.view.clone(),
            endpoint: seen.endpoint.clone(),
            proof: None,
            members: BTreeMap::new(),
            probes: BTreeMap::new(),
        }
    }
}
