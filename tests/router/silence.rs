//! Somebody does not answer: etcd, a REST API, a PostgreSQL. Ignorance is not contradiction.

use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::fake_member::{Postgres, Rest};
use trunkline_support::wait::throughout;

use crate::client::{Client, lands_on};
use crate::stand::{Plan, SOON, Stand, on};

/// A lease short enough to see its end.
const SHORT: i64 = 5;

async fn serves_throughout(stand: &Stand, session: &mut Client, time: Duration) -> Result<()> {
    throughout("old and new clients are served", time, async || {
        session.echo(b"an old session").await?;
        let member = lands_on(stand.write()).await?;
        ensure!(member == "pg-1", "a new client landed on {member}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn while_etcd_is_frozen_the_leaders_own_word_carries_it_and_its_silence_ends_it() -> Result<()>
{
    let plan = Plan {
        own_etcd: true,
        ttl: SHORT,
        ..Plan::default()
    };
    on(plan, async |stand| {
        let (mut session, _) = Client::login(stand.write()).await?;
        stand.etcd()?.freeze()?;
        let beyond_the_lease = Duration::from_secs(SHORT.unsigned_abs() + 3);
        serves_throughout(stand, &mut session, beyond_the_lease).await?;

        stand.member("pg-1")?.say(Rest::Silent).await?;
        session.ended(SOON).await?;

        stand.member("pg-1")?.say(Rest::Primary).await?;
        stand.etcd()?.thaw()?;
        stand.cluster.lock("pg-1").await?;
        ensure!(lands_on(stand.write()).await? == "pg-1");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_silent_rest_api_costs_nothing_while_the_lease_lives_and_postgresql_accepts() -> Result<()>
{
    on(Plan::default(), async |stand| {
        let (mut session, _) = Client::login(stand.write()).await?;
        for silence in [Rest::Silent, Rest::Refused, Rest::Garbage] {
            stand.member("pg-1")?.say(silence).await?;
            serves_throughout(stand, &mut session, Duration::from_secs(5)).await?;
        }
        Ok(())
    })
    .await
}

/// Its machine may be gone and its address another's: whoever accepts there is not known to be the leader.
#[tokio::test]
async fn where_a_stranger_answers_for_the_leader_writers_wait_and_sessions_stay() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (mut session, _) = Client::login(stand.write()).await?;
        stand.member("pg-1")?.say(Rest::ForeignName).await?;
        stand.logged("another member answers").await?;
        let mut held = Client::ask(stand.write()).await?;
        ensure!(
            held.waits(Duration::from_secs(2)).await,
            "a writer was let in to a stranger"
        );
        session.echo(b"an old session").await?;
        stand.member("pg-1")?.say(Rest::Primary).await?;
        let answer = held.answer().await?;
        ensure!(
            answer == crate::client::Answer::Served("pg-1".to_owned()),
            "{answer:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_leader_of_whom_nothing_is_heard_any_more_is_dead_and_its_sessions_end() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (mut session, _) = Client::login(stand.write()).await?;
        let (mut reader, replica) = Client::login(stand.read()).await?;
        stand.member("pg-1")?.say(Rest::Silent).await?;
        stand.member("pg-1")?.serve(Postgres::Frozen).await?;
        stand.logged("its REST API is silent").await?;
        session.echo(b"an old session").await?;
        let mut held = Client::ask(stand.write()).await?;
        session.ended(SOON).await?;
        stand.logged("pg-1 is dead").await?;
        stand.member("pg-1")?.serve(Postgres::Accepting).await?;
        let answer = held.answer().await?;
        ensure!(
            answer == crate::client::Answer::Served("pg-1".to_owned()),
            "{answer:?}"
        );

        reader.echo(b"a reader elsewhere").await?;
        stand.member(&replica)?.say(Rest::Silent).await?;
        stand.member(&replica)?.serve(Postgres::Frozen).await?;
        reader.ended(SOON).await
    })
    .await
}
