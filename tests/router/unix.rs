//! Unix sockets, on both sides: clients that come by one, and members that are reached by one.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use trunkline_support::fake_member::{Postgres, Rest};
use trunkline_support::wait::until;

use crate::client::{Answer, Client, cancel_request, lands_on};
use crate::stand::{BINARY, Plan, SOON, Stand, on};
use crate::systemd::SHIM;

/// The port in the socket's name: libpq finds it by that.
const PORT: u16 = 6000;

/// The directory of the test's sockets.
fn folder(stand: &Stand) -> Result<PathBuf> {
    let folder = stand.state().join("run");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Where the listener `local` is to listen.
fn path(stand: &Stand) -> Result<PathBuf> {
    Ok(folder(stand)?.join(format!(".s.PGSQL.{PORT}")))
}

/// The router's file with a listener `local` for the primary that listens at `path`.
fn with_local(stand: &Stand, path: &Path, more: &str) -> Result<String> {
    let text = fs::read_to_string(stand.router.file())?;
    let local = format!("  local: {{bind: {}, to: primary{more}}}", path.display());
    let (before, after) = text.split_once("  read: ").context("no read listener")?;
    Ok(format!("{before}{local}\n  read: {after}"))
}

/// Has the router read `text`, until its log has `words`.
async fn reload(stand: &mut Stand, text: &str, words: &str) -> Result<()> {
    fs::write(stand.router.file(), text)?;
    stand.router.process().hang_up()?;
    stand.logged(words).await
}

/// Has the router listen on a unix socket; returns its path.
async fn local(stand: &mut Stand, more: &str) -> Result<PathBuf> {
    let path = path(stand)?;
    let text = with_local(stand, &path, more)?;
    reload(stand, &text, "local is new").await?;
    Ok(path)
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::symlink_metadata(path)?.permissions().mode() & 0o777)
}

