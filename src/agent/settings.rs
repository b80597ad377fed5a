//! The settings in force: patroni.yml, and the cluster's dynamic configuration as etcd has it now.
//!
//! What follows from the two is core's; here they are kept, read again, and what is wrong with them is said once.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use trunkline_core::config::Problems;
use trunkline_core::config::agent::{Agent, Settings};
use trunkline_core::wire::config::DynamicConfig;

/// Reads patroni.yml and the environment again.
pub type Read = Arc<dyn Fn() -> Result<(Agent, Problems), Problems> + Send + Sync>;

/// The settings in force.
pub(crate) struct InForce {
    agent: Arc<Agent>,
    read: Read,
    initial: DynamicConfig,
    dynamic: DynamicConfig,
    settings: Arc<Settings>,
    /// Whether the operator asked for everything to be written and reloaded, changed or not (SIGHUP).
    asked: bool,
}

impl fmt::Debug for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InForce").finish_non_exhaustive()
    }
}

impl InForce {
    /// The settings of a start: `kept` is the dynamic configuration that the data directory remembers; without one it
    /// is the one a new cluster begins with.
    pub(crate) fn new(agent: Arc<Agent>, kept: Option<DynamicConfig>, read: Read) -> Self {
        let initial = kept.unwrap_or_else(|| of_bootstrap(&agent));
        let mut in_force = Self {
            agent,
            read,
            dynamic: initial.clone(),
            initial,
            settings: Arc::new(Settings::default()),
            asked: false,
        };
        in_force.apply();
        in_force
    }

    /// The dynamic configuration a new cluster begins with, or one that lost it is repaired with.
    pub(crate) const fn initial(&self) -> &DynamicConfig {
        &self.initial
    }

    /// The dynamic configuration in force.
    pub(crate) const fn dynamic(&self) -> &DynamicConfig {
        &self.dynamic
    }

    /// What patroni.yml says now.
    pub(crate) const fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }

    /// The settings.
    pub(crate) fn now(&self) -> Arc<Settings> {
        Arc::clone(&self.settings)
    }

    /// Takes etcd's dynamic configuration in. Says whether anything changed, or was asked to be applied once more.
    pub(crate) fn take(&mut self, dynamic: &DynamicConfig) -> bool {
        let asked = std::mem::take(&mut self.asked);
        if *dynamic == self.dynamic && !asked {
            return false;
        }
        if *dynamic != self.dynamic {
            self.dynamic = dynamic.clone();
            self.initial = dynamic.clone();
        }
        self.apply();
        true
    }

    /// Reads patroni.yml again. What cannot change while the agent runs stays as it is.
    pub(crate) fn read_again(&mut self) {
        self.asked = true;
        match (self.read)() {
            Ok((agent, warnings)) => {
                say(&warnings);
                if agent.data_dir != self.agent.data_dir
                    || agent.name != self.agent.name
                    || agent.scope != self.agent.scope
                    || agent.namespace != self.agent.namespace
                {
                    tracing::warn!(
                        "name, scope, namespace and postgresql.data_dir need a restart of the agent; until then all of \
                         patroni.yml stays as it was"
                    );
                    return;
                }
                let (agent, later) = applied_to(&self.agent, agent);
                if !later.is_empty() {
                    let later = later.join(", ");
                    tracing::warn!(
                        "what changed in {later} is applied when the agent is started again"
                    );
                }
                self.agent = Arc::new(agent);
            }
            Err(problems) => {
                for line in problems.lines() {
                    tracing::error!("{line}");
                }
                tracing::error!("patroni.yml was not applied: what was in force stays");
            }
        }
    }

    fn apply(&mut self) {
        match Settings::effective(&self.agent, &self.dynamic.raw) {
            Ok((settings, warnings)) => {
                say(&warnings);
                self.settings = Arc::new(settings);
            }
            Err(problems) => {
                for line in problems.lines() {
                    tracing::error!("{line}");
                }
            }
        }
    }
}

/// What of a file that was read again can be applied while the agent runs; and the sections where something else changed:
/// a member key must not name an address that nobody listens at.
fn applied_to(before: &Agent, now: Agent) -> (Agent, Vec<&'static str>) {
    let changed = [
        ("etcd3", now.etcd != before.etcd),
        (
            "restapi",
            now.rest != before.rest || now.peers != before.peers,
        ),
        ("log.type", now.log.json != before.log.json),
    ];
    let mut later: Vec<_> = changed
        .into_iter()
        .filter(|(_, changed)| *changed)
        .collect();
    let applied = Agent {
        bootstrap: now.bootstrap.clone(),
        tags: now.tags.clone(),
        watchdog: now.watchdog,
        log: now.log.clone(),
        postgresql: now.postgresql.clone(),
        ..before.clone()
    };
    let rest = Agent {
        etcd: before.etcd.clone(),
        rest: before.rest.clone(),
        peers: before.peers.clone(),
        ..now
    };
    later.push((
        "postgresql (addresses, directories, programs, authentication)",
        rest != applied,
    ));
    later.retain(|(_, changed)| *changed);
    (applied, later.into_iter().map(|(what, _)| what).collect())
}

/// `bootstrap.dcs`; the defaults where there is none, or none that makes sense.
fn of_bootstrap(agent: &Agent) -> DynamicConfig {
    let Some(bootstrap) = &agent.bootstrap else {
        return DynamicConfig::default();
    };
    let dcs: &Map<String, Value> = &bootstrap.dcs;
    let text = Value::Object(dcs.clone()).to_string();
    match DynamicConfig::parse(text.as_bytes()) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!("bootstrap.dcs: {error}; the defaults are in force instead");
            DynamicConfig::default()
        }
    }
}

fn say(warnings: &Problems) {
    for line in warnings.lines() {
        tracing::warn!("{line}");
    }
}
