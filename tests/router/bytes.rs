//! R8: what goes in comes out, all of it, in order, the end after the data. `tests/soak` has the same under random
//! traffic and with readers that stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trunkline_support::background::spawn;
use trunkline_support::fake_member::Postgres;
use trunkline_support::vitals::Vitals;

use crate::client::{Client, lands_on};
use crate::stand::{Plan, SOON, Stand, on};

const MIB: usize = 1024 * 1024;
const BULK: usize = 64 * MIB;
const LONG: Duration = Duration::from_secs(60);

/// Bytes in which a gap, a repetition or a swap shows: a counter in odd-sized words, different each way.
fn pattern(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed;
    move |chunk| {
        for byte in chunk {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = state.to_be_bytes()[0];
        }
    }
}

async fn send(mut to: impl AsyncWrite + Unpin, seed: u64, count: usize) -> Result<()> {
    let mut fill = pattern(seed);
    let mut chunk = vec![0; 64 * 1024];
    for _ in 0..count / chunk.len() {
        fill(&mut chunk);
        to.write_all(&chunk).await.context("sending")?;
    }
    to.shutdown().await.context("sending the end")
}

/// Reads to the end and returns how much there was; all of it was `seed`'s.
async fn receive(mut from: impl AsyncRead + Unpin, seed: u64) -> Result<usize> {
    let mut fill = pattern(seed);
    let (mut chunk, mut expected) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut total = 0;
    loop {
        let count = match from.read(&mut chunk).await {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) => return Err(error).context(format!("after {total} bytes")),
        };
        fill(&mut expected[..count]);
        ensure!(
            chunk[..count] == expected[..count],
            "wrong bytes after {total}"
        );
        total += count;
    }
}

/// A logged-in session: the client's side and the server's.
pub(crate) async fn session(stand: &Stand) -> Result<(TcpStream, TcpStream)> {
    ensure!(lands_on(stand.write()).await? == "pg-1");
    let primary = stand.member("pg-1")?;
    primary.serve(Postgres::HandOver).await?;
    let (client, _) = Client::login(stand.write()).await?;
    let server = primary.handed_over().await?;
    primary.serve(Postgres::Accepting).await?;
    Ok((client.0, server))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_each_way_at_once_arrive_as_they_were_sent() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (client, server) = session(stand).await?;
        let (client_read, client_write) = client.into_split();
        let (server_read, server_write) = server.into_split();
        let all = [
            spawn(async { send(client_write, 1, BULK).await.map(|()| BULK) }),
            spawn(async { send(server_write, 2, BULK).await.map(|()| BULK) }),
            spawn(receive(server_read, 1)),
            spawn(receive(client_read, 2)),
        ];
        for moved in all {
            let moved = timeout(LONG, moved).await???;
            ensure!(moved == BULK, "{moved} bytes");
        }
        stand.logged("from_client=671").await
    })
    .await
}

#[tokio::test]
async fn either_side_may_finish_first_and_the_other_goes_on() -> Result<()> {
    on(Plan::default(), async |stand| {
        for client_first in [true, false] {
            let (client, server) = session(stand).await?;
            let (first, second) = if client_first {
                (client, server)
            } else {
                (server, client)
            };
            let (first_read, first_write) = first.into_split();
            let (second_read, second_write) = second.into_split();
            send(first_write, 3, 64 * 1024).await?;
            let heard = timeout(LONG, receive(second_read, 3)).await??;
            ensure!(heard == 64 * 1024, "{heard} bytes before the end");
            // The other half is open: megabytes go on.
            let sending = spawn(send(second_write, 4, 8 * MIB));
            let heard = timeout(LONG, receive(first_read, 4)).await??;
            ensure!(heard == 8 * MIB, "{heard} bytes after the end");
            sending.await??;
        }
        Ok(())
    })
    .await
}

/// A server that refuses a statement and hangs up has often not read all the client sent: its end is a reset.
#[tokio::test]
async fn a_servers_last_words_arrive_although_it_hung_up_on_the_client() -> Result<()> {
    on(Plan::default(), async |stand| {
        for round in 0..20 {
            let (mut client, mut server) = session(stand).await?;
            client.write_all(&[b'Q'; 1000]).await?;
            server.readable().await?;
            server.write_all(b"FATAL: terminating connection").await?;
            // What it has not read makes the end a reset; the client writes on into it.
            drop(server);
            for _ in 0..20 {
                drop(client.write_all(&[b'Q'; 1000]).await);
                tokio::task::yield_now().await;
            }
            let mut heard = vec![0; 29];
            timeout(LONG, client.read_exact(&mut heard))
                .await?
                .with_context(|| format!("round {round}"))?;
            ensure!(heard == b"FATAL: terminating connection");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_sessions_client_gets_a_beginning_of_what_was_sent_and_no_gap() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (mut idle, _) = Client::login(stand.write()).await?;
        let (mut client, server) = session(stand).await?;
        // The client does not read yet, so the router has bytes that it could not pass on.
        let sending = spawn(send(server, 5, BULK));
        stuck(stand).await?;
        stand.cluster.lock("pg-2").await?;
        idle.ended(SOON).await?;
        // Now it takes all it can get, within the time the router allows.
        let mut got = Vec::new();
        // A reset at the end is as good as an end in order.
        drop(timeout(LONG, client.read_to_end(&mut got)).await?);
        let mut expected = vec![0; got.len()];
        pattern(5)(&mut expected);
        let gap = got
            .iter()
            .zip(&expected)
            .position(|(got, sent)| got != sent);
        ensure!(
            gap.is_none(),
            "of {} bytes, those from {gap:?} on are wrong",
            got.len()
        );
        ensure!(
            !got.is_empty() && got.len() < BULK,
            "{} bytes came",
            got.len()
        );
        sending.abort();
        Ok(())
    })
    .await
}

/// Waits until the router's bytes no longer move: all buffers on the way are full.
async fn stuck(stand: &mut Stand) -> Result<()> {
    let pid = stand.router.process().pid();
    let mut last = Vitals::of(pid)?.processor;
    let mut same = 0;
    let began = tokio::time::Instant::now();
    while same < 3 {
        ensure!(began.elapsed() < LONG, "the router is still at work");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = Vitals::of(pid)?.processor;
        let rests = now - last <= Duration::from_millis(10);
        same = if rests { same + 1 } else { 0 };
        last = now;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_at_full_speed_leave_room_for_new_clients_and_decisions() -> Result<()> {
    on(Plan::default(), async |stand| {
        ensure!(lands_on(stand.write()).await? == "pg-1");
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let mut flooding = Vec::new();
        for _ in 0..4 {
            let (client, server) = session(stand).await?;
            let stop = Arc::clone(&stop);
            flooding.push(spawn(async move { flood(server, &stop).await }));
            flooding.push(spawn(async move { drain(client).await }));
        }
        let began = tokio::time::Instant::now();
        while began.elapsed() < Duration::from_secs(4) {
            timeout(SOON / 4, lands_on(stand.write()))
                .await
                .context("a new client was not served beside four floods")??;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for flood in flooding {
            timeout(LONG, flood).await???;
        }
        Ok(())
    })
    .await
}

async fn flood(mut to: TcpStream, stop: &std::sync::atomic::AtomicBool) -> Result<()> {
    let chunk = vec![7; 256 * 1024];
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        to.write_all(&chunk).await?;
    }
    Ok(())
}

async fn drain(mut from: TcpStream) -> Result<()> {
    let mut chunk = vec![0; 256 * 1024];
    while from.read(&mut chunk).await? > 0 {}
    Ok(())
}
