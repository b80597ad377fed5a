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
        exits_with(0, SOON, stand).await
    })
    .await
}

#[tokio::test]
async fn ctrl_c_ends_an_idle_router_at_once() -> Result<()> {
    on(Plan::default(), async |stand| {
        stand.router.process().interrupt()?;
        exits_with(0, SOON, stand).await
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
        session.ended(SOON).await?;
        exits_with(0, SOON, stand).await?;
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
        session.ended(SOON).await?;
        held.ended(SOON).await?;
        exits_with(0, SOON, stand).await
    })
    .await
}

#[tokio::test]
async fn who_is_queued_at_the_signal_is_let_in() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (session, _) = Client::login(stand.write()).await?;
        // The kernel takes connections for a router that stands still.
        stand.router.process().freeze()?;
        let mut queued = Vec::new();
        for _ in 0..100 {
            queued.push(Client::ask(stand.write()).await?);
        }
        stand.router.process().ask_to_end()?;
        stand.router.process().thaw()?;
        for client in &mut queued {
            let answer = client.answer().await?;
            ensure!(matches!(answer, Answer::Served(_)), "{answer:?}");
        }
        drop((queued, session));
        exits_with(0, SOON, stand).await
    })
    .await
}

#[tokio::test]
async fn sessions_run_on_the_threads_that_were_asked_for_and_a_reload_cannot_change_them()
-> Result<()> {
    let plan = Plan {
        other: "drain: 30s\nthreads: 3",
        ..Plan::default()
    };
    on(plan, async |stand| {
        let (mut session, _) = Client::login(stand.write()).await?;
        let tasks = format!("/proc/{}/task", stand.router.process().pid());
        let mut workers = Vec::new();
        for task in std::fs::read_dir(&tasks)? {
            let name = std::fs::read_to_string(task?.path().join("comm"))?;
            workers.extend(name.strip_prefix("worker-").map(|it| it.trim().to_owned()));
        }
        workers.sort_unstable();
        ensure!(workers == ["0", "1", "2"], "{workers:?}");
        let file = stand.router.file().to_owned();
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(&file, text.replace("threads: 3", "threads: 4"))?;
        stand.router.process().hang_up()?;
        stand
            .logged("threads: cannot be changed while the router runs")
            .await?;
        session.echo(b"still here").await
    })
    .await
}
