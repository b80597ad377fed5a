//! The lock moves in etcd, and sessions follow.

use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::fake_member::Rest;
use trunkline_support::wait::throughout;

use crate::client::{Client, lands_on};
use crate::stand::{Plan, SOON, on};

#[tokio::test]
async fn a_lock_in_other_hands_ends_the_old_sessions_and_waits_for_the_new_holder() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (mut old, member) = Client::login(stand.write()).await?;
        ensure!(member == "pg-1");

        stand.cluster.lock("pg-2").await?;
        old.ended(SOON).await?;
        // It holds the lock, but it is not promoted yet.
        let mut waiting = Client::ask(stand.write()).await?;
        ensure!(
            waiting.waits(Duration::from_millis(700)).await,
            "a client was let go before pg-2 was primary"
        );
        ensure!(
            stand.member("pg-2")?.startups().is_empty(),
            "a writer reached a replica"
        );

        stand.member("pg-2")?.say(Rest::Primary).await?;
        let answer = waiting.answer().await?;
        ensure!(
            answer == crate::client::Answer::Served("pg-2".to_owned()),
            "{answer:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_same_holder_under_a_new_revision_keeps_its_sessions() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (mut session, _) = Client::login(stand.write()).await?;
        stand.cluster.lock("pg-1").await?;
        ensure!(lands_on(stand.write()).await? == "pg-1");
        throughout("the session lives", Duration::from_secs(3), async || {
            session.echo(b"still there?").await
        })
        .await
    })
    .await
}

#[tokio::test]
async fn readers_leave_the_replica_that_became_primary_and_stay_on_the_other() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (mut on_two, mut on_three) = (None, None);
        while on_two.is_none() || on_three.is_none() {
            let (session, member) = Client::login(stand.read()).await?;
            match member.as_str() {
                "pg-2" => on_two = Some(session),
                _ => on_three = Some(session),
            }
        }
        stand.cluster.promote("pg-2").await?;
        if let Some(mut session) = on_two {
            session.ended(SOON).await?;
        }
        if let Some(mut session) = on_three {
            session.echo(b"unharmed").await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_caught_in_the_login_by_a_moving_lock_is_served_by_the_new_holder() -> Result<()> {
    on(Plan::default(), async |stand| {
        ensure!(lands_on(stand.write()).await? == "pg-1");
        let old = stand.member("pg-1")?;
        old.serve(trunkline_support::fake_member::Postgres::Frozen)
            .await?;
        let before = old.connections();
        let mut client = Client::ask(stand.write()).await?;
        trunkline_support::wait::until("it waits for pg-1", SOON, async || {
            ensure!(old.connections() > before, "it is not connected");
            Ok(())
        })
        .await?;

        stand.cluster.promote("pg-2").await?;
        let answer = client.answer().await?;
        ensure!(
            answer == crate::client::Answer::Served("pg-2".to_owned()),
            "{answer:?}"
        );
        Ok(())
    })
    .await
}
