//! Each port leads where it says.

use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::fake_member::Rest;
use trunkline_support::wait::until;

use crate::client::{Client, lands_on};
use crate::stand::{Plan, SOON, on};

#[tokio::test]
async fn writers_reach_the_leader_readers_a_replica_and_sync_readers_the_synchronous_one()
-> Result<()> {
    on(Plan::default(), async |stand| {
        stand.cluster.sync("pg-1", "pg-3").await?;
        for _ in 0..5 {
            ensure!(lands_on(stand.write()).await? == "pg-1");
            ensure!(lands_on(stand.read()).await? != "pg-1");
            ensure!(lands_on(stand.sync()).await? == "pg-3");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn readers_are_spread_evenly_by_their_number() -> Result<()> {
    on(Plan::default(), async |stand| {
        both_replicas_serve(stand).await?;
        let mut sessions = Vec::new();
        for _ in 0..8 {
            sessions.push(Client::login(stand.read()).await?);
        }
        let on_two = sessions.iter().filter(|(_, name)| name == "pg-2").count();
        ensure!(on_two == 4, "{on_two} of 8 sessions are on pg-2");
        Ok(())
    })
    .await
}

/// Both replicas have been found up.
pub(crate) async fn both_replicas_serve(stand: &crate::stand::Stand) -> Result<()> {
    until("both replicas serve", SOON, async || {
        let (_one, first) = Client::login(stand.read()).await?;
        let (_other, second) = Client::login(stand.read()).await?;
        ensure!(first != second, "only {first} does");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_replica_whose_rest_api_belongs_to_somebody_else_gets_no_readers() -> Result<()> {
    on(Plan::default(), async |stand| {
        both_replicas_serve(stand).await?;
        stand.member("pg-2")?.say(Rest::ForeignName).await?;
        stand
            .logged("another member answers: somebody-else")
            .await?;
        for _ in 0..4 {
            let (_session, member) = Client::login(stand.read()).await?;
            ensure!(member == "pg-3", "a reader landed on {member}");
        }
        Ok(())
    })
    .await
}

/// The holder of the lock is believed only under its own name and with its own database.
#[tokio::test]
async fn a_leader_that_never_answered_for_itself_gets_no_writers() -> Result<()> {
    let plan = Plan {
        leader: None,
        write: "hold: 2s",
        ..Plan::default()
    };
    on(plan, async |stand| {
        let lies = [
            Rest::ForeignName,
            Rest::ForeignSystem,
            Rest::Garbage,
            Rest::Tls,
            Rest::Refused,
            Rest::Starting,
        ];
        let leader = stand.member("pg-1")?;
        leader.say(Rest::Silent).await?;
        stand.cluster.lock("pg-1").await?;
        for lie in lies {
            stand.member("pg-1")?.say(lie).await?;
            let mut client = Client::ask(stand.write()).await?;
            ensure!(
                client.waits(Duration::from_millis(300)).await,
                "a writer was not held while REST was {lie:?}"
            );
        }
        ensure!(stand.member("pg-1")?.startups().is_empty());
        stand.member("pg-1")?.say(Rest::Primary).await?;
        ensure!(lands_on(stand.write()).await? == "pg-1");
        Ok(())
    })
    .await
}
