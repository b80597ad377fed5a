//! Bytes are told while they move: by listener and by member, in the document and in the metrics, and never fewer
//! than before.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trunkline_support::http;
use trunkline_support::wait::until;

use crate::bytes::session;
use crate::client::{Client, lands_on, startup};
use crate::reload::files::{file, reload};
use crate::routing::both_replicas_serve;
use crate::stand::{Plan, SOON, Stand, on};

const MIB: usize = 1024 * 1024;

/// From clients, from servers.
type Moved = (u64, u64);

/// What is told of a listener, a member's place there, the member, and what the metrics have of the place.
async fn told(stats: SocketAddr, listener: &str, member: &str) -> Result<[Moved; 4]> {
    let document = http::get_json(stats, "/stats.json").await?;
    let cluster = &document["clusters"][0];
    let named = |list: &Value, key: &str, name: &str| {
        let found = list.as_array()?.iter().find(|it| it[key] == name);
        found.cloned()
    };
    let of_listener = named(&cluster["listeners"], "name", listener).context("no listener")?;
    let of_place = named(&of_listener["members"], "member", member).context("no place")?;
    let of_member = named(&cluster["members"], "name", member).context("no member")?;
    let metrics = series(stats).await?;
    let in_metrics = |direction: &str| {
        let end =
            format!("member=\"{member}\",listener=\"{listener}\",direction=\"{direction}\"}}");
        let mut lines = metrics.iter();
        let found = lines.find(|(name, _)| name.ends_with(&end));
        Ok::<_, anyhow::Error>(*found.context("no such metric")?.1)
    };
    Ok([
        bytes(&of_listener)?,
        bytes(&of_place)?,
        bytes(&of_member)?,
        (in_metrics("from_clients")?, in_metrics("from_servers")?),
    ])
}

fn bytes(of: &Value) -> Result<Moved> {
    let number = |key: &str| {
        of[key]
            .as_u64()
            .with_context(|| format!("no {key} in {of}"))
    };
    Ok((number("bytes_from_clients")?, number("bytes_from_servers")?))
}

/// The series of `trunkline_bytes_total`.
async fn series(stats: SocketAddr) -> Result<BTreeMap<String, u64>> {
    let text = http::get(stats, "/metrics").await?.body;
    let lines = text.lines();
    let ours = lines.filter(|line| line.starts_with("trunkline_bytes_total{"));
    ours.map(|line| {
        let (name, value) = line.rsplit_once(' ').context("no value")?;
        Ok((name.to_owned(), value.parse()?))
    })
    .collect()
}

/// Waits until all four agree that so much was moved.
async fn tells(stand: &Stand, listener: &str, member: &str, moved: Moved) -> Result<()> {
    let stats = stand.router.ports().stats;
    until(&format!("{moved:?} bytes are told"), SOON, async || {
        let told = told(stats, listener, member).await?;
        ensure!(told == [moved; 4], "told are {told:?}");
        Ok(())
    })
    .await
}

/// What a login moves, asked of the member itself.
async fn login(member: SocketAddr) -> Result<Moved> {
    let mut stream = TcpStream::connect(member).await?;
    stream.write_all(&startup()).await?;
    let mut heard = Vec::new();
    while !heard.ends_with(b"Z\0\0\0\x05I") {
        let more = timeout(SOON, stream.read_buf(&mut heard)).await??;
        ensure!(more > 0, "the login ended: {heard:?}");
    }
    Ok((startup().len() as u64, heard.len() as u64))
}

/// Sends `count` bytes and has them arrive.
async fn bulk(from: &mut TcpStream, to: &mut TcpStream, count: usize) -> Result<()> {
    let (sent, mut heard) = (vec![7; count], vec![0; count]);
    let both = async { tokio::try_join!(from.write_all(&sent), to.read_exact(&mut heard)) };
    timeout(SOON, both).await??;
    Ok(())
}

