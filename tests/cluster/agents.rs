//! The cluster of our own agents, each on a host that can be cut off, frozen and killed, and what its tests share.

use std::path::Path;
use std::sync::Mutex;

use anyhow::{Result, ensure};
use serde_json::Value;
use trunkline_support::etcd::Store;
use trunkline_support::http;
use trunkline_support::netns::Wire;
use trunkline_support::patroni::{Node, Program, Settings};
use trunkline_support::router::Router;
use trunkline_support::stand::Stand;
use trunkline_support::wait::until;

use crate::shared::{BINARY, STEADY};
use crate::wire::{Shared, on_a_wire};

/// The agent under test.
pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_trunkline-agent");

static OURS: Shared = Mutex::new(None);

/// Runs `test` at the hub of a wire with a cluster of our agents on it, steady and with all its members up.
pub(crate) fn on_our_cluster(
    test: impl AsyncFnOnce(&mut Stand, &Wire) -> Result<()> + Send,
) -> Result<()> {
    on_a_wire(&OURS, settings, test)
}

/// Shorter than Patroni allows.
pub(crate) fn settings() -> Settings {
    let settings = Settings {
        ttl: 5,
        loop_wait: 1,
        retry_timeout: 1,
        ..Settings::default()
    };
    settings.run_by(Path::new(AGENT))
}

/// Nodes of which the first two are Patroni's and the third, called [`THIRD`], is ours.
pub(crate) fn beside_patroni(nodes: u8) -> Settings {
    let third = Program::Ours(Path::new(AGENT).to_owned());
    Settings {
        nodes,
        ttl: 20,
        loop_wait: 2,
        retry_timeout: 5,
        programs: vec![Program::Patroni, Program::Patroni, third],
        ..Settings::default()
    }
}

/// The third node.
pub(crate) const THIRD: &str = "pg-3";

/// The keys that everybody writes, but for those of leader, members and initialisation.
pub(crate) const SHARED_KEYS: [&str; 6] = [
    "config", "status", "history", "failover", "sync", "failsafe",
];

/// A router that has found a primary and replicas, of a leader whose replicas stream now: what members say of themselves
/// in etcd is up to a `loop_wait` old.
pub(crate) async fn ready_router(stand: &Stand) -> Result<Router> {
    let leader = stand.patroni.leader().await?;
    let address = stand.patroni.node(&leader)?.rest();
    until("the leader streams to everybody", STEADY, async || {
        let said = http::get_json(address, "/patroni").await?;
        let streams = |row: &&Value| row["state"] == "streaming";
        let standbys = said["replication"].as_array().into_iter().flatten();
        let count = standbys.filter(streams).count();
        ensure!(
            count + 1 == stand.patroni.nodes().len(),
            "{count} stream: {said}"
        );
        Ok(())
    })
    .await?;
    let mut router = stand.router(Path::new(BINARY)).await?;
    router.wait_ready(&["write", "read"], STEADY).await?;
    Ok(router)
}

/// The leader key's name.
pub(crate) fn leader_key(stand: &Stand) -> String {
    format!("/service/{}/leader", stand.patroni.settings().scope)
}

/// The tenure: which revision made the leader key.
pub(crate) async fn tenure(store: &mut Store, stand: &Stand) -> Result<Option<i64>> {
    store.made_at(&leader_key(stand)).await
}

/// Fails unless somebody else than `before` leads.
pub(crate) async fn somebody_else_leads(before: &str, stand: &Stand) -> Result<String> {
    let leader = stand.patroni.leader().await?;
    ensure!(
        leader != before,
        "{before} leads again, there was no failover"
    );
    Ok(leader)
}

/// Changes what stands in a node's patroni.yml; it is not told.
pub(crate) fn change_file(node: &Node, change: impl FnOnce(&mut Value)) -> Result<()> {
    let file = node.config_file();
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    change(&mut config);
    std::fs::write(&file, serde_json::to_string_pretty(&config)?)?;
    Ok(())
}
