//! The cluster is well and the router does not see it: not its store, not its leader, nothing at all.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::moments::session_ends;
use trunkline_support::postgres::Sql;
use trunkline_support::router::Router;
use trunkline_support::stand::Stand;
use trunkline_support::wait::throughout;

use crate::shared::{LOGIN, clients, note, ready_router, unharmed};
use crate::wire::{GIVEN_UP, on_the_wire};

#[test]
fn a_router_cut_off_from_etcd_goes_on_by_the_leaders_own_word() -> Result<()> {
    const FAULT: Fault = Fault::RouterWithoutEtcd;
    on_the_wire(async |stand, wire| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let leader = stand.patroni.leader().await?;
        let cut = wire.part(host(&router), &etcd(stand))?;
        let longer_than_the_lease = stand.patroni.settings().lease() + Duration::from_secs(4);
        let served = throughout("logins are served", longer_than_the_lease, async || {
            let landed = stand.landing(router.ports().write, LOGIN).await?;
            ensure!(
                landed == leader,
                "a login landed on {landed} while {leader} led"
            );
            stand.landing(router.ports().read, LOGIN).await?;
            Ok(())
        });
        served.await.map_err(|failure| router.with_log(&failure))?;
        let decided = decision(&router).await?;
        ensure!(decided == "BlindConfirmed", "it went by {decided}");
        cut.mend()?;
        let record = unharmed(FAULT, clients, stand, &mut router).await?;
        ensure!(record.cut.is_empty(), "sessions were cut: {:?}", record.why);
        Ok(())
    })
}

#[test]
fn a_router_cut_off_from_the_leader_hands_its_clients_to_nobody_else() -> Result<()> {
    const FAULT: Fault = Fault::RouterWithoutLeader;
    on_the_wire(async |stand, wire| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let idle = Sql::connect(router.ports().write, LOGIN).await?;
        let leader = stand.patroni.leader().await?;
        let cut = wire.part(host(&router), &[stand.patroni.node(&leader)?.host()])?;
        let ended = session_ends(&idle, GIVEN_UP).await;
        let ended = ended.map_err(|failure| router.with_log(&failure))?;
        throughout("logins are held", Duration::from_secs(3), async || {
            held(&router).await
        })
        .await?;
        cut.mend()?;
        let record = unharmed(FAULT, clients, stand, &mut router).await?;
        let leads = stand.patroni.leader().await?;
        ensure!(leads == leader, "{leads} leads instead of {leader}");
        note(
            record,
            format!("an idle session ended after {:.2} s", ended.as_secs_f64()),
        )
    })
}

#[test]
fn a_router_cut_off_from_everything_ends_its_sessions_before_the_lease_can_have_ended() -> Result<()>
{
    const FAULT: Fault = Fault::RouterWithoutBoth;
    on_the_wire(async |stand, wire| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let idle = Sql::connect(router.ports().write, LOGIN).await?;
        let mut all = etcd(stand);
        all.extend(stand.patroni.nodes().iter().map(|node| node.host()));
        let cut = wire.part(host(&router), &all)?;
        let ended = session_ends(&idle, stand.patroni.settings().lease()).await;
        let ended = ended.map_err(|failure| router.with_log(&failure))?;
        // Nobody else is heard either, so the silence may be the router's own.
        ensure!(
            ended > GIVEN_UP,
            "the session ended after {ended:?}, while the lock was proven"
        );
        held(&router).await?;
        cut.mend()?;
        let record = unharmed(FAULT, clients, stand, &mut router).await?;
        note(
            record,
            format!("an idle session ended after {:.2} s", ended.as_secs_f64()),
        )
    })
}

fn host(router: &Router) -> IpAddr {
    router.ports().write.ip()
}

fn etcd(stand: &Stand) -> Vec<IpAddr> {
    stand.etcd.endpoints().iter().map(SocketAddr::ip).collect()
}

async fn decision(router: &Router) -> Result<String> {
    let stats = router.stats().await?;
    Ok(stats["clusters"][0]["decision"]["row"]
        .as_str()
        .unwrap_or("?")
        .to_owned())
}

/// A login through the write port is not answered yet.
async fn held(router: &Router) -> Result<()> {
    let login = Sql::connect(router.ports().write, Duration::from_millis(500)).await;
    let told = login
        .err()
        .map_or_else(|| "served".to_owned(), |error| format!("{error:#}"));
    ensure!(
        told.contains("nothing within"),
        "a login was not held but: {told}"
    );
    Ok(())
}
