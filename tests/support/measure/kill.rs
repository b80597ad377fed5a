//! Thousands of idle write sessions when the lock changes hands: how long until the last of them has ended, and
//! how long clients wait for a new leader that can be written to.
//!
//! The members are fake, the etcd is real. Beside every flip stands the observer's own floor: the same number of
//! sockets, watched by the same code, closed by a process that is killed.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use trunkline_support::etcd::{Etcd, Store};
use trunkline_support::fake_cluster::FakeCluster;
use trunkline_support::fake_member::Rest;
use trunkline_support::parts::Parts;
use trunkline_support::ports::Loopback;
use trunkline_support::process::Process;
use trunkline_support::router::{Ports, Router, config};
use trunkline_support::wait::until;
use trunkline_support::workdir::WorkDir;

use super::backend;
use super::observer::{Sessions, ask, welcome};

const SCOPE: &str = "flips";
const LEADER: &str = "/service/flips/leader";
const MEMBERS: [&str; 2] = ["pg-1", "pg-2"];
/// Longer than a flip takes: nobody renews it.
const LEASE: i64 = 120;
const SOON: Duration = Duration::from_secs(30);
/// Where the backends' addresses begin in the network.
const HOST: u8 = 111;
/// How many clients wait for the new leader.
const WAITING: usize = 10;
/// Long enough for the router to have asked everybody again.
const SETTLED: Duration = Duration::from_millis(1_500);

/// A router before two members, one of which leads.
struct Bench {
    workdir: Arc<WorkDir>,
    cluster: FakeCluster,
    router: Router,
    store: Store,
    lease: i64,
    backends: Vec<(SocketAddr, Process)>,
    floor: SocketAddr,
    _etcd: Etcd,
    _network: Loopback,
}

/// One change of the leader.
struct Flip {
    /// How long etcd took to answer the put: what it writes to its disk is in every end.
    answered: Duration,
    ends: Vec<Duration>,
    floor: Vec<Duration>,
    /// From the new leader's first good answer to each waiting client's login, sorted.
    logins: Vec<Duration>,
    router_cpu: Duration,
}

pub(crate) async fn measure(binary: &Path, flips: usize, count: usize) -> Result<()> {
    raise_the_limit(count)?;
    let mut bench = Bench::start(binary).await?;
    println!("{count} idle write sessions, {flips} flips; milliseconds\n");
    println!(
        "| flip | put to FIN/RST: p50 | p99 | max | observer's floor: p50 | p99 | max \
         | new leader writable to login: first | last of {WAITING} | put answered | router's CPU |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut done = Vec::new();
    for number in 0..flips {
        let flip = bench.flip(number % 2, count).await;
        let flip = flip.map_err(|failure| bench.router.with_log(&failure))?;
        row(&format!("{}", number + 1), &flip);
        done.push(flip);
    }
    let all = |pick: fn(&mut Flip) -> Vec<Duration>, done: &mut [Flip]| {
        let mut all: Vec<Duration> = done.iter_mut().flat_map(pick).collect();
        all.sort_unstable();
        all
    };
    let together = Flip {
        answered: done
            .iter()
            .map(|flip| flip.answered)
            .max()
            .unwrap_or_default(),
        router_cpu: done
            .iter()
            .map(|flip| flip.router_cpu)
            .max()
            .unwrap_or_default(),
        ends: all(|flip| std::mem::take(&mut flip.ends), &mut done),
        floor: all(|flip| std::mem::take(&mut flip.floor), &mut done),
        // Of each flip its first login: the worst of them is the figure.
        logins: all(
            |flip| flip.logins.first().copied().into_iter().collect(),
            &mut done,
        ),
    };
    row("all (logins: best and worst first)", &together);
    Ok(())
}

fn row(name: &str, flip: &Flip) {
    let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1_000.0);
    let three = |sorted: &[Duration]| {
        let at = |share: usize| {
            let place = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
            sorted.get(place).copied().map_or("-".to_owned(), ms)
        };
        format!("{} | {} | {}", at(50), at(99), at(100))
    };
    let login = |login: Option<&Duration>| login.copied().map_or("-".to_owned(), ms);
    println!(
        "| {name} | {} | {} | {} | {} | {} | {} |",
        three(&flip.ends),
        three(&flip.floor),
        login(flip.logins.first()),
        login(flip.logins.last()),
        ms(flip.answered),
        ms(flip.router_cpu),
    );
}

/// The router has two descriptors a session and inherits our limit.
fn raise_the_limit(count: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )
    .context("raising the limit of descriptors")?;
    let needed = 2 * count as u64 + 500;
    ensure!(
        limit.maximum.is_none_or(|maximum| maximum >= needed),
        "{count} sessions need {needed} descriptors, the hard limit is {:?}",
        limit.maximum
    );
    Ok(())
}

