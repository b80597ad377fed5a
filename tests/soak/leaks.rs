//! R9: short sessions, however many and however they end, leave nothing behind in the router: no descriptor, no pipe,
//! no client that is counted, no memory.
//!
//! The crowd and the server are threads that block, not tasks: a hundred thousand sessions have to cost the machine
//! little beside what the router does for them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::Instant;
use trunkline_support::vitals::Vitals;
use trunkline_support::wait::until;

use crate::client::lands_on;
use crate::stand::{Plan, SOON, Stand, on};
use crate::watch::{alone, at_rest, nothing_is_left};

/// How many sessions there are where `SESSIONS=` says nothing else.
const SESSIONS: u64 = 100_000;
/// Parts after which the router is looked at.
const PARTS: u64 = 10;
/// Clients at a time.
const CROWD: u64 = 16;
/// More than that, so that a client never waits for the one before it.
const SERVERS: usize = 24;
/// AuthenticationOk, ReadyForQuery.
const WELCOME: [u8; 15] = *b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
/// A StartupMessage up to the one letter of the user's name, which says how the session is to end.
const STARTUP: &[u8] = b"\0\0\0\x10\0\x03\0\0user\0";
/// What nobody reads, so that the end is a reset.
const UNREAD: [u8; 100] = [b'Q'; 100];
/// By when a session has done what it is to do.
const PATIENCE: Duration = Duration::from_secs(20);
/// What memory may differ by: a third of what it were if each session of the second half left the smallest piece of it
/// there is, which is 32 bytes.
const GROWTH_KIB: u64 = 512;

/// The ways a session ends, taken in turn.
const ENDINGS: [u8; 4] = [CLIENT_CLOSES, CLIENT_RESETS, SERVER_CLOSES, SERVER_RESETS];
const CLIENT_CLOSES: u8 = b'c';
const CLIENT_RESETS: u8 = b'C';
const SERVER_CLOSES: u8 = b's';
const SERVER_RESETS: u8 = b'S';

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_short_sessions_leave_no_descriptor_no_pipe_and_no_memory() -> Result<()>
{
    let _alone = alone().await;
    let plan = Plan {
        other: "drain: 30s\nlog: {level: warn}",
        ..Plan::default()
    };
    on(plan, async |stand| {
        let sessions = match std::env::var("SESSIONS") {
            Ok(number) => number.parse().context("SESSIONS= is no number")?,
            Err(_not_set) => SESSIONS,
        };
        serve_cheaply(stand).await?;
        let write = stand.write();
        // The first ones make what every later one uses again.
        visit(write, sessions / PARTS / 2).await?;
        let rest = at_rest(stand).await?;
        let mut seen = Vec::new();
        for part in 1..=PARTS {
            let began = Instant::now();
            visit(write, sessions / PARTS).await?;
            let rate = (sessions / PARTS) as f64 / began.elapsed().as_secs_f64();
            let now = nothing_is_left(stand, rest).await?;
            told(part * (sessions / PARTS), rate, now);
            ensure!(now.pipe_ends <= rest.pipe_ends, "{now:?} after {rest:?}");
            ensure!(now.threads <= rest.threads + 1, "{now:?} after {rest:?}");
            seen.push(now.memory_kib);
        }
        let (first, second) = seen.split_at(seen.len() / 2);
        let most = |part: &[u64]| part.iter().copied().max().unwrap_or_default();
        ensure!(
            most(second) <= most(first) + GROWTH_KIB,
            "memory grows, in KiB after each part: {seen:?}"
        );
        Ok(())
    })
    .await
}

#[allow(clippy::print_stdout, reason = "`make soak` shows what it saw")]
fn told(sessions: u64, rate: f64, now: Vitals) {
    println!(
        "{sessions:>9} sessions: {rate:>6.0}/s, {} descriptors, {} ends of pipes, {} KiB of memory, {:?} of processor time",
        now.descriptors, now.pipe_ends, now.memory_kib, now.processor
    );
}

/// Has the primary's sessions go to a server that costs little.
async fn serve_cheaply(stand: &mut Stand) -> Result<()> {
    let leader = stand.member("pg-1")?;
    let listener = TcpListener::bind(stand.network.free(140, 5432)?)?;
    let address = listener.local_addr()?;
    let key = leader.key("primary");
    let key = key.replace(&leader.address().to_string(), &address.to_string());
    for _ in 0..SERVERS {
        let listener = listener.try_clone()?;
        // They end with the program: nothing of theirs is anybody else's.
        thread::spawn(move || {
            while let Ok((guest, _)) = listener.accept() {
                // A guest that breaks is found out by the client that it has.
                let _served = serve(guest);
            }
        });
    }
    ensure!(lands_on(stand.write()).await? == "pg-1");
    stand.cluster.put("members/pg-1", &key).await?;
    until("the cheap server is the target", SOON, async || {
        let targets = stand.router.targets("write").await?;
        let target = targets.get("pg-1").context("there is none")?;
        ensure!(*target == address.to_string(), "it is {target}");
        Ok(())
    })
    .await
}

fn serve(mut guest: TcpStream) -> Result<()> {
    guest.set_read_timeout(Some(PATIENCE))?;
    guest.set_nodelay(true)?;
    let mut packet = [0; STARTUP.len() + 3];
    guest.read_exact(&mut packet)?;
    if packet[..STARTUP.len()] != *STARTUP {
        // The router's own question.
        return Ok(guest.write_all(&WELCOME)?);
    }
    let ending = packet[STARTUP.len()];
    if ending == SERVER_RESETS {
        // Something is there to be left unread.
        guest.peek(&mut [0])?;
    }
    guest.write_all(&WELCOME)?;
    if ending == CLIENT_CLOSES || ending == CLIENT_RESETS {
        ended(&mut guest)?;
    }
    Ok(())
}

/// So many sessions, [`CROWD`] at a time.
async fn visit(router: SocketAddr, sessions: u64) -> Result<()> {
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| tokio::task::spawn_blocking(move || visitor(router, sessions / CROWD)))
        .collect();
    for visitor in crowd {
        visitor.await??;
    }
    Ok(())
}

fn visitor(router: SocketAddr, sessions: u64) -> Result<()> {
    for number in 0..sessions {
        let ending = ENDINGS[usize::try_from(number)? % ENDINGS.len()];
        session(router, ending)
            .with_context(|| format!("session {number}, to end by {:?}", char::from(ending)))?;
    }
    Ok(())
}

fn session(router: SocketAddr, ending: u8) -> Result<()> {
    let mut router = TcpStream::connect(router).context("connecting")?;
    router.set_read_timeout(Some(PATIENCE))?;
    router.set_nodelay(true)?;
    let name = [ending, 0, 0];
    let unread: &[u8] = if ending == SERVER_RESETS {
        &UNREAD
    } else {
        &[]
    };
    router.write_all(&[STARTUP, &name, unread].concat())?;
    if ending == CLIENT_RESETS {
        router.peek(&mut [0]).context("waiting for the answer")?;
        // What was not read makes the end a reset.
        return Ok(());
    }
    let mut answer = [0; WELCOME.len()];
    router
        .read_exact(&mut answer)
        .context("reading the answer")?;
    ensure!(answer == WELCOME, "{answer:?}");
    if ending == SERVER_CLOSES || ending == SERVER_RESETS {
        ended(&mut router)?;
    }
    Ok(())
}

/// Waits for the other's end, in order or by reset.
fn ended(other: &mut TcpStream) -> Result<()> {
    match other.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => bail!("there was more"),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error).context("waiting for the end"),
    }
}
