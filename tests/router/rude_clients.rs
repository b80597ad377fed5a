//! Clients that send nothing, half a packet or garbage, and leave at any point: they leave nothing behind.

use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::fake_member::Postgres;
use trunkline_support::wait::until;

use crate::client::{Client, SSL_REQUEST, cancel_request, lands_on, startup};
use crate::stand::{Plan, SOON, Stand, on};

/// Connections the router makes for itself, to etcd and to REST APIs, come and go.
const OWN: usize = 8;

fn descriptors(stand: &mut Stand) -> Result<usize> {
    let path = format!("/proc/{}/fd", stand.router.process().pid());
    Ok(std::fs::read_dir(path)?.count())
}

/// Waits until the router has let go of every client and of every descriptor.
async fn nothing_is_left(before: usize, stand: &mut Stand) -> Result<()> {
    until("nothing is left", SOON, async || {
        let write = stand.router.listener("write").await?;
        ensure!(write["clients"] == 0, "{} clients", write["clients"]);
        ensure!(write["sessions"] == 0, "{} sessions", write["sessions"]);
        ensure!(write["held"] == 0, "{} held", write["held"]);
        let now = descriptors(stand)?;
        ensure!(now <= before + OWN, "{now} descriptors, {before} before");
        Ok(())
    })
    .await
}

/// Everything a client that speaks PostgreSQL may have said when it leaves.
fn beginnings() -> Vec<Vec<u8>> {
    let whole = [&SSL_REQUEST[..], &startup()].concat();
    let prefix = |packet: &[u8]| -> Vec<Vec<u8>> {
        (0..=packet.len())
            .map(|cut| packet[..cut].to_vec())
            .collect()
    };
    [
        prefix(&startup()),
        prefix(&whole),
        prefix(&cancel_request(4)),
    ]
    .concat()
}

/// What others may have said.
fn garbage() -> Vec<Vec<u8>> {
    vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 3000],
        vec![0; 20_000],
        b"\0\0\x27\x10\0\x03\0\0".to_vec(),
        [startup(), vec![b'Q'; 20_000]].concat(),
    ]
}

async fn all_leave(said: &[Vec<u8>], stand: &Stand) -> Result<()> {
    for (number, beginning) in said.iter().enumerate() {
        let mut client = Client::connect(stand.write()).await?;
        client.say(beginning).await?;
        if number % 3 == 0 {
            // With a reset instead of an end in order.
            client.0.set_zero_linger()?;
        } else if number % 3 == 1 {
            // Late enough for an answer to be on its way.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
    Ok(())
}

#[tokio::test]
async fn clients_that_leave_at_any_byte_leave_nothing_behind() -> Result<()> {
    on(Plan::default(), async |stand| {
        ensure!(lands_on(stand.write()).await? == "pg-1");
        nothing_is_left(usize::MAX - OWN, stand).await?;
        let before = descriptors(stand)?;
        // A frozen server is left with no half of a conversation that a client might still wait for.
        let everything = [beginnings(), garbage(), garbage()].concat();
        for (mode, said) in [
            (Postgres::Accepting, everything),
            (Postgres::Encrypting, beginnings()),
            (Postgres::Frozen, beginnings()),
        ] {
            stand.member("pg-1")?.serve(mode).await?;
            all_leave(&said, stand).await?;
            nothing_is_left(before, stand).await?;
        }
        stand.member("pg-1")?.serve(Postgres::Accepting).await?;
        ensure!(lands_on(stand.write()).await? == "pg-1");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn held_clients_that_leave_at_any_byte_leave_nothing_behind() -> Result<()> {
    let plan = Plan {
        leader: None,
        write: "hold: 30s",
        ..Plan::default()
    };
    on(plan, async |stand| {
        let before = descriptors(stand)?;
        all_leave(&[beginnings(), garbage(), garbage()].concat(), stand).await?;
        nothing_is_left(before, stand).await
    })
    .await
}

#[tokio::test]
async fn silent_clients_are_let_go_when_their_hold_ends() -> Result<()> {
    let plan = Plan {
        leader: None,
        write: "hold: 1s",
        ..Plan::default()
    };
    on(plan, async |stand| {
        let before = descriptors(stand)?;
        let mut clients = Vec::new();
        for beginning in beginnings().iter().step_by(5) {
            let mut client = Client::connect(stand.write()).await?;
            client.say(beginning).await?;
            clients.push(client);
        }
        // None of them leaves or says more: the router ends them, told or not.
        nothing_is_left(before, stand).await?;
        drop(clients);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_thousand_short_sessions_leave_nothing_behind() -> Result<()> {
    on(Plan::default(), async |stand| {
        ensure!(lands_on(stand.write()).await? == "pg-1");
        let before = descriptors(stand)?;
        for _ in 0..1000 {
            lands_on(stand.write()).await?;
        }
        nothing_is_left(before, stand).await
    })
    .await
}
