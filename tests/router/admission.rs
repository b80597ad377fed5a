//! How many clients the router takes, what it tells the others, and that it outlives having no descriptors left.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::net::TcpStream;
use tokio::time::Instant;
use trunkline_core::admission::Budget;
use trunkline_support::fake_member::Postgres;
use trunkline_support::http;
use trunkline_support::sockets::{Care, care};
use trunkline_support::vitals::Vitals;
use trunkline_support::wait::until;

use crate::client::{Answer, Client, cancel_request, lands_on, startup};
use crate::stand::{BINARY, Plan, SOON, Stand, on};

fn with_256_descriptors() -> Plan {
    Plan {
        shell: "ulimit -n 256",
        other: "drain: 30s\nthreads: 2",
        ..Plan::default()
    }
}

/// How many sessions those are.
fn sessions_of_256_descriptors() -> usize {
    Budget::of(256, 2).sessions as usize
}

fn is_too_many(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused { code, message }
        if code == "53300" && message.contains("too many connections"))
}

/// The processor time the router has used.
fn processor_time(stand: &mut Stand) -> Result<Duration> {
    Ok(Vitals::of(stand.router.process().pid())?.processor)
}

fn limit(stand: &mut Stand, soft: usize) -> Result<()> {
    let pid = stand.router.process().pid().to_string();
    let done = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--nofile={soft}:")])
        .status()?;
    ensure!(done.success(), "prlimit failed");
    Ok(())
}

async fn metrics_answer(stats: SocketAddr) -> Result<()> {
    let answer = http::get(stats, "/metrics").await?;
    ensure!(answer.status == 200, "/metrics says {}", answer.status);
    Ok(())
}

