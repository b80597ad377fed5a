//! Getting ready for a configuration: everything that can fail, before anything is changed.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use trunkline_core::config::Problems;
use trunkline_core::config::router::{Bind, Cluster, Key, Written};
use trunkline_core::reload::{self, Owner, Plan, Port, Source, Step};

use super::House;
use crate::certificates::Certificates;
use crate::control::{self, Running};
use crate::doorstep::Doorstep;
use crate::{ports, socket};

/// All that a configuration needs and that could have failed.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(super) ports: Vec<(Port, Arc<Doorstep>)>,
    pub(super) begun: Vec<Running>,
    /// For clusters that are followed already and are to be met with other certificates, by their names.
    pub(super) certificates: BTreeMap<String, Certificates>,
    pub(super) steps: Vec<Step>,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // Those that were not taken over: the configuration was refused.
        for running in &self.begun {
            running.stop();
        }
    }
}

impl House {
    /// Gets ready for the configuration that the router starts with.
    ///
    /// # Errors
    /// As [`House::prepare`].
    pub(crate) async fn furnish(&self, written: &Written) -> Result<Prepared, Problems> {
        let ports = reload::ports(&written.router, self.passed.known());
        let steps = Vec::new();
        self.ready(Plan { ports, steps }, written).await
    }

    /// Gets ready for another configuration and changes nothing: opens new ports, begins to follow new clusters.
    ///
    /// # Errors
    /// Everything for which it cannot be applied.
    pub(crate) async fn prepare(&self, written: &Written) -> Result<Prepared, Problems> {
        let stays = |cluster: &Cluster| {
            let mut configured = self.config.clusters.iter();
            configured.any(|configured| configured.name == cluster.name)
        };
        let followed = self.clusters.iter().map(|running| running.cluster.as_ref());
        let leaving: Vec<&Cluster> = followed.filter(|cluster| !stays(cluster)).collect();
        let known = self.passed.known();
        let plan = reload::plan(&self.config, &leaving, &written.router, known).map_err(|no| {
            written.refused(no.into_iter().map(|no| (no.key, no.what, no.expected)))
        })?;
        self.ready(plan, written).await
    }

    async fn ready(&self, plan: Plan, written: &Written) -> Result<Prepared, Problems> {
        if let Some(too_many) = self.admission.budget.exceeded(&written.router) {
            let (cluster, listener) = (too_many.cluster.clone(), too_many.listener.clone());
            let key = Key::Listener(cluster, listener, "maxconn");
            return Err(written.refused([(key, too_many.what(), too_many.expected())]));
        }
        let mut prepared = Prepared {
            ports: Vec::new(),
            begun: Vec::new(),
            certificates: BTreeMap::new(),
            steps: plan.steps,
        };
        let mut missing = no_sources(written);
        for port in plan.ports {
            match self.socket(&port.source).await {
                Ok(socket) => prepared.ports.push((port, socket)),
                Err(cause) => missing.push(self.no_port(&port, &cause)),
            }
        }
        if !missing.is_empty() {
            return Err(written.refused(missing));
        }
        for cluster in &written.router.clusters {
            self.ready_for(cluster, written, &mut prepared)
                .map_err(|because| written.unusable(vec![because]))?;
        }
        Ok(prepared)
    }

    /// Reads the certificates of `cluster` and begins to follow it, as far as that is not done.
    fn ready_for(
        &self,
        cluster: &Cluster,
        written: &Written,
        prepared: &mut Prepared,
    ) -> Result<(), String> {
        let running = self.running(&cluster.name);
        let had = running.map(|running| (&running.cluster.etcd, &running.cluster.restapi));
        if had == Some((&cluster.etcd, &cluster.restapi)) {
            return Ok(());
        }
        let certificates = Certificates::load(cluster).map_err(|unusable| unusable.to_string())?;
        if running.is_some() {
            prepared
                .certificates
                .insert(cluster.name.clone(), certificates);
            return Ok(());
        }
        let state = written.router.state.as_deref();
        let running = control::start(Arc::new(cluster.clone()), certificates, state, &self.tasks);
        let no_timer =
            |cause| format!("cluster {}: the system has no timer: {cause}", cluster.name);
        prepared.begun.push(running.map_err(no_timer)?);
        Ok(())
    }

    /// The socket itself: the one that is open already, the one that was passed, or a new one.
    async fn socket(&self, source: &Source) -> io::Result<Arc<Doorstep>> {
        if let Some(open) = self.ports.iter().find(|open| open.port.source == *source) {
            return Ok(Arc::clone(&open.socket));
        }
        match source {
            Source::Bind(bind) => ports::open(bind).await.map(Arc::new),
            Source::Passed(number) => self.passed.get(*number),
        }
    }

    fn no_port(&self, port: &Port, cause: &io::Error) -> (Key, String, String) {
        let key = match &port.owner {
            Owner::Listener { cluster, listener } => {
                Key::Listener(cluster.clone(), listener.clone(), "bind")
            }
            Owner::Stats => Key::Whole("stats.bind"),
        };
        let what = match &port.source {
            Source::Bind(bind) => format!("cannot listen on {bind}: {cause}"),
            Source::Passed(_) => format!("cannot listen: {cause}"),
        };
        let is_ours = cause.kind() == io::ErrorKind::AddrInUse && !self.ports.is_empty();
        let expected = match &port.source {
            Source::Bind(Bind::Unix(_)) => "write another path, or free this one",
            Source::Bind(Bind::Tcp { .. }) | Source::Passed(_) if is_ours => {
                "write another address or port; one that overlaps a port of this very router takes a restart"
            }
            Source::Bind(Bind::Tcp { .. }) | Source::Passed(_) => {
                "write another address or port, or free this one"
            }
        };
        (key, what, expected.to_owned())
    }
}

/// The addresses to connect from that are none of this machine's.
fn no_sources(written: &Written) -> Vec<(Key, String, String)> {
    let mut missing = Vec::new();
    for cluster in &written.router.clusters {
        for listener in &cluster.listeners {
            for source in &listener.source {
                let Err(cause) = socket::try_source(*source) else {
                    continue;
                };
                let key = Key::Listener(cluster.name.clone(), listener.name.clone(), "source");
                let what = format!("cannot connect from {source}: {cause}");
                let expected = "write an address of this machine, or leave it out";
                missing.push((key, what, expected.to_owned()));
            }
        }
    }
    missing
}
