//! What a router remembers over its own restart.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use trunkline_support::fake_member::Rest;
use trunkline_support::wait::until;

use crate::client::{Client, lands_on};
use crate::stand::{Plan, SOON, Stand, on};

/// The router's file, once it holds who leads.
async fn written_down(stand: &Stand) -> Result<PathBuf> {
    let name = format!("{}.json", stand.cluster.scope());
    let file = stand.state().join(name);
    until(
        "the router has written down what it knows",
        SOON,
        async || {
            ensure!(std::fs::read_to_string(&file)?.contains("leader"));
            Ok(())
        },
    )
    .await?;
    Ok(file)
}

#[tokio::test]
async fn a_router_started_while_etcd_is_silent_routes_to_the_leader_it_remembers_once_that_confirms()
-> Result<()> {
    let plan = Plan {
        own_etcd: true,
        ..Plan::default()
    };
    on(plan, async |stand| {
        ensure!(lands_on(stand.write()).await? == "pg-1");
        written_down(stand).await?;
        stand.etcd()?.freeze()?;
        stand.member("pg-1")?.say(Rest::Silent).await?;
        stand.restart_router().await?;

        stand.logged("the leader as remembered").await?;
        let mut held = Client::ask(stand.write()).await?;
        ensure!(lands_on(stand.read()).await? != "pg-1");
        // Who was routed by memory alone is never held.
        until("the writer is held", SOON, async || {
            let write = stand.router.listener("write").await?;
            ensure!(write["held"] == 1, "{write}");
            Ok(())
        })
        .await?;
        stand.member("pg-1")?.say(Rest::Primary).await?;
        let answer = held.answer().await?;
        ensure!(
            answer == crate::client::Answer::Served("pg-1".to_owned()),
            "{answer:?}"
        );
        stand.etcd()?.thaw()?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_memory_that_is_garbled_is_told_of_and_not_used() -> Result<()> {
    on(Plan::default(), async |stand| {
        ensure!(lands_on(stand.write()).await? == "pg-1");
        let file = written_down(stand).await?;
        stand.router.process().kill()?;
        std::fs::write(&file, "{\"form\": 1, \"prefix\"")?;
        stand.restart_router().await?;
        stand
            .logged("what was known at the last run is not used")
            .await?;
        ensure!(lands_on(stand.write()).await? == "pg-1");
        Ok(())
    })
    .await
}
