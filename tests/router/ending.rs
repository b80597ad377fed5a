//! The router is told to stop.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::net::TcpStream;
use trunkline_support::process::describe;
use trunkline_support::wait::until;

use crate::client::{Answer, Client};
use crate::stand::{Plan, SOON, Stand, on};

/// Waits until nobody listens on the write port any more.
async fn closed_to_new_clients(stand: &Stand) -> Result<()> {
    until("new clients are refused", SOON, async || {
        let connected = TcpStream::connect(stand.write()).await;
        ensure!(connected.is_err(), "one was accepted");
        Ok(())
    })
    .await
}

async fn exits_with(code: i32, within: Duration, stand: &mut Stand) -> Result<()> {
    let status = stand.router.process().wait(within).await?;
    ensure!(
        status.code() == Some(code),
        "it ended with {}",
        describe(status)
    );
    Ok(())
}

#[tokio::test]
async fn a_signal_lets_sessions_end_by_themselves_and_then_it_exits_0() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (mut session, _) = Client::login(stand.write()).await?;
        stand.router.process().ask_to_end()?;
        closed_to_new_clients(stand).await?;
        session.echo(b"still here").await?;
        ensure!(
            session.waits(Duration::from_secs(1)).await,
            "the session was ended"
        );
        session.echo(b"and here").await?;
        drop(session);
        exits_with(0, Duration::from_secs(5), stand).await
    })
    .await
}

#[tokio::test]
async fn ctrl_c_ends_an_idle_router_at_once() -> Result<()> {
    on(Plan::default(), async |stand| {
        stand.router.process().interrupt()?;
        exits_with(0, Duration::from_secs(5), stand).await
    })
    .await
}

#[tokio::test]
async fn a_drain_that_takes_too_long_is_cut_off() -> Result<()> {
    let plan = Plan {
        other: "drain: 1s",
        ..Plan::default()
    };
    on(plan, async |stand| {
        let (mut session, _) = Client::login(stand.write()).await?;
        stand.router.process().ask_to_end()?;
        session.ended(Duration::from_secs(5)).await?;
        exits_with(0, Duration::from_secs(5), stand).await?;
        stand.logged("the drain took too long").await
    })
    .await
}

#[tokio::test]
async fn a_second_signal_ends_sessions_and_tells_held_clients() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (mut session, _) = Client::login(stand.write()).await?;
        stand.cluster.unlock().await?;
        // The session of the old leader lives on for a moment; no new one is made.
        let mut held = Client::ask(stand.read()).await?;
        let held_answer = held.answer().await?;
        ensure!(matches!(held_answer, Answer::Served(_)), "{held_answer:?}");
        let mut waiting = Client::ask(stand.sync()).await?;
        until("it is held", SOON, async || {
            let sync = stand.router.listener("sync").await?;
            ensure!(sync["held"] == 1, "{} held", sync["held"]);
            Ok(())
        })
        .await?;
        stand.router.process().ask_to_end()?;
        closed_to_new_clients(stand).await?;
        stand.router.process().ask_to_end()?;
        let answer = waiting.answer().await?;
        let told = matches!(&answer, Answer::Refused { code, .. } if code == "57P01");
        ensure!(told, "a held client was told {answer:?}");
        drop(waiting);
        session.ended(Duration::from_secs(5)).await?;
        held.ended(Duration::from_secs(5)).await?;
        exits_with(0, Duration::from_secs(5), stand).await
    })
    .await
}
