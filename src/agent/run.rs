//! The agent from its start to its end (contract 5.1).

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::sleep;
use trunkline_core::config::agent::Agent;
use trunkline_core::ha::Action;
use trunkline_core::keys::Prefix;
use trunkline_core::rest::Told;
use trunkline_core::wire::member::ApiUrl;
use trunkline_io::clock::{self, Alarm};
use trunkline_io::etcd::Access;
use trunkline_io::shutdown::{Asked, Signals, Tasks};
use trunkline_io::systemd::{Manager, Word};
use trunkline_io::tls::{Checks, Files, Names, Tls, Unusable};

use crate::api::{self, Asker, Board, Shared, Unbound, Wishes};
use crate::cycle::Cycle;
use crate::dcs::{self, Dcs};
use crate::instance;
use crate::peers::Peers;
use crate::settings::{InForce, Read};

/// How long all tasks get to end.
const GRACE: Duration = Duration::from_secs(2);
/// How long another agent of this name may take to show that it lives.
const NAMESAKE: Duration = Duration::from_secs(3);
/// How often the log says what is waited for at the start.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// Between two cycles there is at least so much time.
const BREATH: Duration = Duration::from_millis(5);

/// Why the agent could not start.
#[derive(Debug, Error)]
pub enum Failure {
    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// The REST API's address cannot be used.
    #[error(transparent)]
    Unbound(#[from] Unbound),
    /// The certificates for etcd cannot be used.
    #[error(transparent)]
    Certificates(#[from] Unusable),
    /// Another agent of this name runs.
    #[error("Can't start; there is already a node named '{0}' running")]
    Namesake(String),
    /// It was told to stop before it had seen etcd.
    #[error("stopped before etcd had answered")]
    Stopped,
}

/// What the agent is started with.
pub struct Start {
    /// The configuration.
    pub agent: Agent,
    /// Reads the configuration again.
    pub read: Read,
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start")
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

/// Runs the agent until a signal or a decision ends it; returns the exit code. PostgreSQL is left as the last decision had it.
///
/// # Errors
/// [`Failure`], before anything was touched.
pub async fn run(start: Start) -> Result<u8, Failure> {
    let system = |what| move |source| Failure::System { what, source };
    let mut signals = Signals::take().map_err(system("taking over signals"))?;
    let alarm = Alarm::new().map_err(system("making a timer"))?;
    let tasks = Tasks::new();
    let wake = Arc::new(Notify::new());
    let agent = Arc::new(start.agent);
    let settings = InForce::new(Arc::clone(&agent), instance::kept(&agent), start.read);
    let dcs = dcs::start(
        Prefix::new(&agent.namespace, &agent.scope),
        agent.name.clone(),
        settings.initial().clone(),
        etcd(&agent)?,
        Arc::clone(&wake),
        &tasks,
    )
    .map_err(system("following etcd"))?;
    let api = shared(&agent, &settings, &dcs, &tasks)?;
    // An agent that runs here already has the port: this one ends before it touches anything.
    if let Err(unbound) = api::listen(&agent.rest).await
        && unbound.is_taken()
    {
        return Err(unbound.into());
    }
    let mut cycle = Cycle::new(Arc::clone(&agent), dcs, settings, &api, &wake, &tasks);
    etcd_answers(&mut cycle, &mut signals).await?;
    no_namesake(&agent, &cycle.dcs, &api.peers).await?;
    let listener = api::listen(&agent.rest).await?;
    let serving = api::serve(listener, Arc::clone(&api), tasks.clone());
    tasks.spawn("rest api", serving);
    let manager = Manager::default();
    manager.tell(Word::Ready, "running").await;
    let wishes = &api.wishes;
    let code = cycles(&mut cycle, &mut signals, &alarm, &wake, wishes, &manager).await;
    if !tasks.end(GRACE).await {
        tracing::error!("some tasks did not end in time");
    }
    Ok(code)
}

/// Cycle after cycle, until one decides to exit.
async fn cycles(
    cycle: &mut Cycle,
    signals: &mut Signals,
    alarm: &Alarm,
    wake: &Notify,
    wishes: &Wishes,
    manager: &Manager,
) -> u8 {
    loop {
        let decision = cycle.run().await;
        if let Action::Exit(code) = decision.action {
            return code;
        }
        let latest = decision.look_again.max(clock::now().after(BREATH));
        tokio::select! {
            () = wake.notified() => {}
            () = wishes.woken() => {}
            rung = alarm.at(latest) => if let Err(error) = rung {
                tracing::error!("the timer: {error}");
                sleep(BREATH).await;
            },
            asked = signals.next() => match asked {
                Asked::Stop(signal) => {
                    tracing::info!(signal, "stopping");
                    manager.tell(Word::Stopping, "stopping").await;
                    cycle.ending = true;
                }
                Asked::Reload => {
                    manager.tell(Word::Reloading, "reading the configuration again").await;
                    cycle.settings.read_again();
                    manager.tell(Word::Ready, "running").await;
                }
            },
        }
    }
}

/// Waits until etcd has shown the cluster: before that nothing is known, and nothing is touched; but for a primary that
/// was found running: it is not known to have the lock, and stops when etcd was silent for too long (A1).
async fn etcd_answers(cycle: &mut Cycle, signals: &mut Signals) -> Result<(), Failure> {
    let mut views = cycle.dcs.views();
    let patience = cycle.settings.dynamic().retry_timeout;
    let look_every = SAY_EVERY.min(patience);
    let patient = clock::now().after(patience);
    loop {
        if views.borrow_and_update().view.fresh().is_some() {
            return Ok(());
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() {
                return Err(Failure::Stopped);
            },
            () = sleep(look_every) => {
                tracing::info!("waiting on etcd");
                if clock::now() >= patient {
                    let _decision = cycle.run().await;
                }
            }
            asked = signals.next() => if let Asked::Stop(_) = asked {
                return Err(Failure::Stopped);
            },
        }
    }
}

/// Whether nobody answers where the member key of this name says that its REST API is (contract 5.1, unique name).
async fn no_namesake(agent: &Agent, dcs: &Dcs, peers: &Peers) -> Result<(), Failure> {
    let view = dcs.view();
    let url = view
        .value()
        .and_then(|view| view.members.get(&agent.name))
        .and_then(|member| member.api.clone());
    let Some(url) = url else { return Ok(()) };
    let url = ApiUrl {
        path: "/liveness".to_owned(),
        ..url
    };
    if peers.is_anybody_there(&url, NAMESAKE).await {
        return Err(Failure::Namesake(agent.name.to_string()));
    }
    Ok(())
}

/// How to reach etcd's endpoints.
pub(crate) fn etcd(agent: &Agent) -> Result<Vec<Access>, Failure> {
    let etcd = &agent.etcd;
    let tls = if etcd.endpoints.iter().any(|endpoint| endpoint.tls) {
        let files = Files {
            section: "etcd3".to_owned(),
            cacert: etcd.cacert.clone(),
            cert: etcd.cert.clone(),
            key: etcd.key.clone(),
            checks: Checks::Everything,
            names: Names::ETCD,
        };
        Some(Arc::new(Tls::load(files)?))
    } else {
        None
    };
    Ok(Access::all(etcd, tls.as_ref()))
}

/// What the cycle and the REST API share.
fn shared(
    agent: &Arc<Agent>,
    settings: &InForce,
    dcs: &Dcs,
    tasks: &Tasks,
) -> Result<Arc<Shared>, Failure> {
    Ok(Arc::new(Shared {
        board: Board::new(Told::nothing(agent, settings.dynamic(), clock::now()))
            .beside(dcs.views()),
        asker: Asker::start(instance::asker(agent, &settings.now()), tasks),
        wishes: Wishes::default(),
        keys: Arc::new(dcs.writer()),
        peers: Peers::of(&agent.peers)?,
        rest: agent.rest.clone(),
    }))
}
