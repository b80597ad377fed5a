//! The last part of `make demo CHECK=1`: a leader's machine that vanishes from the network, with the shortest lease people
//! use. It takes network namespaces, so root; without, it is left out and says so.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use trunkline_support::netns::{Machines, Wire};
use trunkline_support::patroni::Settings;
use trunkline_support::stand::Stand;
use trunkline_support::writer;

use crate::check::{self, STEADY};

/// The phase's name.
pub(crate) const VANISHED: &str = "node vanishes, ttl 5";

/// Runs it on a cluster of its own; what is off.
pub(crate) async fn run(router: &Path, agent: &Path) -> Result<Vec<String>> {
    if !rustix::process::geteuid().is_root() {
        println!("check: a node that vanishes takes network namespaces, so root: left out");
        return Ok(Vec::new());
    }
    let (router, agent): (PathBuf, PathBuf) = (router.to_owned(), agent.to_owned());
    let on_a_wire = move || match Wire::lay() {
        Ok(wire) => wire.run(async || vanish(&wire, &router, &agent).await),
        Err(refusal) => {
            println!(
                "check: a node that vanishes takes network namespaces: left out ({refusal:#})"
            );
            Ok(Vec::new())
        }
    };
    tokio::task::spawn_blocking(on_a_wire)
        .await
        .context("the thread that lives in the network namespace")?
}

async fn vanish(wire: &Wire, router: &Path, agent: &Path) -> Result<Vec<String>> {
    let settings = Settings {
        ttl: 5,
        loop_wait: 1,
        retry_timeout: 1,
        ..Settings::default()
    };
    let network = Box::new(Machines::from(wire.clone()));
    let mut stand = Stand::start_on(network, settings.run_by(agent)).await?;
    let mut router = stand.router(router).await?;
    check::steady(&mut stand, &mut router).await?;
    let leader = stand.patroni.leader().await?;
    let machine = stand.patroni.node(&leader)?.host();
    // etcd's own election would be measured too.
    stand.etcd.have_lead(machine, false).await?;
    writer::prepare(stand.patroni.node(&leader)?.postgresql()).await?;
    let mut writers = check::start_writers("vanished", &stand, &router).await?;
    let cut = wire.silence(machine)?;
    writers.all_writing_again(STEADY).await?;
    cut.mend()?;
    let mut faults = check::finish("vanished node", &mut writers, &mut stand, &mut router).await?;
    faults.extend(check::judge(VANISHED, writers, &stand).await?);
    Ok(faults)
}
