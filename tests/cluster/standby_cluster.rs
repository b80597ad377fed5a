//! A standby cluster follows another one: nobody in it accepts writes, everybody serves readers.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::postgres::Sql;
use trunkline_support::router::Router;
use trunkline_support::stand::Stand;
use trunkline_support::wait::until;

use crate::shared::{BINARY, LISTENERS, LOGIN, STEADY, clients, measured, on_the_cluster};

const FAULT: Fault = Fault::StandbyCluster;
/// The number of the listener's address, apart from all others of the network.
const STANDBY_HOST: u8 = 9;
/// To be refused at once is not to be held.
const AT_ONCE: Duration = Duration::from_secs(3);
const REASON: &str = "standby cluster";

#[tokio::test]
async fn a_standby_cluster_refuses_writers_with_the_reason_and_serves_readers() -> Result<()> {
    on_the_cluster(async |stand| {
        let standby = stand.network.free(STANDBY_HOST, 5003)?;
        let mut router = router_with(standby, stand)?;
        router.wait_up().await?;
        router.wait_ready(&LISTENERS, STEADY).await?;
        let clients = clients(FAULT, stand, &router).await?;

        stand.patroni.demote_cluster().await?;
        until("writers are told why", STEADY, async || {
            refused(&router).await
        })
        .await
        .map_err(|failure| router.with_log(&failure))?;
        until("the standby leader is served", STEADY, async || {
            let leader = standby_leader(stand).await?;
            let landed = stand.landing(standby, AT_ONCE).await?;
            ensure!(landed == leader, "it leads to {landed} instead of {leader}");
            let reader = stand.landing(router.ports().read, AT_ONCE).await?;
            ensure!(
                reader != leader,
                "the read port leads to {reader}, which leads"
            );
            refused(&router).await
        })
        .await
        .map_err(|failure| router.with_log(&failure))?;

        stand.patroni.promote_cluster().await?;
        let cost = measured(FAULT, clients, stand, &mut router).await?;
        let other: Vec<_> = cost
            .logins_refused
            .keys()
            .filter(|text| !text.contains(REASON))
            .collect();
        ensure!(
            other.is_empty(),
            "logins were refused for another reason: {other:?}"
        );
        ensure!(
            cost.writes_refused.is_empty(),
            "writes were refused: {cost:#?}"
        );
        stand.landing(router.ports().write, LOGIN).await?;
        Ok(())
    })
    .await
}

fn router_with(standby: SocketAddr, stand: &Stand) -> Result<Router> {
    stand.launch_router_with(Path::new(BINARY), |config| {
        let listener =
            format!("listeners:\n  standby: {{bind: \"{standby}\", to: standby-leader}}\n");
        config.replace("listeners:\n", &listener)
    })
}

async fn refused(router: &Router) -> Result<()> {
    let login = Sql::connect(router.ports().write, AT_ONCE).await;
    let told = login
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(told.contains(REASON), "a writer was told {told:?}");
    Ok(())
}

async fn standby_leader(stand: &Stand) -> Result<String> {
    let seen = stand.patroni.seen().await?;
    let leads = seen.iter().find(|member| member.role == "standby_leader");
    Ok(leads.map(|member| member.name.clone()).unwrap_or_default())
}