impl Bench {
    async fn start(binary: &Path) -> Result<Self> {
        let (network, workdir) = (Loopback::lease()?, Arc::new(WorkDir::new()?));
        let etcd = Etcd::start(1, &Parts::find()?, &network, &workdir).await?;
        let endpoints = etcd.endpoints();
        let endpoint = *endpoints.first().context("an etcd without members")?;
        let cluster = FakeCluster::start(SCOPE, endpoint, &network, &MEMBERS, LEASE).await?;
        let mut backends = Vec::new();
        for (host, name) in (HOST..).zip(MEMBERS) {
            let address = network.free(host, 5432)?;
            backends.push((address, backend::start(address, &workdir).await?));
            let key = cluster.member(name)?.key("replica");
            let mut key: Value = serde_json::from_str(&key).context("a member's key")?;
            key["conn_url"] = Value::from(format!("postgres://{address}/postgres"));
            cluster
                .put(&format!("members/{name}"), &key.to_string())
                .await?;
        }
        let mut store = Store::connect(endpoint).await?;
        let lease = store.grant(LEASE).await?;
        store.put(LEADER, MEMBERS[0], Some(lease)).await?;
        cluster.member(MEMBERS[0])?.say(Rest::Primary).await?;
        let ports = Ports::on(&network, 0)?;
        let config = config(SCOPE, &endpoints, &ports);
        let router = Router::start("router", binary, &config, ports, &workdir).await?;
        Ok(Self {
            floor: network.free(HOST + 10, 5432)?,
            workdir,
            cluster,
            router,
            store,
            lease,
            backends,
            _etcd: etcd,
            _network: network,
        })
    }

    /// Takes the lock from the member of that number and gives it to the other.
    async fn flip(&mut self, from: usize, count: usize) -> Result<Flip> {
        let floor = self.floor(count).await?;
        let (old, new) = (MEMBERS[from], MEMBERS[1 - from]);
        self.router.wait_ready(&["write"], SOON).await?;
        let write = self.router.ports().write;
        let sessions = blocking(move || Sessions::open(write, count)).await?;
        let observer = sessions.observe(SOON);
        tokio::time::sleep(SETTLED).await;

        // Patroni creates the key where there is none: the old one is gone first. The old leader still runs, so
        // nothing ends before the new holder is there.
        self.store.revoke(self.lease).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        ensure!(!observer.is_over(), "sessions ended before the put");
        self.lease = self.store.grant(LEASE).await?;
        let before = self.router_cpu()?;
        let put = Instant::now();
        self.store.put(LEADER, new, Some(self.lease)).await?;
        let answered = put.elapsed();
        let ends = observer.since(put).await?;
        let router_cpu = self.router_cpu()?.saturating_sub(before);
        self.cluster.member(old)?.say(Rest::Replica).await?;

        let logins = self.first_logins(new).await?;
        // Its sockets are of no more use.
        let (address, process) = &mut self.backends[from];
        process.kill()?;
        *process = backend::start(*address, &self.workdir).await?;
        Ok(Flip {
            answered,
            ends,
            floor,
            logins,
            router_cpu,
        })
    }

    /// Clients wait; the new leader becomes writable; how long each takes from there.
    async fn first_logins(&mut self, new: &str) -> Result<Vec<Duration>> {
        let write = self.router.ports().write;
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..WAITING {
            clients.spawn_blocking(move || {
                let mut client = ask(write)?;
                welcome(&mut client)?;
                Ok(Instant::now())
            });
        }
        until("they are held", SOON, async || {
            let held = self.router.listener("write").await?["held"].clone();
            ensure!(held == WAITING, "{held} are");
            Ok(())
        })
        .await?;
        let writable = Instant::now();
        self.cluster.member(new)?.say(Rest::Primary).await?;
        let mut logins = Vec::new();
        while let Some(login) = clients.join_next().await {
            let at: Result<Instant> = login?;
            logins.push(at?.saturating_duration_since(writable));
        }
        logins.sort_unstable();
        Ok(logins)
    }

    /// The same observer, before a process that is killed.
    async fn floor(&self, count: usize) -> Result<Vec<Duration>> {
        let address = self.floor;
        let mut process = backend::start(address, &self.workdir).await?;
        let sessions = blocking(move || Sessions::open(address, count)).await?;
        let observer = sessions.observe(SOON);
        tokio::time::sleep(SETTLED).await;
        let killed = Instant::now();
        process.kill()?;
        observer.since(killed).await
    }

    fn router_cpu(&mut self) -> Result<Duration> {
        let seconds = super::idle::cpu_seconds(self.router.process().pid())?;
        Ok(Duration::from_secs_f64(seconds))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}
