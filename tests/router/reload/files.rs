//! The router's file: changed, read again, and what became of it.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::net::{TcpListener, TcpStream};
use trunkline_support::background::spawn;
use trunkline_support::http;
use trunkline_support::wait::until;

use crate::stand::{SOON, Stand};

/// The router's file, to be changed and put back.
pub(crate) fn file(stand: &Stand) -> Result<String> {
    std::fs::read_to_string(stand.router.file()).context("reading the router's file")
}

/// Replaces `old` by `new` in the file and has it read; returns once that is done, applied or refused.
pub(crate) async fn change(stand: &mut Stand, old: &str, new: &str) -> Result<()> {
    let text = file(stand)?;
    ensure!(text.contains(old), "the file has no {old:?}:\n{text}");
    reload(stand, &text.replace(old, new)).await
}

/// Has the router read `text`; returns once it has applied or refused it.
pub(crate) async fn reload(stand: &mut Stand, text: &str) -> Result<()> {
    let stats = stats_port(stand)?;
    let before = reads(stats).await?;
    std::fs::write(stand.router.file(), text)?;
    stand.router.process().hang_up()?;
    // It may have moved the very port that is asked.
    let asked = if text.contains(&format!("stats: {{bind: \"{stats}\"")) {
        stats
    } else {
        stats_in(text)?
    };
    until("the file has been read", SOON, async || {
        ensure!(reads(asked).await? > before, "it has not");
        Ok(())
    })
    .await
}

pub(super) fn stats_port(stand: &Stand) -> Result<SocketAddr> {
    stats_in(&file(stand)?)
}

pub(super) fn stats_in(text: &str) -> Result<SocketAddr> {
    let (_, rest) = text.split_once("stats: {bind: \"").context("no stats")?;
    let (address, _) = rest.split_once('"').context("no stats address")?;
    Ok(address.parse()?)
}

pub(super) async fn reads(stats: SocketAddr) -> Result<u64> {
    let stats = http::get_json(stats, "/stats.json").await?;
    let configuration = &stats["configuration"];
    let count = |key: &str| configuration[key].as_u64().context("no count");
    Ok(count("reloads")? + count("refusals")?)
}

pub(super) async fn refused_because(stand: &Stand) -> Result<Option<String>> {
    let stats = stand.router.stats().await?;
    let because = &stats["configuration"]["refused_because"];
    Ok(because.as_str().map(str::to_owned))
}

/// An address for one more port, of this test's network.
pub(super) fn spare(stand: &Stand, port: u16) -> SocketAddr {
    SocketAddr::new(stand.write().ip(), port)
}

/// Another address of the same server.
pub(super) async fn detour(to: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            spawn(async move {
                if let Ok(mut far) = TcpStream::connect(to).await {
                    // Either side may hang up in any way: the router's log tells of what it makes of that.
                    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                }
            });
        }
    });
    Ok(address)
}

pub(super) async fn nobody_listens(at: SocketAddr) -> Result<()> {
    until(&format!("nobody listens on {at}"), SOON, async || {
        ensure!(TcpStream::connect(at).await.is_err(), "somebody does");
        Ok(())
    })
    .await
}

/// Files that cannot be used, made of a good one, with what is said of each.
pub(super) fn unusable(
    good: &str,
    read: SocketAddr,
    taken: SocketAddr,
) -> Vec<(&'static str, String, &'static str)> {
    let with = |old: &str, new: &str| good.replace(old, new);
    vec![
        ("syntax", format!("{good}\n  - what\n"), "router.yml:"),
        (
            "key",
            with("to: primary", "to: everybody"),
            "router.yml:5: listeners.write.to",
        ),
        (
            "port",
            with(&read.to_string(), &taken.to_string()),
            "router.yml:6: listeners.read.bind: cannot listen on",
        ),
        (
            "source",
            with("to: primary", "to: primary, source: 192.0.2.1"),
            "router.yml:5: listeners.write.source: cannot connect from 192.0.2.1",
        ),
        (
            "namespace",
            with("cluster:\n", "cluster:\n  namespace: /other\n"),
            "router.yml:2: cluster.namespace: names another",
        ),
        (
            "state",
            with("state: ", "state: /tmp"),
            "state: cannot be changed while the router runs",
        ),
        (
            "certificate",
            with(
                "etcd3: {",
                "etcd3: {protocol: https, cacert: /nowhere.crt, ",
            ),
            "/nowhere.crt",
        ),
    ]
}
