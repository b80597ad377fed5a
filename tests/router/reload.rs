//! SIGHUP: another configuration takes the place of the one in force, whole or not at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use trunkline_support::background::spawn;
use trunkline_support::http;
use trunkline_support::wait::{throughout, until};

pub(crate) mod files;

use files::{change, detour, file, nobody_listens, refused_because, reload, spare, unusable};

use crate::bytes::session;
use crate::client::{Answer, Client, lands_on};
use crate::stand::{Plan, SOON, Stand, on};

#[tokio::test]
async fn a_new_listener_serves_and_one_that_is_gone_refuses_while_its_sessions_go_on() -> Result<()>
{
    on(Plan::default(), async |stand| {
        let (mut stays, _) = Client::login(stand.write()).await?;
        let (mut leaves, member) = Client::login(stand.read()).await?;
        let (old, new) = (stand.read(), spare(stand, 5055));
        let text = file(stand)?;
        let line = text.lines().find(|line| line.contains(" read:"));
        let line = line.context("no read listener")?;
        let another = format!("  report: {{bind: \"{new}\", to: any, hold: 30s}}");
        change(stand, line, &another).await?;

        ensure!(refused_because(stand).await?.is_none());
        lands_on(new).await?;
        nobody_listens(old).await?;
        stays.echo(b"I stay").await?;
        leaves.echo(b"I go on").await?;
        let read = stand.router.listener("read").await?;
        ensure!(read["leaving"] == true && read["clients"] == 1, "{read}");
        let ready = http::get(stand.router.ports().stats, "/ready/read").await?;
        ensure!(ready.status == 503, "{}", ready.body);
        stand.logged("/report is new").await?;

        // Routing still says who may go on: the member becomes the primary, and readers have no place there.
        stand.cluster.promote(&member).await?;
        leaves.ended(SOON).await?;
        until("the listener is gone", SOON, async || {
            ensure!(stand.router.listener("read").await.is_err(), "it is not");
            Ok(())
        })
        .await?;
        ensure!(lands_on(stand.write()).await? == member);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_listener_that_comes_back_takes_its_sessions_and_counters_back() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (mut session, _) = Client::login(stand.read()).await?;
        let text = file(stand)?;
        let line = text.lines().find(|line| line.contains(" read:"));
        let without = text.replace(&format!("{}\n", line.context("no read")?), "");
        reload(stand, &without).await?;
        nobody_listens(stand.read()).await?;
        reload(stand, &text).await?;
        session.echo(b"there and back").await?;
        lands_on(stand.read()).await?;
        let read = stand.router.listener("read").await?;
        ensure!(read["leaving"] == false, "{read}");
        // Whoever was refused in between may have been let in before the port closed.
        ensure!(read["counters"]["accepted"].as_u64() >= Some(2), "{read}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_listener_that_moves_keeps_its_sessions_and_serves_at_the_new_port_alone() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (mut session, _) = Client::login(stand.write()).await?;
        let (old, new) = (stand.write(), spare(stand, 5056));
        change(stand, &old.to_string(), &new.to_string()).await?;
        ensure!(lands_on(new).await? == "pg-1");
        nobody_listens(old).await?;
        session.echo(b"moved").await?;
        let write = stand.router.listener("write").await?;
        ensure!(write["bind"][0] == new.to_string(), "{write}");
        ensure!(write["counters"]["accepted"].as_u64() >= Some(2), "{write}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_is_connected_when_a_port_closes_is_let_in() -> Result<()> {
    on(Plan::default(), async |stand| {
        ensure!(lands_on(stand.write()).await? == "pg-1");
        let (old, new) = (stand.write(), spare(stand, 5061));
        let text = file(stand)?.replace(&old.to_string(), &new.to_string());
        std::fs::write(stand.router.file(), text)?;
        // The clients and the signal wait for a router that does not run, and are there at once when it does.
        stand.router.process().freeze()?;
        let mut clients = Vec::new();
        for _ in 0..200 {
            clients.push(Client::ask(old).await?);
        }
        stand.router.process().hang_up()?;
        stand.router.process().thaw()?;
        for client in &mut clients {
            let answer = client.answer().await?;
            ensure!(answer == Answer::Served("pg-1".to_owned()), "{answer:?}");
        }
        nobody_listens(old).await
    })
    .await
}

#[tokio::test]
async fn two_listeners_that_change_ports_change_who_is_behind_them() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (write, read) = (stand.write().to_string(), stand.read().to_string());
        let (mut session, _) = Client::login(stand.write()).await?;
        let text = file(stand)?;
        let text = text.replace(&write, "{write}").replace(&read, &write);
        reload(stand, &text.replace("{write}", &read)).await?;
        ensure!(refused_because(stand).await?.is_none());
        ensure!(lands_on(stand.read()).await? == "pg-1");
        ensure!(lands_on(stand.write()).await? != "pg-1");
        session.echo(b"still with the primary").await
    })
    .await
}

#[tokio::test]
async fn sessions_of_a_listener_with_another_purpose_follow_its_new_rules() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (mut writer, _) = Client::login(stand.write()).await?;
        change(stand, "to: primary", "to: replicas").await?;
        // What was promised to writers is not what this port is for any more: no reader belongs on the primary.
        writer.ended(SOON).await?;
        ensure!(lands_on(stand.write()).await? != "pg-1");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn limits_count_from_the_next_client_on() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (mut one, _) = Client::login(stand.write()).await?;
        let (mut two, _) = Client::login(stand.write()).await?;
        change(stand, "to: primary,", "to: primary, maxconn: 1,").await?;
        let answer = Client::ask(stand.write()).await?.answer().await?;
        let full = matches!(&answer, Answer::Refused { code, .. } if code == "53300");
        ensure!(full, "{answer:?}");
        one.echo(b"one").await?;
        two.echo(b"two").await?;
        change(stand, "maxconn: 1", "maxconn: 9").await?;
        lands_on(stand.write()).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn clients_that_are_held_are_held_on_and_served() -> Result<()> {
    let plan = Plan {
        leader: None,
        ..Plan::default()
    };
    on(plan, async |stand| {
        let mut held = Client::ask(stand.write()).await?;
        until("it is held", SOON, async || {
            let write = stand.router.listener("write").await?;
            ensure!(write["held"] == 1, "{write}");
            Ok(())
        })
        .await?;
        let moved = spare(stand, 5057);
        let old = stand.write().to_string();
        change(stand, &old, &moved.to_string()).await?;
        ensure!(
            held.waits(Duration::from_millis(300)).await,
            "it was let go"
        );
        stand.cluster.promote("pg-2").await?;
        let answer = held.answer().await?;
        ensure!(answer == Answer::Served("pg-2".to_owned()), "{answer:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_whole_and_told_of_everywhere() -> Result<()> {
    on(Plan::default(), async |stand| {
        let good = file(stand)?;
        let owner = std::net::TcpListener::bind((stand.write().ip(), 0))?;
        let (mut session, _) = Client::login(stand.write()).await?;
        let new = spare(stand, 5058);
        let files = unusable(&good, stand.read(), owner.local_addr()?);
        let count = files.len();
        for (what, text, said) in files {
            // Whatever else the file says is not applied either.
            let text = text.replace(&stand.write().to_string(), &new.to_string());
            reload(stand, &text).await.context(what)?;
            let because = refused_because(stand).await?;
            let because = because.with_context(|| format!("{what} was applied"))?;
            ensure!(because.contains(said), "{what}: {because}");
            ensure!(
                TcpStream::connect(new).await.is_err(),
                "{what}: the new port is open"
            );
            ensure!(lands_on(stand.write()).await? == "pg-1");
            session.echo(what.as_bytes()).await?;
        }
        stand
            .logged("is refused, the old one stays in force: ")
            .await?;
        let metrics = stand.router.metrics().await?;
        ensure!(
            metrics.contains("trunkline_config_last_reload_successful 0"),
            "{metrics}"
        );
        let page = http::get(stand.router.ports().stats, "/").await?.body;
        ensure!(page.contains("the last reload was refused"), "{page}");

        reload(stand, &good).await?;
        ensure!(refused_because(stand).await?.is_none());
        let metrics = stand.router.metrics().await?;
        ensure!(
            metrics.contains("trunkline_config_last_reload_successful 1"),
            "{metrics}"
        );
        let refused = format!("trunkline_config_reloads_total{{outcome=\"refused\"}} {count}");
        ensure!(metrics.contains(&refused), "{metrics}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_stats_page_moves_and_the_log_says_more_when_told_to() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (old, new) = (stand.router.ports().stats, spare(stand, 7055));
        let text = file(stand)?.replace(&old.to_string(), &new.to_string());
        reload(stand, &(text + "log: {level: debug}\n")).await?;
        nobody_listens(old).await?;
        let health = http::get(new, "/healthz").await?;
        ensure!(health.status == 200, "{}", health.body);
        stand.logged("DEBUG").await
    })
    .await
}

#[tokio::test]
async fn etcd_moves_under_a_running_cluster_without_the_end_of_a_session() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (mut session, _) = Client::login(stand.write()).await?;
        let text = file(stand)?;
        let etcd = text
            .split("hosts: [\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let etcd: SocketAddr = etcd.context("no etcd in the file")?.parse()?;
        // The same etcd by another way in, then a list with one host that nobody answers at.
        let elsewhere = detour(etcd).await?;
        change(stand, &etcd.to_string(), &elsewhere.to_string()).await?;
        until("the new endpoint is asked", SOON, async || {
            let stats = stand.router.stats().await?;
            let etcd = &stats["clusters"][0]["etcd"];
            ensure!(
                etcd["endpoint"]
                    .as_str()
                    .is_some_and(|url| url.contains(&elsewhere.to_string())),
                "{etcd}"
            );
            ensure!(etcd["state"] == "ok", "{etcd}");
            ensure!(
                etcd["proof_age_seconds"]
                    .as_f64()
                    .is_some_and(|age| age < 1.5),
                "{etcd}"
            );
            Ok(())
        })
        .await?;
        throughout(
            "the session lives and logins are served",
            Duration::from_secs(3),
            async || {
                session.echo(b"still").await?;
                ensure!(lands_on(stand.write()).await? == "pg-1");
                Ok(())
            },
        )
        .await?;
        ensure!(
            !stand
                .router
                .process()
                .log()?
                .contains("another one than before"),
            "taken for a rebuilt store"
        );
        stand.cluster.promote("pg-3").await?;
        session.ended(SOON).await?;
        ensure!(lands_on(stand.write()).await? == "pg-3");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn twenty_reloads_in_a_row_cost_no_byte_and_no_login() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (mut client, mut server) = session(stand).await?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let pumping = spawn(async move {
            let (mut sent, mut heard) = (vec![0_u8; 4096], vec![0_u8; 4096]);
            let mut rounds = 0_u64;
            while !over.load(Ordering::Relaxed) {
                sent.fill(u8::try_from(rounds % 251)?);
                client.write_all(&sent).await?;
                server.read_exact(&mut heard).await?;
                ensure!(
                    sent == heard,
                    "round {rounds} differs on its way to the server"
                );
                server.write_all(&heard).await?;
                client.read_exact(&mut heard).await?;
                ensure!(sent == heard, "round {rounds} differs on its way back");
                rounds += 1;
            }
            Ok(rounds)
        });
        let ports = [stand.write(), spare(stand, 5059)];
        let text = file(stand)?;
        let logins = spawn({
            let (read, over) = (stand.read(), Arc::clone(&is_over));
            async move {
                let mut count = 0;
                while !over.load(Ordering::Relaxed) {
                    lands_on(read).await?;
                    count += 1;
                }
                Ok::<_, anyhow::Error>(count)
            }
        });
        for round in 1..=20 {
            let text = text
                .replace(&ports[0].to_string(), &ports[round % 2].to_string())
                .replace(
                    "to: replicas, hold: 30s",
                    &format!("to: replicas, hold: {}s", 30 + round % 3),
                );
            reload(stand, &text).await?;
            ensure!(lands_on(ports[round % 2]).await? == "pg-1");
        }
        is_over.store(true, Ordering::Relaxed);
        ensure!(pumping.await?? > 20, "too few rounds to tell");
        ensure!(logins.await?? > 20, "too few logins to tell");
        ensure!(refused_because(stand).await?.is_none());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_hundred_reloads_leave_no_descriptor_and_no_thread_behind() -> Result<()> {
    on(Plan::default(), async |stand| {
        let text = file(stand)?;
        let line = text.lines().find(|line| line.contains(" read:"));
        let line = format!("{}\n", line.context("no read listener")?);
        let etcd = "etcd3: {hosts: [\"";
        let variants = [
            text.replace(&line, ""),
            text.replace(etcd, "etcd3: {hosts: [\"127.0.0.1:1\", \""),
            text.replace(&stand.write().to_string(), &spare(stand, 5060).to_string()),
            text.replace("to: primary", "to: nowhere"),
            text.clone(),
        ];
        // Whatever is made once is made by then.
        for variant in &variants {
            reload(stand, variant).await?;
        }
        let before = settled(stand, None).await?;
        for _ in 0..20 {
            for variant in &variants {
                reload(stand, variant).await?;
            }
        }
        settled(stand, Some(before)).await?;
        ensure!(lands_on(stand.write()).await? == "pg-1");
        lands_on(stand.read()).await?;
        Ok(())
    })
    .await
}

/// How many descriptors the router has once that is `before` or fewer, and whatever was taken out is gone.
async fn settled(stand: &mut Stand, before: Option<usize>) -> Result<usize> {
    let pid = stand.router.process().pid();
    until("nothing is left of what was taken out", SOON, async || {
        let stats = stand.router.stats().await?;
        let listeners = stats["clusters"][0]["listeners"].as_array();
        let leaving = listeners
            .context("no listeners")?
            .iter()
            .any(|it| it["leaving"] == true);
        ensure!(!leaving, "a listener is still leaving");
        ensure!(
            stats["clusters"][0]["etcd"]["state"] == "ok",
            "etcd is not asked"
        );
        let now = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        ensure!(
            before.is_none_or(|before| now <= before),
            "{now} descriptors, there were {before:?}"
        );
        Ok(now)
    })
    .await
}
