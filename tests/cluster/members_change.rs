//! Members come, go and move while the router runs, which nobody tells of it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::router::Router;
use trunkline_support::wait::until;

use crate::shared::{LOGIN, STEADY, clients, ready_router, unharmed};
use crate::wire::on_the_wire;

/// Patroni stops PostgreSQL in order, which waits for its clients to go.
const STOP: Duration = Duration::from_secs(60);
/// A host nobody has been on.
const NEW_HOST: u8 = 18;

#[test]
fn a_member_that_joins_is_served_and_one_that_leaves_is_not() -> Result<()> {
    on_the_wire(async |stand, _wire| {
        let router = ready_router(stand).await?;
        let (name, address) = stand.join()?;
        reads_from(&router, &name, Some(address)).await?;
        let mut node = stand.patroni.dismiss(&name)?;
        node.stop(STOP).await?;
        reads_from(&router, &name, None).await
    })
}

#[test]
fn a_member_that_comes_back_at_another_address_serves_there_and_leads_there() -> Result<()> {
    const FAULT: Fault = Fault::AddressChanged;
    on_the_wire(async |stand, wire| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let plain = stand.patroni.streaming("replica").await?;
        let moved = plain.first().context("no plain replica streams")?;
        let node = stand.patroni.node_mut(moved)?;
        node.stop(STOP).await?;
        node.move_to(wire, NEW_HOST, (5433, 8009))?;
        node.start()?;
        let address = node.postgresql();
        reads_from(&router, moved, Some(address)).await?;

        // In synchronous mode only the synchronous standby may lead; without the other one that is the one that moved.
        let other = stand.patroni.candidate().await?;
        stand.patroni.node_mut(&other)?.stop(STOP).await?;
        until("the member that moved may lead", STEADY, async || {
            let candidate = stand.patroni.candidate().await?;
            ensure!(candidate == *moved, "{candidate} may");
            Ok(())
        })
        .await?;
        stand.patroni.switchover(moved).await?;
        let landed = stand.landing(router.ports().write, LOGIN).await?;
        ensure!(landed == *moved, "a login landed on {landed}");
        unharmed(FAULT, clients, stand, &mut router).await?;
        Ok(())
    })
}

/// Waits until new readers go to the member at that address, or to none of its name.
async fn reads_from(router: &Router, member: &str, address: Option<SocketAddr>) -> Result<()> {
    let wanted = address.map(|address| address.to_string());
    let follows = until("the read pool has followed", STEADY, async || {
        let targets = router.targets("read").await?;
        ensure!(targets.get(member) == wanted.as_ref(), "it has {targets:?}");
        Ok(())
    });
    follows.await.map_err(|failure| router.with_log(&failure))
}
