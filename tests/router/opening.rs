//! Between accept and the first pumped byte: whatever a server does there, the client does not see it.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::AsyncReadExt;
use trunkline_support::fake_member::{GREETING, Postgres};
use trunkline_support::wait::until;

use crate::bytes::session;
use crate::client::{Answer, Client, SSL_REQUEST, lands_on, startup};
use crate::stand::{Plan, SOON, Stand, on};

/// A stand whose pg-1 has been routed to, and now has PostgreSQL in `mode`.
async fn with_primary_in(mode: Postgres, stand: &Stand) -> Result<u64> {
    ensure!(lands_on(stand.write()).await? == "pg-1");
    let primary = stand.member("pg-1")?;
    primary.serve(mode).await?;
    Ok(primary.connections())
}

/// Waits until pg-1 was tried at least once since it had `before` connections, then lets it accept.
async fn then_accepts(before: u64, stand: &Stand) -> Result<()> {
    let primary = stand.member("pg-1")?;
    until("pg-1 was tried", SOON, async || {
        ensure!(primary.connections() > before, "it was not");
        Ok(())
    })
    .await?;
    primary.serve(Postgres::Accepting).await
}

#[tokio::test]
async fn a_server_that_is_starting_up_is_waited_for_unseen() -> Result<()> {
    on(Plan::default(), async |stand| {
        for mode in [Postgres::Starting, Postgres::Closing] {
            let before = with_primary_in(mode, stand).await?;
            let mut client = Client::ask(stand.write()).await?;
            then_accepts(before, stand).await?;
            let answer = client.answer().await?;
            ensure!(
                answer == Answer::Served("pg-1".to_owned()),
                "{mode:?}: {answer:?}"
            );
            client.echo(b"as if nothing had been").await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_server_that_goes_on_refusing_is_asked_seldom_and_the_hold_still_ends() -> Result<()> {
    let plan = Plan {
        write: "hold: 2s",
        ..Plan::default()
    };
    on(plan, async |stand| {
        for mode in [Postgres::Starting, Postgres::Closing, Postgres::Refused] {
            let before = with_primary_in(mode, stand).await?;
            let asked = stand.member("pg-1")?.times_asked();
            let mut client = Client::ask(stand.write()).await?;
            let answer = client.answer().await?;
            let Answer::Refused { code, .. } = &answer else {
                anyhow::bail!("{mode:?}: {answer:?}");
            };
            ensure!(code == "57P03", "{mode:?}: {answer:?}");
            let tries = stand.member("pg-1")?.connections() - before;
            ensure!(tries <= 40, "{mode:?}: tried {tries} times in two seconds");
            let asked = stand.member("pg-1")?.times_asked() - asked;
            ensure!(
                asked <= 80,
                "{mode:?}: REST was asked {asked} times in two seconds"
            );
            stand.member("pg-1")?.serve(Postgres::Accepting).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn readers_go_to_the_other_replica_when_one_refuses_or_closes() -> Result<()> {
    on(Plan::default(), async |stand| {
        crate::routing::both_replicas_serve(stand).await?;
        for mode in [Postgres::Refused, Postgres::Closing, Postgres::Starting] {
            stand.member("pg-2")?.serve(mode).await?;
            for _ in 0..6 {
                let began = tokio::time::Instant::now();
                let member = lands_on(stand.read()).await?;
                ensure!(member == "pg-3", "{mode:?}: landed on {member}");
                ensure!(
                    began.elapsed() < Duration::from_secs(10),
                    "{mode:?}: not at once"
                );
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_server_costs_a_client_one_connection() -> Result<()> {
    on(Plan::default(), async |stand| {
        let before = with_primary_in(Postgres::Accepting, stand).await?;
        for _ in 0..50 {
            lands_on(stand.write()).await?;
        }
        let made = stand.member("pg-1")?.connections() - before;
        ensure!(made == 50, "50 clients made {made} connections");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn granted_encryption_is_opaque_both_ways() -> Result<()> {
    on(Plan::default(), async |stand| {
        with_primary_in(Postgres::Encrypting, stand).await?;
        let mut client = Client::connect(stand.write()).await?;
        client.say(&SSL_REQUEST).await?;
        ensure!(client.hear(1).await? == b"S");
        // Among others, bytes that would mean something in clear.
        for opaque in [
            &b"\x16\x03\x01\x02\x00"[..],
            &SSL_REQUEST,
            &startup(),
            &[0; 3000],
        ] {
            client.echo(opaque).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn declined_encryption_goes_on_in_clear_even_when_sent_together() -> Result<()> {
    on(Plan::default(), async |stand| {
        let mut client = Client::connect(stand.write()).await?;
        client.say(&SSL_REQUEST).await?;
        ensure!(client.hear(1).await? == b"N");
        client.say(&startup()).await?;
        ensure!(client.answer().await? == Answer::Served("pg-1".to_owned()));

        let mut hasty = Client::connect(stand.write()).await?;
        hasty.say(&[&SSL_REQUEST[..], &startup()].concat()).await?;
        ensure!(hasty.hear(1).await? == b"N");
        ensure!(hasty.answer().await? == Answer::Served("pg-1".to_owned()));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_that_speaks_one_byte_at_a_time_is_served() -> Result<()> {
    on(Plan::default(), async |stand| {
        let mut client = Client::connect(stand.write()).await?;
        for part in [&SSL_REQUEST[..], &startup()] {
            for byte in part {
                client.say(&[*byte]).await?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if part == SSL_REQUEST {
                ensure!(client.hear(1).await? == b"N");
            }
        }
        ensure!(client.answer().await? == Answer::Served("pg-1".to_owned()));
        client.echo(b"at last").await
    })
    .await
}

#[tokio::test]
async fn a_server_that_answers_one_byte_at_a_time_is_passed_on() -> Result<()> {
    on(Plan::default(), async |stand| {
        with_primary_in(Postgres::Slow, stand).await?;
        let mut client = Client::ask(stand.write()).await?;
        ensure!(client.answer().await? == Answer::Served("pg-1".to_owned()));
        client.echo(b"at last").await
    })
    .await
}

#[tokio::test]
async fn what_is_sent_together_with_the_startup_message_arrives_once_and_in_order() -> Result<()> {
    on(Plan::default(), async |stand| {
        let before = with_primary_in(Postgres::Starting, stand).await?;
        // Longer than the router reads at once, and than it keeps of a first packet.
        let eager: Vec<u8> = (0..200_000_u32).flat_map(u32::to_be_bytes).collect();
        let mut client = Client::ask(stand.write()).await?;
        let (mut read, mut write) = client.0.split();
        let sent = eager.clone();
        let sending = async {
            tokio::io::AsyncWriteExt::write_all(&mut write, &sent).await?;
            anyhow::Ok(())
        };
        let hearing = async {
            then_accepts(before, stand).await?;
            // AuthenticationOk, the ParameterStatus with the member's name, ReadyForQuery.
            let welcome = 9 + 5 + "trunkline.member\0pg-1\0".len() + 6;
            let mut heard = vec![0; welcome + eager.len()];
            read.read_exact(&mut heard).await?;
            ensure!(heard[welcome..] == eager, "the echo differs");
            Ok(())
        };
        tokio::time::timeout(SOON, async { tokio::try_join!(sending, hearing) }).await??;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn bytes_that_are_no_postgresql_are_pumped_as_they_are() -> Result<()> {
    on(Plan::default(), async |stand| {
        with_primary_in(Postgres::Accepting, stand).await?;
        for garbage in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"\x16\x03\x01\x00\x05hello",
            b"\0\0\0\x01",
        ] {
            let mut client = Client::connect(stand.write()).await?;
            client.echo(garbage).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard() -> Result<()> {
    on(Plan::default(), async |stand| {
        with_primary_in(Postgres::SpeaksFirst, stand).await?;
        let mut client = Client::connect(stand.write()).await?;
        ensure!(client.hear(GREETING.len()).await? == GREETING);
        client.echo(b"hello yourself").await
    })
    .await
}

#[tokio::test]
async fn a_server_that_crashes_before_the_client_spoke_costs_nothing() -> Result<()> {
    on(Plan::default(), async |stand| {
        let before = with_primary_in(Postgres::Accepting, stand).await?;
        let mut client = Client::connect(stand.write()).await?;
        until("it is connected", SOON, async || {
            ensure!(stand.member("pg-1")?.connections() > before, "it is not");
            Ok(())
        })
        .await?;
        stand.member("pg-1")?.crash();
        // Time enough for the router to see the end of the server's side.
        let waits = client.waits(Duration::from_millis(500)).await;
        ensure!(waits, "the client was sent away");
        client.say(&startup()).await?;
        ensure!(client.answer().await? == Answer::Served("pg-1".to_owned()));
        Ok(())
    })
    .await
}

/// In TLS the refusal of a server that is stopping would be out of the router's sight.
#[tokio::test]
async fn a_leader_that_ended_a_session_gets_nobody_until_it_has_answered_for_itself() -> Result<()>
{
    on(Plan::default(), async |stand| {
        let (mut client, server) = session(stand).await?;
        let primary = stand.member("pg-1")?;
        // What ends within a second is a login that failed, and casts no doubt.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        primary.serve(Postgres::Starting).await?;
        drop(server);
        ensure!(client.read(&mut [0; 1]).await? == 0, "the session goes on");
        // Connections would count the router's own questions until they have said what they are.
        let before = primary.startups().len();
        let mut next = Client::ask(stand.write()).await?;
        ensure!(
            next.waits(Duration::from_millis(500)).await,
            "it was let in"
        );
        ensure!(
            primary.startups().len() == before,
            "a server that says no was tried"
        );
        primary.serve(Postgres::Accepting).await?;
        let answer = next.answer().await?;
        ensure!(answer == Answer::Served("pg-1".to_owned()), "{answer:?}");
        Ok(())
    })
    .await
}
