//! R9: at the limit of its descriptors the router neither spins nor falls silent. Sessions go on, at whatever pace,
//! also those for which a pipe cannot be had; the stats port answers; afterwards everything works and nothing is left.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout};
use trunkline_core::admission::Budget;
use trunkline_support::background::spawn;
use trunkline_support::fake_member::Postgres;
use trunkline_support::http;
use trunkline_support::wait::until;

use crate::client::{Client, lands_on};
use crate::flow::{LONG, MIB, Noise, drain, flood, hand_over, receive, session};
use crate::stand::{Plan, SOON, Stand, on};
use crate::watch::{alone, at_rest, look, nothing_is_left};

/// Sessions with bulk going down, of all that there may be.
const FLOODS: usize = 4;
/// Who comes on top of that.
const STORM: usize = 900;
/// How long one round trip may take beside floods and a storm, on a machine that is busy with other tests.
const ROUND_TRIP: Duration = Duration::from_secs(5);
/// How long a state that would make a bad router spin is looked at.
const WATCHED: Duration = Duration::from_secs(3);

/// Reads to the end of flood `number`, which is more than a few packets; how much it was.
async fn flows(mut from: TcpStream, number: u64) -> Result<u64> {
    let mut hears = Noise::new(number);
    receive(&mut from, &mut hears, MIB).await?;
    Ok(drain(from, hears).await? + MIB as u64)
}

/// Sessions with bulk going down them.
struct Floods {
    stop: watch::Sender<bool>,
    sent: Vec<JoinHandle<Result<u64>>>,
    came: Vec<JoinHandle<Result<u64>>>,
}

impl Floods {
    async fn begin(stand: &Stand, count: usize) -> Result<Self> {
        hand_over(stand).await?;
        let stop = watch::Sender::new(false);
        let (mut sent, mut came) = (Vec::new(), Vec::new());
        for number in (0..).take(count) {
            let (client, server) = session(stand).await?;
            sent.push(spawn(flood(server, Noise::new(number), stop.subscribe())));
            came.push(spawn(flows(client, number)));
        }
        stand.member("pg-1")?.serve(Postgres::Accepting).await?;
        Ok(Self { stop, sent, came })
    }

    /// Ends them; all of it arrived.
    async fn end(self) -> Result<()> {
        self.stop.send_replace(true);
        for (sent, came) in self.sent.into_iter().zip(self.came) {
            let sent = timeout(LONG, sent).await???;
            let came = timeout(LONG, came).await???;
            ensure!(sent == came, "{came} bytes of {sent}");
        }
        Ok(())
    }
}

/// So many clients at once. They say nothing, so that each takes as long as it may.
async fn gust(router: SocketAddr, clients: usize) -> Result<Vec<std::net::TcpStream>> {
    let connecting = move || {
        (0..clients)
            .map(|_| std::net::TcpStream::connect(router))
            .collect()
    };
    let connected: std::io::Result<Vec<std::net::TcpStream>> = spawn_blocking(connecting).await?;
    connected.context("connecting in the storm")
}

/// A round trip through each of `sessions`, within [`ROUND_TRIP`].
async fn all_answer(sessions: impl Iterator<Item = &mut Client>) -> Result<()> {
    for session in sessions {
        let trip = timeout(ROUND_TRIP, session.echo(b"still here")).await;
        trip.context("a round trip takes longer than that")??;
    }
    Ok(())
}

async fn stats_answer(stand: &Stand) -> Result<()> {
    let asking = http::get(stand.router.ports().stats, "/metrics");
    let answer = timeout(ROUND_TRIP, asking)
        .await
        .context("the stats port is silent")??;
    ensure!(answer.status == 200, "/metrics says {}", answer.status);
    Ok(())
}

/// Fails if the router uses much more than a quarter of a core while nothing is asked of it.
async fn rests(stand: &mut Stand) -> Result<()> {
    let before = look(stand)?.processor;
    tokio::time::sleep(WATCHED).await;
    let used = look(stand)?.processor - before;
    ensure!(
        used < WATCHED / 4,
        "{used:?} of processor time in {WATCHED:?}"
    );
    Ok(())
}

/// Lets the router have `descriptors` from now on.
fn limit(stand: &mut Stand, descriptors: usize) -> Result<()> {
    let pid = stand.router.process().pid().to_string();
    let done = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--nofile={descriptors}:")])
        .status()?;
    ensure!(done.success(), "prlimit failed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_beyond_the_limit_harms_no_session_and_leaves_nothing() -> Result<()> {
    let _alone = alone().await;
    let plan = Plan {
        shell: "ulimit -n 256",
        other: "drain: 30s\nthreads: 2",
        ..Plan::default()
    };
    let sessions = Budget::of(256, 2).sessions as usize;
    on(plan, async |stand| {
        ensure!(lands_on(stand.write()).await? == "pg-1");
        let rest = at_rest(stand).await?;
        let mut served = Vec::new();
        while served.len() < sessions - FLOODS {
            served.push(Client::login(stand.write()).await?.0);
        }
        let floods = Floods::begin(stand, FLOODS).await?;
        let mut storm = Vec::new();
        for _ in 0..3 {
            storm.extend(gust(stand.write(), STORM / 3).await?);
            all_answer(served.iter_mut().step_by(7)).await?;
            stats_answer(stand).await?;
        }
        floods.end().await?;
        // Who came in the storm is still there, or told to go; nobody else wants anything.
        rests(stand).await?;
        all_answer(served.iter_mut()).await?;

        drop((storm, served));
        until("there is room again", SOON, async || {
            lands_on(stand.write()).await.map(drop)
        })
        .await?;
        nothing_is_left(stand, rest).await.map(drop)
    })
    .await
}

/// Neither a connection nor a pipe can be had: bulk goes on without one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_that_begins_when_no_descriptor_is_left_arrives_all_the_same() -> Result<()> {
    let _alone = alone().await;
    on(Plan::default(), async |stand| {
        ensure!(lands_on(stand.write()).await? == "pg-1");
        let rest = at_rest(stand).await?;
        hand_over(stand).await?;
        let mut pairs = Vec::new();
        for _ in 0..6 {
            pairs.push(session(stand).await?);
        }
        stand.member("pg-1")?.serve(Postgres::Accepting).await?;
        let mut echoing = Client::login(stand.write()).await?.0;
        // From now on nothing can be opened that is not open now.
        let has = look(stand)?.descriptors;
        limit(stand, has)?;
        let mut waiting = Vec::new();
        for _ in 0..50 {
            waiting.push(Client::ask(stand.write()).await?);
        }
        let began = Instant::now();
        let stop = watch::Sender::new(false);
        let mut floods = Vec::new();
        for (number, (client, server)) in (0..).zip(pairs) {
            let sent = spawn(flood(server, Noise::new(number), stop.subscribe()));
            floods.push((sent, spawn(flows(client, number))));
        }
        while began.elapsed() < WATCHED {
            let trip = timeout(ROUND_TRIP, echoing.echo(b"still here")).await;
            trip.context("a round trip beside floods takes longer than that")??;
        }
        stop.send_replace(true);
        for (sent, came) in floods {
            let sent = timeout(LONG, sent).await???;
            let came = timeout(LONG, came).await???;
            ensure!(sent == came, "{came} bytes of {sent}");
        }
        limit(stand, 1024)?;
        for mut client in waiting {
            client.answer().await?;
        }
        drop(echoing);
        nothing_is_left(stand, rest).await.map(drop)
    })
    .await
}