#[tokio::test]
async fn clients_beyond_the_descriptors_are_told_and_the_others_go_on() -> Result<()> {
    on(with_256_descriptors(), async |stand| {
        let mut served = vec![Client::login(stand.write()).await?.0];
        while served.len() < sessions_of_256_descriptors() {
            served.push(Client::login(stand.write()).await?.0);
        }
        // On whichever listener: the descriptors are the process's.
        for listener in [stand.write(), stand.read(), stand.sync()] {
            let answer = Client::ask(listener).await?.answer().await?;
            ensure!(is_too_many(&answer), "{answer:?}");
        }

        let before = processor_time(stand)?;
        let mut storm = Vec::new();
        for _ in 0..1000 {
            // They say nothing, so that each takes as long as it may.
            storm.push(TcpStream::connect(stand.write()).await?);
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(2) {
            metrics_answer(stand.router.ports().stats).await?;
            for client in served.iter_mut().step_by(13) {
                client.echo(b"still here").await?;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let used = processor_time(stand)?.saturating_sub(before);
        ensure!(
            used < Duration::from_millis(1500),
            "{used:?} of processor time"
        );

        drop((storm, served));
        until("there is room again", SOON, async || {
            lands_on(stand.write()).await.map(drop)
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_router_without_descriptors_waits_shows_itself_and_recovers() -> Result<()> {
    on(Plan::default(), async |stand| {
        let mut session = Client::login(stand.write()).await?.0;
        let folder = format!("/proc/{}/fd", stand.router.process().pid());
        // From now on nothing can be opened that is not open now.
        limit(stand, std::fs::read_dir(folder)?.count())?;
        let mut waiting = Vec::new();
        for _ in 0..50 {
            waiting.push(Client::ask(stand.write()).await?);
        }
        stand.logged("no new connection can be accepted").await?;

        let before = processor_time(stand)?;
        let began = Instant::now();
        let mut answered = 0;
        while began.elapsed() < Duration::from_secs(5) {
            // A dead member is told by three seconds of silence; a router that cannot ask knows of none.
            session.echo(b"still here").await?;
            // What is kept for the stats port is for a few, not for whoever asks all the time.
            if answered < 3 {
                metrics_answer(stand.router.ports().stats).await?;
                answered += 1;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let used = processor_time(stand)?.saturating_sub(before);
        ensure!(
            used < Duration::from_millis(1500),
            "{used:?} of processor time"
        );
        let log = stand.router.process().log()?;
        let told = log.matches("no new connection can be accepted").count();
        ensure!(told == 1, "it is told {told} times in five seconds");

        limit(stand, 1024)?;
        for client in &mut waiting {
            let answer = client.answer().await?;
            ensure!(answer == Answer::Served("pg-1".into()), "{answer:?}");
        }
        session.echo(b"still here").await?;
        until("the log says that it is over", SOON, async || {
            lands_on(stand.write()).await?;
            let log = stand.router.process().log()?;
            ensure!(log.contains("connections are accepted again"), "not yet");
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_maxconn_that_cannot_be_reached_is_refused_at_the_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("router.yml");
    std::fs::write(
        &file,
        "cluster: {scope: demo, etcd3: {hosts: 127.0.0.1:1}}\n\
         listeners: {write: {bind: '127.0.0.1:1', maxconn: 5000}}\n",
    )?;
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 1024; exec \"$0\" -f \"$1\"", BINARY])
        .arg(Path::new(&file))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "it started");
    for word in [
        "listeners.write.maxconn: 5000 does not fit",
        "1024",
        "376",
        "LimitNOFILE",
    ] {
        ensure!(said.contains(word), "{word:?} is not in {said:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cancel_request_passes_where_no_session_does() -> Result<()> {
    let plan = Plan {
        write: "hold: 30s, maxconn: 1",
        ..Plan::default()
    };
    on(plan, async |stand| {
        let mut session = Client::login(stand.write()).await?.0;
        let answer = Client::ask(stand.write()).await?.answer().await?;
        ensure!(is_too_many(&answer), "{answer:?}");
        let mut cancel = Client::connect(stand.write()).await?;
        cancel.say(&cancel_request(4)).await?;
        cancel.ended(SOON).await?;
        let heard = stand.member("pg-1")?.cancels();
        ensure!(heard == [cancel_request(4)], "{heard:?}");
        session.echo(b"still here").await
    })
    .await
}

#[tokio::test]
async fn both_legs_of_a_session_are_watched_for_a_dead_peer() -> Result<()> {
    let plan = Plan {
        read: "hold: 30s, user_timeout: 60s, keepalive: {idle: 20s, interval: 5s, probes: 4}",
        ..Plan::default()
    };
    on(plan, async |stand| {
        let (_writer, leader) = Client::login(stand.write()).await?;
        let (_reader, replica) = Client::login(stand.read()).await?;
        let watched = |idle, interval, probes, user_timeout| Care {
            keepalive: Some((
                Duration::from_secs(idle),
                Duration::from_secs(interval),
                probes,
            )),
            user_timeout,
            nodelay: true,
        };
        let pid = stand.router.process().pid();
        for (door, member, expected) in [
            (stand.write(), leader, watched(10, 3, 3, 0)),
            (stand.read(), replica, watched(20, 5, 4, 60_000)),
        ] {
            let found = care(pid, door, stand.member(&member)?.address())?;
            ensure!(found == [expected.clone(), expected], "{found:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_login_that_a_frozen_replica_took_goes_to_another() -> Result<()> {
    on(Plan::default(), async |stand| {
        stand.router.wait_ready(&["read"], SOON).await?;
        until("both replicas serve", SOON, async || {
            let read = stand.router.listener("read").await?;
            let targets = read["targets"].as_array().map_or(0, Vec::len);
            ensure!(targets == 2, "{targets}: {read}");
            Ok(())
        })
        .await?;
        stand.member("pg-2")?.serve(Postgres::Frozen).await?;
        for _ in 0..4 {
            let began = Instant::now();
            let member = lands_on(stand.read()).await?;
            ensure!(member == "pg-3", "landed on {member}");
            ensure!(began.elapsed() < SOON, "after {:?}", began.elapsed());
        }
        ensure!(
            stand.member("pg-2")?.connections() > 0,
            "the frozen one was never tried"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_login_that_takes_long_is_left_where_it_is() -> Result<()> {
    on(Plan::default(), async |stand| {
        ensure!(lands_on(stand.write()).await? == "pg-1");
        stand.member("pg-1")?.serve(Postgres::Hesitant).await?;
        ensure!(lands_on(stand.write()).await? == "pg-1");
        let logins = stand.member("pg-1")?.startups().len();
        ensure!(logins == 2, "{logins} logins for two clients");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_that_has_said_all_it_will_ever_say_is_answered() -> Result<()> {
    use tokio::io::AsyncWriteExt;
    on(Plan::default(), async |stand| {
        ensure!(lands_on(stand.write()).await? == "pg-1");
        // In the second round the end is there before the router has begun to look for a server.
        for (mode, early) in [(Postgres::Hesitant, false), (Postgres::Accepting, true)] {
            stand.member("pg-1")?.serve(mode).await?;
            if early {
                stand.router.process().freeze()?;
            }
            let mut client = Client::connect(stand.write()).await?;
            client.say(&startup()).await?;
            client.0.shutdown().await?;
            stand.router.process().thaw()?;
            let answer = client.answer().await?;
            ensure!(
                answer == Answer::Served("pg-1".into()),
                "{mode:?}: {answer:?}"
            );
            client.ended(SOON).await?;
        }
        Ok(())
    })
    .await
}
