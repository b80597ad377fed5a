//! R7: no session hangs on a peer whose machine is gone, be it the client's or the server's, idle or with bytes that
//! nobody acknowledges.
//!
//! The machines are network namespaces on a wire of the test's own; one that is cut off answers nothing any more, not
//! even by its kernel.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use trunkline_support::netns::{HUB, Wire};
use trunkline_support::network::Network;
use trunkline_support::wait::until;

use crate::client::{Client, lands_on};
use crate::flow::{Noise, hand_over};
use crate::stand::{Plan, SOON, Stand, on};

/// The machine of the client or the server that is going to vanish.
const AWAY: u8 = 1;
/// How long the router may take to end a session that a dead peer holds, where keepalive is as in [`QUICK`].
const HORIZON: Duration = Duration::from_secs(3);
const QUICK: &str = "hold: 30s, keepalive: {idle: 1s, interval: 1s, probes: 2}";
/// What a busy machine may add to it.
const LATE: Duration = Duration::from_secs(5);

/// Runs `test` with a router on a wire, which listens on the wire too.
fn on_a_wire(
    write: &'static str,
    test: impl AsyncFnOnce(&mut Stand, &Wire, SocketAddr) -> Result<()> + Send,
) -> Result<()> {
    let wire = Wire::lay()?;
    // The shared etcd is of another network.
    let plan = Plan {
        own_etcd: true,
        write,
        ..Plan::default()
    };
    wire.run(|| {
        on(plan, async |stand| {
            let door = SocketAddr::from((wire.host(HUB), stand.write().port()));
            let had = format!("bind: \"{}\", to: primary", stand.write());
            let both = format!("bind: [\"{}\", \"{door}\"], to: primary", stand.write());
            let file = stand.router.file().to_owned();
            let config = std::fs::read_to_string(&file)?;
            ensure!(config.contains(&had), "{config}");
            std::fs::write(&file, config.replace(&had, &both))?;
            stand.restart_router().await?;
            ensure!(lands_on(stand.write()).await? == "pg-1");
            test(stand, &wire, door).await
        })
    })
}

fn asynchronous(stream: TcpStream) -> Result<tokio::net::TcpStream> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    Ok(tokio::net::TcpStream::from_std(stream)?)
}

/// A logged-in session of a client on another machine: its side and the server's.
async fn from_afar(
    stand: &Stand,
    wire: &Wire,
    door: SocketAddr,
) -> Result<(Client, tokio::net::TcpStream)> {
    let stream = wire.on_host(AWAY, || Ok(TcpStream::connect(door)?))?;
    let mut client = Client(asynchronous(stream)?);
    client.say(&crate::client::startup()).await?;
    let server = stand.member("pg-1")?.handed_over().await?;
    client.answer().await?;
    Ok((client, server))
}

#[test]
fn an_idle_client_whose_machine_vanished_is_found_by_keepalive() -> Result<()> {
    on_a_wire(QUICK, async |stand, wire, door| {
        hand_over(stand).await?;
        let (_client, mut server) = from_afar(stand, wire, door).await?;
        let mut near = Client::login(stand.write()).await?.0;
        let mut near_server = stand.member("pg-1")?.handed_over().await?;
        let began = Instant::now();
        let _cut = wire.silence(wire.host(AWAY).into())?;
        // An end in order or a reset: the server has its backend again.
        let ended = timeout(HORIZON + LATE, server.read(&mut [0])).await;
        let heard = ended.context("the session of a client that is gone lives on")?;
        ensure!(!matches!(heard, Ok(1..)), "bytes from nowhere");
        let took = began.elapsed();
        ensure!(took >= HORIZON - Duration::from_secs(1), "after {took:?}");
        stand
            .logged("session ended: the client's connection broke")
            .await?;
        // A client that is silent and alive is no dead one.
        near.say(b"!").await?;
        ensure!(near_server.read_u8().await? == b'!');
        Ok(())
    })
}

#[test]
fn an_idle_server_whose_machine_vanished_is_found_by_keepalive() -> Result<()> {
    on_a_wire(QUICK, async |stand, wire, _door| {
        let away = SocketAddr::from((wire.host(AWAY), 5432));
        let listener = wire.on_host(AWAY, || Ok(TcpListener::bind(away)?))?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        // Its REST API is on a machine that lives: nothing but the session's own sockets tells.
        let leader = stand.member("pg-1")?;
        let key = leader.key("primary");
        let key = key.replace(&leader.address().to_string(), &away.to_string());
        stand.cluster.put("members/pg-1", &key).await?;
        until("the machine is the target", SOON, async || {
            let targets = stand.router.targets("write").await?;
            let target = targets.get("pg-1").context("there is none")?;
            ensure!(*target == away.to_string(), "it is {target}");
            Ok(())
        })
        .await?;
        let mut client = Client::ask(stand.write()).await?;
        let (mut server, _) = timeout(SOON, listener.accept()).await??;
        let mut packet = vec![0; crate::client::startup().len()];
        server.read_exact(&mut packet).await?;
        server.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await?;
        client.answer().await?;
        let _cut = wire.silence(away.ip())?;
        client.ended(HORIZON + LATE).await
    })
}

#[test]
fn a_client_that_vanished_with_bytes_on_the_way_is_found_by_the_user_timeout() -> Result<()> {
    const WRITE: &str = "hold: 30s, user_timeout: 3s";
    on_a_wire(WRITE, async |stand, wire, door| {
        hand_over(stand).await?;
        let (mut client, mut server) = from_afar(stand, wire, door).await?;
        let mut noise = Noise::new(1);
        server.write_all(noise.next(1000)).await?;
        client.hear(1000).await?;
        let began = Instant::now();
        let _cut = wire.silence(wire.host(AWAY).into())?;
        // Until the router takes no more of it, and then until it hangs up.
        let writing = async { while server.write_all(noise.next(256 * 1024)).await.is_ok() {} };
        let ended = timeout(Duration::from_secs(3) + LATE, writing).await;
        ended.context("a flow to a client that is gone goes on")?;
        let took = began.elapsed();
        ensure!(took >= Duration::from_secs(2), "after {took:?}");
        stand
            .logged("session ended: the client's connection broke")
            .await
    })
}
