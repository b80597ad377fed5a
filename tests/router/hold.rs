//! Clients that wait for a server: how they are served, and what they are told when they are not.

use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::wait::until;

use crate::client::{Answer, Client, GSSENC_REQUEST, SSL_REQUEST, startup};
use crate::stand::{Plan, SOON, Stand, on};

fn leaderless(write: &'static str) -> Plan {
    Plan {
        leader: None,
        write,
        ..Plan::default()
    }
}

fn refused(answer: &Answer, sqlstate: &str, words: &[&str]) -> Result<()> {
    let Answer::Refused { code, message } = answer else {
        anyhow::bail!("{answer:?} is no refusal");
    };
    ensure!(code == sqlstate, "{code}: {message}");
    for word in words {
        ensure!(message.contains(word), "{message:?} does not name {word:?}");
    }
    Ok(())
}

#[tokio::test]
async fn clients_that_came_before_the_leader_are_served_when_there_is_one() -> Result<()> {
    on(leaderless("hold: 30s"), async |stand| {
        let mut waiting = Vec::new();
        for _ in 0..20 {
            waiting.push(Client::ask(stand.write()).await?);
        }
        stand.cluster.promote("pg-2").await?;
        for client in &mut waiting {
            let answer = client.answer().await?;
            ensure!(answer == Answer::Served("pg-2".to_owned()), "{answer:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_hold_that_ends_tells_the_cluster_and_the_reason_in_postgresqls_protocol() -> Result<()> {
    on(leaderless("hold: 1s"), async |stand| {
        let scope = stand.cluster.scope().to_owned();
        let told = ["the cluster has no leader", &scope];

        let mut plain = Client::ask(stand.write()).await?;
        refused(&plain.answer().await?, "57P03", &told)?;
        plain.ended(SOON).await?;

        for encryption in [SSL_REQUEST, GSSENC_REQUEST] {
            let mut client = Client::connect(stand.write()).await?;
            client.say(&encryption).await?;
            ensure!(client.hear(1).await? == b"N", "encryption was not declined");
            client.say(&startup()).await?;
            refused(&client.answer().await?, "57P03", &told)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_that_asks_for_gssapi_then_tls_then_neither_is_told_too() -> Result<()> {
    on(leaderless("hold: 1s"), async |stand| {
        let mut client = Client::connect(stand.write()).await?;
        for encryption in [GSSENC_REQUEST, SSL_REQUEST] {
            client.say(&encryption).await?;
            ensure!(client.hear(1).await? == b"N", "encryption was not declined");
        }
        client.say(&startup()).await?;
        refused(&client.answer().await?, "57P03", &["no leader"])
    })
    .await
}

#[tokio::test]
async fn more_clients_than_may_wait_are_told_at_once_and_those_who_leave_make_room() -> Result<()> {
    on(leaderless("hold: {time: 30s, number: 2}"), async |stand| {
        let mut waiting = wait_until_full(stand).await?;
        ensure!(waiting.len() == 2, "{} clients wait", waiting.len());
        drop(waiting.pop());
        until("its place is free", SOON, async || {
            let write = stand.router.listener("write").await?;
            ensure!(write["held"] == 1, "{} held", write["held"]);
            Ok(())
        })
        .await?;
        // There is room again, for one.
        waiting.extend(wait_until_full(stand).await?);
        ensure!(waiting.len() == 2, "{} clients wait", waiting.len());
        stand.cluster.promote("pg-1").await?;
        for client in &mut waiting {
            let answer = client.answer().await?;
            ensure!(answer == Answer::Served("pg-1".to_owned()), "{answer:?}");
        }
        Ok(())
    })
    .await
}

/// What a client sends after its first packet must not hide that it left.
#[tokio::test]
async fn a_held_client_that_sent_more_than_its_first_packet_makes_room_when_it_leaves() -> Result<()>
{
    on(leaderless("hold: {time: 30s, number: 1}"), async |stand| {
        let eager = [startup(), vec![b'Q'; 300]].concat();
        let tls_at_once = b"\x16\x03\x01".repeat(100);
        for said in [eager, tls_at_once] {
            let client = until("it waits", SOON, async || {
                let mut client = Client::connect(stand.write()).await?;
                client.say(&said).await?;
                let waits = client.waits(Duration::from_millis(500)).await;
                ensure!(waits, "there is no room for it");
                Ok(client)
            })
            .await?;
            ensure!(
                wait_until_full(stand).await?.is_empty(),
                "another one waits too"
            );
            drop(client);
            until("its place is free", SOON / 2, async || {
                let others = wait_until_full(stand).await?;
                ensure!(others.len() == 1, "it is not");
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
    .await
}

/// Sends clients until one is told that there is no room; returns those that wait.
async fn wait_until_full(stand: &Stand) -> Result<Vec<Client>> {
    let mut waiting = Vec::new();
    while waiting.len() < 10 {
        let mut client = Client::ask(stand.write()).await?;
        match tokio::time::timeout(Duration::from_secs(1), client.answer()).await {
            Ok(answer) => {
                refused(&answer?, "53300", &["wait for a server"])?;
                return Ok(waiting);
            }
            Err(_it_waits) => waiting.push(client),
        }
    }
    anyhow::bail!("ten clients wait, and there is room for more")
}

#[tokio::test]
async fn more_clients_than_maxconn_are_told_at_once() -> Result<()> {
    let plan = Plan {
        write: "maxconn: 2",
        ..Plan::default()
    };
    on(plan, async |stand| {
        let (mut one, _) = Client::login(stand.write()).await?;
        let (two, _) = Client::login(stand.write()).await?;
        let mut third = Client::ask(stand.write()).await?;
        refused(
            &third.answer().await?,
            "53300",
            &["too many connections", "write"],
        )?;
        drop(two);
        until("there is room", SOON, async || {
            Client::login(stand.write()).await
        })
        .await?;
        one.echo(b"unharmed").await
    })
    .await
}
