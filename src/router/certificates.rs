//! The certificates of a cluster: read at the start, looked at again while the router runs.
//!
//! Whoever connects takes what is in force; nothing here knows who does. Which files serve what is configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trunkline_core::config::router::{Cluster, Etcd, RestApi, Router};
use trunkline_io::clock;
use trunkline_io::shutdown::Tasks;
use trunkline_io::tls::{Checks, Files, Look, Names, Tls, Unusable};

/// How often the files are looked at. A file that cannot be used is refused at the second look.
const EVERY: Duration = Duration::from_secs(5);
/// How often an own certificate that ends soon is spoken of.
const REMIND: Duration = Duration::from_secs(86_400);

/// What a cluster is met with.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// etcd, where it speaks TLS.
    pub etcd: Option<Arc<Tls>>,
    /// Members' REST APIs, those that speak TLS; `None` only where the system has no authority to check them against.
    pub rest: Option<Arc<Tls>>,
}

impl Certificates {
    /// Reads the files of `cluster`.
    ///
    /// # Errors
    /// [`Unusable`], naming key and file.
    pub fn load(cluster: &Cluster) -> Result<Self, Unusable> {
        let Etcd { endpoints, .. } = &cluster.etcd;
        let etcd = if endpoints.iter().any(|endpoint| endpoint.tls) {
            Some(Arc::new(Tls::load(etcd_files(cluster))?))
        } else {
            None
        };
        let rest = match Tls::load(rest_files(cluster)) {
            Ok(tls) => Some(Arc::new(tls)),
            // Whether any member speaks TLS is not known yet: nobody has to write a bundle for those who do not.
            Err(Unusable::NoRoots { .. }) => None,
            Err(unusable) => return Err(unusable),
        };
        Ok(Self { etcd, rest })
    }

    /// What an operator should know of them now, a sentence each.
    #[must_use]
    pub fn concerns(&self) -> Vec<String> {
        let all = [&self.etcd, &self.rest];
        all.into_iter()
            .flatten()
            .flat_map(|tls| concerns(tls))
            .collect()
    }

    /// Looks at the files until the tasks end.
    pub(crate) fn follow(&self, tasks: &Tasks) {
        for tls in [&self.etcd, &self.rest].into_iter().flatten() {
            let (tls, end) = (Arc::clone(tls), tasks.ending().clone());
            tasks.spawn("certificates", async move {
                let _: Option<()> = end.run_until_cancelled(look_again(&tls)).await;
            });
        }
    }
}

/// What is wrong with the certificates that a configuration names; nothing, if the router may start with it.
#[must_use]
pub fn check(router: &Router) -> Vec<String> {
    let clusters = router.clusters.iter();
    clusters
        .filter_map(|cluster| Certificates::load(cluster).err())
        .map(|unusable| unusable.to_string())
        .collect()
}

async fn look_again(tls: &Arc<Tls>) {
    let mut until_reminder = Duration::ZERO;
    loop {
        if until_reminder.is_zero() {
            if let Some(words) = ending(tls) {
                tracing::warn!("{words}");
            }
            until_reminder = REMIND;
        }
        tokio::time::sleep(EVERY).await;
        until_reminder = until_reminder.saturating_sub(EVERY);
        let looking = Arc::clone(tls);
        // A file system that hangs costs this look and nobody else anything.
        let Ok(look) = tokio::task::spawn_blocking(move || looking.look()).await else {
            continue;
        };
        match look {
            Look::Same => {}
            Look::Changed => {
                tracing::info!(
                    "{}: certificates changed: new connections use the new ones",
                    tls.section()
                );
                until_reminder = Duration::ZERO;
            }
            Look::Refused(unusable) => {
                tracing::warn!("{unusable}; the certificates read before stay in use");
            }
        }
    }
}

fn concerns(tls: &Tls) -> Vec<String> {
    let refused = tls
        .trouble()
        .map(|trouble| format!("{trouble}; the certificates read before stay in use"));
    refused.into_iter().chain(ending(tls)).collect()
}

fn ending(tls: &Tls) -> Option<String> {
    let left = tls.material().ends_soon(clock::wall().into())?;
    let section = tls.section();
    Some(match left.as_secs() / 3600 {
        0 if left.is_zero() => {
            format!("{section}.cert: our own certificate has expired: put a new one in its place")
        }
        hours => format!(
            "{section}.cert: our own certificate expires in {} days and {} hours: put a new one in its place",
            hours / 24,
            hours % 24
        ),
    })
}

fn etcd_files(cluster: &Cluster) -> Files {
    let Etcd {
        cacert, cert, key, ..
    } = &cluster.etcd;
    files(cluster, "etcd3", [cacert, cert, key], Checks::Everything)
}

fn rest_files(cluster: &Cluster) -> Files {
    let RestApi {
        cacert,
        cert,
        key,
        insecure,
    } = &cluster.restapi;
    let checks = if *insecure {
        Checks::Nothing
    } else {
        Checks::Everything
    };
    files(cluster, "restapi", [cacert, cert, key], checks)
}

fn files(cluster: &Cluster, section: &str, files: [&Option<PathBuf>; 3], checks: Checks) -> Files {
    let [cacert, cert, key] = files.map(Clone::clone);
    let section = format!("cluster {}: {section}", cluster.name);
    Files {
        section,
        cacert,
        cert,
        key,
        checks,
        names: Names::ETCD,
    }
}