#[tokio::test]
async fn a_client_of_a_unix_socket_is_served_as_one_of_a_port_is() -> Result<()> {
    on(Plan::default(), async |stand| {
        let path = local(stand, "").await?;
        ensure!(mode(&path)? == 0o777, "its mode is {:o}", mode(&path)?);
        let (mut session, member) = Client::login_at(&path).await?;
        ensure!(member == "pg-1", "{member}");
        session.echo(b"there and back").await?;

        let packet = cancel_request(4);
        let mut canceller = Client::connect_at(&path).await?;
        canceller.say(&packet).await?;
        canceller.ended(SOON).await?;
        ensure!(stand.member("pg-1")?.cancels() == [packet]);
        stand
            .logged(&format!("unix pid={} uid=", std::process::id()))
            .await?;

        stand.cluster.promote("pg-2").await?;
        session.ended(SOON).await?;
        stand.logged("session ended: killed").await?;
        until("the new primary serves", SOON, async || {
            let (_, member) = Client::login_at(&path).await?;
            ensure!(member == "pg-2", "{member}");
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn either_side_of_a_unix_session_may_finish_first_and_the_other_goes_on() -> Result<()> {
    on(Plan::default(), async |stand| {
        let path = local(stand, "").await?;
        let (_, member) = Client::login_at(&path).await?;
        ensure!(member == "pg-1", "{member}");
        stand.member("pg-1")?.serve(Postgres::HandOver).await?;
        let bulk = vec![7; 3 * 1024 * 1024];
        for client_first in [true, false] {
            let (mut client, _) = Client::login_at(&path).await?;
            let mut server = stand.member("pg-1")?.handed_over().await?;
            let (mut heard, mut answer) = (Vec::new(), Vec::new());
            if client_first {
                client.say(b"last words").await?;
                client.0.shutdown().await?;
                timeout(SOON, server.read_to_end(&mut heard)).await??;
                let send = async {
                    server.write_all(&bulk).await?;
                    server.shutdown().await
                };
                let (sent, read) = tokio::join!(send, client.0.read_to_end(&mut answer));
                sent.and(read)?;
            } else {
                server.write_all(b"last words").await?;
                server.shutdown().await?;
                timeout(SOON, client.0.read_to_end(&mut heard)).await??;
                let send = async {
                    client.0.write_all(&bulk).await?;
                    client.0.shutdown().await
                };
                let (sent, read) = tokio::join!(send, server.read_to_end(&mut answer));
                sent.and(read)?;
            }
            ensure!(heard == b"last words", "{} bytes", heard.len());
            ensure!(answer == bulk, "{} bytes after the end", answer.len());
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_of_a_unix_socket_is_told_why_it_is_not_served() -> Result<()> {
    on(Plan::default(), async |stand| {
        let path = local(stand, ", maxconn: 1, hold: off").await?;
        let (session, _) = Client::login_at(&path).await?;
        let refused = Client::ask_at(&path).await?.answer().await?;
        let Answer::Refused { code, message } = refused else {
            anyhow::bail!("{refused:?}");
        };
        ensure!(code == "53300", "{code} {message}");
        ensure!(
            message.contains("too many connections to \"local\""),
            "{message}"
        );
        drop(session);
        stand.member("pg-1")?.say(Rest::Starting).await?;
        until("there is no server", SOON, async || {
            let refused = Client::ask_at(&path).await?.answer().await?;
            let Answer::Refused { code, message } = refused else {
                anyhow::bail!("{refused:?}");
            };
            ensure!(code == "57P03", "{code} {message}");
            ensure!(message.contains("no server for \"local\""), "{message}");
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn psql_connects_by_the_directory_and_the_port_of_the_socket() -> Result<()> {
    on(Plan::default(), async |stand| {
        let path = local(stand, "").await?;
        let directory = path.parent().context("no directory")?.to_owned();
        let mut psql = tokio::process::Command::new("psql");
        psql.args(["-X", "-U", "tester", "-d", "postgres", "-p"])
            .arg(PORT.to_string())
            .args(["-c", "\\conninfo", "-h"])
            .arg(&directory)
            .kill_on_drop(true);
        let outcome = timeout(SOON, psql.output()).await??;
        let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&outcome.stderr);
        ensure!(outcome.status.success(), "{complaint}");
        ensure!(said.contains(&*directory.to_string_lossy()), "{said}");
        ensure!(stand.member("pg-1")?.startups().len() == 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_socket_of_a_router_that_died_is_taken_over_and_its_own_removed_at_the_end()
-> Result<()> {
    on(Plan::default(), async |stand| {
        let path = local(stand, "").await?;
        stand.restart_router().await?;
        let (mut session, member) = Client::login_at(&path).await?;
        ensure!(member == "pg-1", "{member}");
        stand.router.process().ask_to_end()?;
        until("the socket is gone", SOON, async || {
            ensure!(fs::symlink_metadata(&path).is_err(), "it is there");
            Ok(())
        })
        .await?;
        session.echo(b"drained, not cut").await?;
        drop(session);
        let status = stand.router.process().wait(SOON).await?;
        ensure!(status.success(), "{status}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_socket_that_somebody_else_put_in_the_place_of_ours_stays_at_the_end() -> Result<()> {
    on(Plan::default(), async |stand| {
        let path = local(stand, "").await?;
        // Made before ours is gone, or it could be given the very number that ours had.
        let theirs = folder(stand)?.join("theirs");
        let _other = UnixListener::bind(&theirs)?;
        fs::rename(&theirs, &path)?;
        stand.router.process().ask_to_end()?;
        let status = stand.router.process().wait(SOON).await?;
        ensure!(status.success(), "{status}");
        ensure!(path.exists(), "the socket of another process was removed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_socket_that_somebody_answers_on_and_a_file_that_is_none_are_left_alone() -> Result<()> {
    on(Plan::default(), async |stand| {
        let good = fs::read_to_string(stand.router.file())?;
        let path = path(stand)?;
        let live = UnixListener::bind(&path)?;
        let text = with_local(stand, &path, "")?;
        reload(
            stand,
            &text,
            "somebody listens on that socket already; write another path",
        )
        .await?;
        UnixStream::connect(&path).await?;
        drop(live);

        fs::remove_file(&path)?;
        fs::write(&path, "precious")?;
        reload(stand, &text, "something is there that is no socket").await?;
        ensure!(fs::read_to_string(&path)? == "precious");
        fs::remove_file(&path)?;
        std::os::unix::fs::symlink("/dev/null", &path)?;
        fs::write(stand.router.file(), &good)?;
        let outcome = {
            fs::write(folder(stand)?.join("own.yml"), &text)?;
            let mut router = tokio::process::Command::new(BINARY);
            router.arg("--file").arg(folder(stand)?.join("own.yml"));
            timeout(SOON, router.kill_on_drop(true).output()).await??
        };
        let said = String::from_utf8_lossy(&outcome.stderr);
        ensure!(!outcome.status.success(), "it started");
        ensure!(said.contains("that is no socket"), "{said}");
        ensure!(fs::read_link(&path)? == Path::new("/dev/null"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_reload_moves_a_unix_socket_and_leaves_nothing_at_the_old_path() -> Result<()> {
    on(Plan::default(), async |stand| {
        let old = local(stand, "").await?;
        let (mut session, _) = Client::login_at(&old).await?;
        let new = folder(stand)?.join("elsewhere");
        let text = fs::read_to_string(stand.router.file())?;
        let moved = text.replace(&*old.to_string_lossy(), &new.to_string_lossy());
        reload(stand, &moved, "local: bind").await?;
        until("the old socket is gone", SOON, async || {
            ensure!(fs::symlink_metadata(&old).is_err(), "it is there");
            Ok(())
        })
        .await?;
        session.echo(b"still here").await?;
        let (_, member) = Client::login_at(&new).await?;
        ensure!(member == "pg-1", "{member}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_stats_page_is_served_on_a_unix_socket_too() -> Result<()> {
    on(Plan::default(), async |stand| {
        let path = folder(stand)?.join("stats");
        let text = fs::read_to_string(stand.router.file())?;
        let stats = stand.router.ports().stats;
        let one = format!("stats: {{bind: \"{stats}\"");
        let both = format!("stats: {{bind: [\"{stats}\", {}]", path.display());
        reload(stand, &text.replace(&one, &both), "read again: stats").await?;
        let mut page = UnixStream::connect(&path).await?;
        page.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await?;
        let mut answer = String::new();
        timeout(SOON, page.read_to_string(&mut answer)).await??;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_unix_socket_that_the_manager_passed_is_used_and_its_file_stays() -> Result<()> {
    on(Plan::default(), async |stand| {
        let path = path(stand)?;
        let text = with_local(stand, &path, "")?;
        let passed = UnixListener::bind(&path)?;
        let mut command = Command::new("bash");
        command
            .args(["-c", SHIM, BINARY])
            .env("LISTEN_FDS", "2")
            .env("LISTEN_FDNAMES", "one:two");
        let spare = UnixListener::bind(folder(stand)?.join("spare"))?;
        let streams = [
            Stdio::from(OwnedFd::from(passed)),
            Stdio::from(OwnedFd::from(spare)),
        ];
        let stats = stand.router.ports().stats;
        stand
            .restart_router_as(command, streams, &text, stats)
            .await?;
        let (_, member) = Client::login_at(&path).await?;
        ensure!(member == "pg-1", "{member}");
        stand
            .logged("nobody answers on a socket that the service manager opened")
            .await?;
        stand.router.process().ask_to_end()?;
        stand.router.process().wait(SOON).await?;
        let left = fs::symlink_metadata(&path)?;
        ensure!(left.file_type().is_socket(), "it is gone");
        Ok(())
    })
    .await
}

/// Publishes `name` as a member whose PostgreSQL listens on a unix socket only.
async fn publish(stand: &Stand, name: &str, role: &str) -> Result<()> {
    let key = stand.member(name)?.listen_in(&folder(stand)?, role)?;
    stand.cluster.put(&format!("members/{name}"), &key).await
}

#[tokio::test]
async fn a_member_is_reached_by_the_unix_socket_it_publishes() -> Result<()> {
    on(Plan::default(), async |stand| {
        publish(stand, "pg-1", "primary").await?;
        let folder = folder(stand)?;
        until("the write target is a socket", SOON, async || {
            let write = stand.router.listener("write").await?;
            let targets = write["targets"].to_string();
            ensure!(targets.contains(&*folder.to_string_lossy()), "{write}");
            Ok(())
        })
        .await?;
        let member = stand.member("pg-1")?;
        let before = member.through_unix();
        let (mut session, name) = Client::login(stand.write()).await?;
        ensure!(name == "pg-1", "{name}");
        session.echo(b"by way of a file").await?;
        ensure!(member.through_unix() > before, "it came by TCP");
        // A cancel request takes the same way.
        let mut canceller = Client::connect(stand.write()).await?;
        canceller.say(&cancel_request(4)).await?;
        canceller.ended(SOON).await?;
        ensure!(member.cancels().len() == 1);

        stand.cluster.promote("pg-2").await?;
        session.ended(SOON).await?;
        until("the new primary serves", SOON, async || {
            ensure!(lands_on(stand.write()).await? == "pg-2");
            Ok(())
        })
        .await
    })
    .await
}

/// A path is good on one machine: there may be another server of the cluster at the same one here.
#[tokio::test]
async fn a_members_unix_socket_is_not_looked_for_where_the_member_is_not() -> Result<()> {
    on(Plan::default(), async |stand| {
        let member = stand.member("pg-1")?;
        let key = member.listen_in(&folder(stand)?, "primary")?;
        let elsewhere = key.replace(&member.rest().ip().to_string(), "203.0.113.7");
        stand.cluster.put("members/pg-1", &elsewhere).await?;
        let folder = folder(stand)?;
        until("the member has no address", SOON, async || {
            let stats = stand.router.stats().await?;
            let shown = stats.to_string();
            ensure!(!shown.contains(&*folder.to_string_lossy()), "{shown}");
            let write = stand.router.listener("write").await?;
            let targets = write["targets"].as_array().context("no targets")?;
            ensure!(targets.is_empty(), "{write}");
            Ok(())
        })
        .await?;
        stand.logged("is_ours=false").await?;
        let mut held = Client::ask(stand.write()).await?;
        ensure!(held.waits(Duration::from_secs(1)).await, "it was answered");
        ensure!(stand.member("pg-1")?.through_unix() == 0);
        Ok(())
    })
    .await
}
