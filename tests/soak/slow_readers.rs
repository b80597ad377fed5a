//! R7 and R9: a reader that stops costs little however much is sent to it, and loses nothing, even where it stops for
//! far longer than it takes to find a dead peer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use trunkline_support::background::spawn;
use trunkline_support::wait::until;

use crate::flow::{LONG, MIB, Noise, drain, hand_over, receive, say, send, session};
use crate::stand::{Plan, SOON, Stand, on};
use crate::watch::{alone, at_rest, look, nothing_is_left};

/// Ends of pipes that one direction in flow may have: of one pipe.
const A_DIRECTION: usize = 2;
/// Ends of pipes that the router may keep for whoever flows next, where nobody does.
const KEPT: usize = 32;

/// Waits until the router's processor time stands still: all buffers on the way are full.
async fn stuck(stand: &mut Stand) -> Result<()> {
    let mut last = look(stand)?.processor;
    let mut same = 0;
    let began = Instant::now();
    while same < 3 {
        ensure!(began.elapsed() < LONG, "the router is still at work");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = look(stand)?.processor;
        let rests = now - last <= Duration::from_millis(10);
        same = if rests { same + 1 } else { 0 };
        last = now;
    }
    Ok(())
}

/// Who of a session's ends reads slowly and who sends fast: now the client and the server, now the other way round.
fn slow_and_fast(number: u64, (client, server): (TcpStream, TcpStream)) -> (TcpStream, TcpStream) {
    if number.is_multiple_of(2) {
        (client, server)
    } else {
        (server, client)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stop_in_full_flow_fill_neither_memory_nor_pipes_and_lose_nothing()
-> Result<()> {
    const BULK: usize = 24 * MIB;
    let _alone = alone().await;
    on(Plan::default(), async |stand| {
        hand_over(stand).await?;
        let mut sessions = Vec::new();
        for _ in 0..8 {
            sessions.push(session(stand).await?);
        }
        let rest = look(stand)?;
        let mut sending = Vec::new();
        let mut readers = Vec::new();
        // Both legs: where the client reads slowly, and where the server does.
        for (number, session) in (0..).zip(sessions) {
            let (reader, writer) = slow_and_fast(number, session);
            sending.push(spawn(send(writer, Noise::new(number), BULK)));
            readers.push((reader, Noise::new(number)));
        }
        for (reader, hears) in &mut readers {
            receive(reader, hears, 4 * MIB).await?;
        }
        stuck(stand).await?;
        let now = look(stand)?;
        let grown = now.memory_kib.saturating_sub(rest.memory_kib);
        ensure!(grown < 8 * 1024, "eight stopped readers cost {grown} KiB");
        let pipes = now.pipe_ends.saturating_sub(rest.pipe_ends);
        let most = readers.len() * A_DIRECTION;
        ensure!(pipes <= most, "{pipes} ends of pipes for eight directions");
        for (mut reader, mut hears) in readers {
            receive(&mut reader, &mut hears, BULK - 4 * MIB).await?;
            let more = timeout(LONG, reader.read(&mut [0])).await??;
            ensure!(more == 0, "there is more than was sent");
        }
        for sent in sending {
            sent.await??;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_flow_one_after_another_do_not_keep_a_pipe_each() -> Result<()> {
    let _alone = alone().await;
    on(Plan::default(), async |stand| {
        hand_over(stand).await?;
        let rest = at_rest(stand).await?;
        let mut sessions = Vec::new();
        for number in 0..2 * KEPT as u64 {
            let (mut client, mut server) = session(stand).await?;
            let (mut says, mut hears) = (Noise::new(number), Noise::new(number));
            let (sent, came) = tokio::join!(
                say(&mut server, &mut says, 4 * MIB),
                receive(&mut client, &mut hears, 4 * MIB),
            );
            sent.and(came)?;
            sessions.push((client, server));
        }
        // All are there and idle.
        until(
            "idle sessions have given their pipes back",
            SOON,
            async || {
                let now = look(stand)?;
                let pipes = now.pipe_ends.saturating_sub(rest.pipe_ends);
                ensure!(pipes <= KEPT, "{pipes} ends of pipes, nobody flows");
                Ok(())
            },
        )
        .await?;
        drop(sessions);
        let left = nothing_is_left(stand, rest).await?;
        ensure!(left.pipe_ends <= rest.pipe_ends + KEPT, "{left:?}");
        Ok(())
    })
    .await
}

/// Its kernel answers for it: it is no dead peer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_for_twice_the_keepalive_horizon_and_goes_on_loses_nothing()
-> Result<()> {
    const BULK: usize = 24 * MIB;
    // A dead peer is found after three seconds.
    let horizon = Duration::from_secs(3);
    let plan = Plan {
        write: "hold: 30s, keepalive: {idle: 1s, interval: 1s, probes: 2}",
        ..Plan::default()
    };
    on(plan, async |stand| {
        hand_over(stand).await?;
        let mut readers: Vec<(TcpStream, Noise)> = Vec::new();
        let mut sending = Vec::new();
        for number in 0..4 {
            let (reader, writer) = slow_and_fast(number, session(stand).await?);
            sending.push(spawn(send(writer, Noise::new(number), BULK)));
            readers.push((reader, Noise::new(number)));
        }
        // Two stop in full flow, two have never read.
        for (reader, hears) in &mut readers[..2] {
            receive(reader, hears, 4 * MIB).await?;
        }
        // The test is about this time, not about anything that happens in it.
        tokio::time::sleep(2 * horizon + Duration::from_secs(1)).await;
        for (number, (reader, hears)) in readers.into_iter().enumerate() {
            let left = if number < 2 { BULK - 4 * MIB } else { BULK };
            let came = timeout(LONG, drain(reader, hears)).await?;
            let came = came.with_context(|| format!("reader {number}"))?;
            ensure!(came == left as u64, "reader {number}: {came} of {left}");
        }
        for sent in sending {
            sent.await??;
        }
        Ok(())
    })
    .await
}