#[tokio::test]
async fn megabytes_are_told_while_their_session_runs_and_are_the_same_when_it_has_ended()
-> Result<()> {
    on(Plan::default(), async |stand| {
        let (up, down) = login(stand.member("pg-1")?.address()).await?;
        let (mut client, mut server) = session(stand).await?;
        // One session came before it, to see that the port leads somewhere.
        tells(stand, "write", "pg-1", (2 * up, 2 * down)).await?;
        bulk(&mut client, &mut server, 8 * MIB).await?;
        bulk(&mut server, &mut client, 5 * MIB + 1).await?;
        let (mut from_client, from_server) = ((8 * MIB) as u64, (5 * MIB + 1) as u64);
        let sum = |from_client| (2 * up + from_client, 2 * down + from_server);
        tells(stand, "write", "pg-1", sum(from_client)).await?;
        bulk(&mut client, &mut server, MIB).await?;
        from_client += MIB as u64;
        tells(stand, "write", "pg-1", sum(from_client)).await?;
        let write = stand.router.listener("write").await?;
        ensure!(write["sessions"] == 1, "it has ended: {write}");
        ensure!(bytes(&stand.router.listener("read").await?)? == (0, 0));

        drop((client, server));
        let stats = stand.router.ports().stats;
        let mut wrong = None;
        until("the session has ended", SOON, async || {
            let told = told(stats, "write", "pg-1").await?;
            if told != [sum(from_client); 4] {
                wrong = Some(told);
            }
            let write = stand.router.listener("write").await?;
            ensure!(write["clients"] == 0, "it has not");
            Ok(())
        })
        .await?;
        ensure!(wrong.is_none(), "meanwhile {wrong:?} was told");
        tells(stand, "write", "pg-1", sum(from_client)).await?;
        let (all_up, all_down) = (up + from_client, down + from_server);
        let line = format!("from_client={all_up} from_server={all_down}");
        stand.logged(&line).await
    })
    .await
}

/// Looks as often as it can until it is told to stop; fails if anything went back. Returns how often it looked.
async fn watch(stats: SocketAddr, stop: &AtomicBool) -> Result<u64> {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut looks = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut now = series(stats).await?;
        let document = http::get_json(stats, "/stats.json").await?;
        let cluster = &document["clusters"][0];
        for (kind, list) in [("listener", "listeners"), ("member", "members")] {
            for one in cluster[list].as_array().context("no list")? {
                let ((up, down), name) = (bytes(one)?, &one["name"]);
                now.insert(format!("{kind} {name} up"), up);
                now.insert(format!("{kind} {name} down"), down);
            }
        }
        for (what, count) in now {
            let before = seen.insert(what.clone(), count).unwrap_or(0);
            ensure!(count >= before, "{what} went back from {before} to {count}");
        }
        looks += 1;
    }
    Ok(looks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_count_goes_back_while_sessions_end_listeners_come_and_go_and_the_lock_moves()
-> Result<()> {
    on(Plan::default(), async |stand| {
        both_replicas_serve(stand).await?;
        let (stats, stop) = (stand.router.ports().stats, &AtomicBool::new(false));
        let watching = watch(stats, stop);
        let moving = async {
            let outcome = Box::pin(move_about(stand)).await;
            stop.store(true, Ordering::Relaxed);
            outcome
        };
        let (looks, moved) = tokio::join!(watching, moving);
        moved?;
        ensure!(looks? > 10, "nobody looked");
        Ok(())
    })
    .await
}

async fn move_about(stand: &mut Stand) -> Result<()> {
    let (up, down) = login(stand.member("pg-1")?.address()).await?;
    let before = bytes(&stand.router.listener("read").await?)?;
    let mut stays = Client::login(stand.read()).await?.0;
    for _ in 0..100 {
        lands_on(stand.read()).await?;
        lands_on(stand.write()).await?;
    }
    let all = |more| (before.0 + 101 * up + more, before.1 + 101 * down + more);
    listener_tells(stand, "read", all(0)).await?;

    // The listener is taken out; its last session goes on, and its end takes the listener away.
    let text = file(stand)?;
    let line = text.lines().find(|line| line.contains(" read:"));
    let without = text.replace(&format!("{}\n", line.context("no read")?), "");
    reload(stand, &without).await?;
    stays.echo(&[1; 1000]).await?;
    listener_tells(stand, "read", all(1000)).await?;
    drop(stays);
    until("the listener is gone", SOON, async || {
        ensure!(stand.router.listener("read").await.is_err(), "it is not");
        Ok(())
    })
    .await?;
    reload(stand, &text).await?;
    listener_tells(stand, "read", all(1000)).await?;

    // Sessions are killed, their bytes stay with the member they were on.
    let mut killed = Client::login(stand.write()).await?.0;
    killed.echo(&[1; 1000]).await?;
    stand.cluster.promote("pg-2").await?;
    killed.ended(SOON).await?;
    ensure!(lands_on(stand.write()).await? == "pg-2");
    listener_tells(stand, "write", (102 * up + 1000, 102 * down + 1000)).await?;
    let [_, of_place, ..] = told(stand.router.ports().stats, "write", "pg-1").await?;
    ensure!(
        of_place == (101 * up + 1000, 101 * down + 1000),
        "{of_place:?}"
    );
    let [_, of_place, ..] = told(stand.router.ports().stats, "write", "pg-2").await?;
    ensure!(of_place == (up, down), "on the new primary {of_place:?}");
    Ok(())
}

async fn listener_tells(stand: &Stand, listener: &str, moved: Moved) -> Result<()> {
    until(&format!("{listener} tells {moved:?}"), SOON, async || {
        let told = bytes(&stand.router.listener(listener).await?)?;
        ensure!(told == moved, "told are {told:?}");
        Ok(())
    })
    .await
}
