//! What the router costs its cluster.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;
use trunkline_support::fake_member::Postgres;

use crate::client::{Client, lands_on};
use crate::stand::{Plan, Stand, on};

fn times_asked(stand: &Stand) -> Vec<u64> {
    let members = stand.cluster.members().iter();
    members.map(|member| member.times_asked()).collect()
}

#[tokio::test]
async fn an_idle_router_asks_each_member_once_a_second() -> Result<()> {
    on(Plan::default(), async |stand| {
        lands_on(stand.write()).await?;
        crate::routing::both_replicas_serve(stand).await?;
        let (before, began) = (times_asked(stand), Instant::now());
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (after, took) = (times_asked(stand), began.elapsed());
        for (number, (before, after)) in before.iter().zip(after).enumerate() {
            let asked = after - before;
            // One more for where the seconds began; not fewer than a busy machine explains.
            ensure!(
                (3..=took.as_secs() + 1).contains(&asked),
                "member {number} was asked {asked} times in {took:?}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn many_clients_that_a_member_fails_do_not_multiply_the_questions_it_is_asked() -> Result<()>
{
    on(Plan::default(), async |stand| {
        lands_on(stand.write()).await?;
        stand.member("pg-1")?.serve(Postgres::Starting).await?;
        let mut clients = Vec::new();
        for _ in 0..30 {
            clients.push(Client::ask(stand.write()).await?);
        }
        let before = times_asked(stand);
        tokio::time::sleep(Duration::from_secs(3)).await;
        let asked = times_asked(stand)[0] - before[0];
        ensure!(asked <= 75, "pg-1 was asked {asked} times in three seconds");
        stand.member("pg-1")?.serve(Postgres::Accepting).await?;
        for client in &mut clients {
            client.answer().await?;
        }
        Ok(())
    })
    .await
}
