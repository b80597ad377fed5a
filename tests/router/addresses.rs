//! Members by name, by several addresses, by a changed or a shared one, by IPv6, by `proxy_url`.
//!
//! Names are looked up as on any machine: the router runs in a mount namespace with an `/etc/hosts` of its own.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::{TcpListener, TcpStream};
use trunkline_support::background::spawn;
use trunkline_support::fake_member::{FakeMember, Postgres, Rest};
use trunkline_support::wait::until;

use crate::client::{Client, lands_on};
use crate::stand::{OWN_NAMES, Plan, SOON, Stand, on};

/// How long after a failure a name is looked up again, and how long that may take, generously.
const LOOKED_UP: Duration = Duration::from_secs(20);

fn with_names() -> Plan {
    Plan {
        shell: OWN_NAMES,
        ..Plan::default()
    }
}

/// Publishes `member` under `host` in the place of its address, for PostgreSQL and REST.
async fn publish(stand: &Stand, member: &FakeMember, host: &str, role: &str) -> Result<()> {
    let key = member
        .key(role)
        .replace(&member.address().ip().to_string(), host);
    let path = format!("members/{}", member.name());
    stand.cluster.put(&path, &key).await
}

/// Publishes all members by name and waits until the router knows where each is; `pg-1` leads.
async fn publish_names(stand: &mut Stand) -> Result<()> {
    for (name, role) in [
        ("pg-1", "primary"),
        ("pg-2", "replica"),
        ("pg-3", "replica"),
    ] {
        publish(stand, stand.member(name)?, &format!("{name}.test"), role).await?;
    }
    // Of each its PostgreSQL and its REST API.
    until("six names are resolved", LOOKED_UP, async || {
        let log = stand.router.process().log()?;
        let resolved = log.matches("a member's name resolves").count();
        ensure!(resolved >= 6, "{resolved}");
        Ok(())
    })
    .await
}

fn line(ip: IpAddr, name: &str) -> String {
    format!("{ip} {name}.test")
}

/// Where the names of all members lead.
fn lines(stand: &Stand) -> Result<Vec<String>> {
    let line = |name: &str| Ok(line(stand.member(name)?.address().ip(), name));
    ["pg-1", "pg-2", "pg-3"].into_iter().map(line).collect()
}

/// Waits until the write listener's target is at `ip`.
async fn writes_go_to(stand: &Stand, ip: IpAddr) -> Result<()> {
    let what = format!("the write target is at {ip}");
    until(&what, LOOKED_UP, async || {
        let write = stand.router.listener("write").await?;
        let targets = write["targets"].to_string();
        ensure!(targets.contains(&ip.to_string()), "{write}");
        Ok(())
    })
    .await
}

/// Another server under the name of `pg-1`, on the same ports at another address.
async fn moved(stand: &Stand) -> Result<FakeMember> {
    let old = stand.member("pg-1")?;
    let new = FakeMember::start(stand.cluster.scope(), "pg-1", &stand.network, 151).await?;
    ensure!(
        new.key("primary").replace(
            &new.address().ip().to_string(),
            &old.address().ip().to_string()
        ) == old.key("primary"),
        "another program has the port of the moved member"
    );
    new.say(Rest::Primary).await?;
    Ok(new)
}

/// The session at the old address of `pg-1` ends, and the next login is at the new one.
async fn followed_to(stand: &Stand, new: &FakeMember, mut session: Client) -> Result<()> {
    writes_go_to(stand, new.address().ip()).await?;
    session.ended(SOON).await?;
    ensure!(lands_on(stand.write()).await? == "pg-1");
    ensure!(new.startups().len() == 1, "the login went elsewhere");
    Ok(())
}

#[tokio::test]
async fn members_are_found_by_name_and_followed_to_another_address() -> Result<()> {
    on(with_names(), async |stand| {
        let before = lines(stand)?;
        stand.names(&before)?;
        publish_names(stand).await?;
        let old = stand.member("pg-1")?.address().ip();
        writes_go_to(stand, old).await?;
        let (session, member) = Client::login(stand.write()).await?;
        ensure!(member == "pg-1");

        // The machine is gone, and its name leads to another.
        let new = moved(stand).await?;
        let mut after = before.clone();
        after[0] = line(new.address().ip(), "pg-1");
        stand.names(&after)?;
        stand.member("pg-1")?.say(Rest::Refused).await?;
        stand.member("pg-1")?.serve(Postgres::Refused).await?;
        followed_to(stand, &new, session).await
    })
    .await
}

#[tokio::test]
async fn a_name_that_resolves_no_more_keeps_its_address() -> Result<()> {
    on(with_names(), async |stand| {
        stand.names(&lines(stand)?)?;
        publish_names(stand).await?;
        writes_go_to(stand, stand.member("pg-1")?.address().ip()).await?;
        let (mut session, _) = Client::login(stand.write()).await?;
        stand.names(&[])?;
        // Whoever fails is looked up again.
        stand.member("pg-2")?.say(Rest::Refused).await?;
        stand.member("pg-1")?.say(Rest::Garbage).await?;
        stand.logged("resolving a member's name failed").await?;
        stand.member("pg-1")?.say(Rest::Primary).await?;
        session.echo(b"still here").await?;
        ensure!(lands_on(stand.write()).await? == "pg-1");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn of_several_addresses_of_a_name_one_that_answers_is_taken() -> Result<()> {
    on(with_names(), async |stand| {
        let mut lines = lines(stand)?;
        // Nobody listens at the first one.
        lines.insert(0, line(stand.network.host(199).into(), "pg-1"));
        stand.names(&lines)?;
        publish_names(stand).await?;
        writes_go_to(stand, stand.member("pg-1")?.address().ip()).await?;
        ensure!(lands_on(stand.write()).await? == "pg-1");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_primary_that_publishes_another_address_takes_its_new_sessions_there() -> Result<()> {
    on(Plan::default(), async |stand| {
        let (session, _) = Client::login(stand.write()).await?;
        let new = moved(stand).await?;
        stand
            .cluster
            .put("members/pg-1", &new.key("primary"))
            .await?;
        followed_to(stand, &new, session).await
    })
    .await
}

#[tokio::test]
async fn an_address_of_two_members_serves_the_leader_only_and_alarms() -> Result<()> {
    on(Plan::default(), async |stand| {
        stand.router.wait_ready(&["write", "read"], SOON).await?;
        let leader = stand.member("pg-1")?.address().to_string();
        let replica = stand.member("pg-2")?;
        let own = replica.address().to_string();
        let key = replica.key("replica").replace(&own, &leader);
        stand.cluster.put("members/pg-2", &key).await?;
        stand.logged("pg-1 and pg-2 have the same address").await?;
        ensure!(lands_on(stand.write()).await? == "pg-1");
        for _ in 0..6 {
            ensure!(lands_on(stand.read()).await? == "pg-3");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_proxy_url_is_used_where_that_is_asked_for() -> Result<()> {
    for (asked, lands) in [("  use_proxy_url: true\n", "pg-3"), ("", "pg-1")] {
        let plan = Plan {
            in_cluster: asked,
            ..Plan::default()
        };
        on(plan, async |stand| {
            let leader = stand.member("pg-1")?;
            let proxy = format!(
                r#"{{"proxy_url":"postgres://{}/postgres","#,
                stand.member("pg-3")?.address()
            );
            let key = leader.key("primary").replacen('{', &proxy, 1);
            stand.cluster.put("members/pg-1", &key).await?;
            // The proxy sits where pg-3 does; that one has moved away.
            publish(stand, stand.member("pg-3")?, "127.0.0.2", "replica").await?;
            until("logins land there", SOON, async || {
                let member = lands_on(stand.write()).await?;
                ensure!(member == lands, "on {member}");
                Ok(())
            })
            .await
        })
        .await?;
    }
    Ok(())
}

/// A way to `to` from an IPv6 address.
async fn over_ipv6(to: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            spawn(async move {
                let mut server = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    Ok(address)
}

/// A port that is free on every address.
fn free_port() -> Result<u16> {
    let everywhere = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    Ok(everywhere.local_addr()?.port())
}

#[tokio::test]
async fn ipv6_serves_on_both_sides() -> Result<()> {
    on(Plan::default(), async |stand| {
        let way = over_ipv6(stand.member("pg-1")?.address()).await?;
        let leader = stand.member("pg-1")?;
        let key = leader.key("primary");
        let key = key.replace(&leader.address().to_string(), &way.to_string());
        stand.cluster.put("members/pg-1", &key).await?;

        let (loopback, only_v6, both) = (free_port()?, free_port()?, free_port()?);
        let file = stand.router.file().to_owned();
        let config = std::fs::read_to_string(&file)?;
        let had = format!("bind: \"{}\", to: primary", stand.write());
        let all = format!(
            "bind: [\"{}\", \"[::1]:{loopback}\", \"[::]:{only_v6}\", \"0.0.0.0:{only_v6}\", \"*:{both}\"], to: primary",
            stand.write()
        );
        ensure!(config.contains(&had), "{config}");
        std::fs::write(&file, config.replace(&had, &all))?;
        stand.restart_router().await?;

        writes_go_to(stand, way.ip()).await?;
        let v6 = |port| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let v4 = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for door in [v6(loopback), v6(only_v6), v4(only_v6), v6(both), v4(both)] {
            let member = lands_on(door).await.with_context(|| format!("through {door}"))?;
            ensure!(member == "pg-1", "{member} through {door}");
        }
        Ok(())
    })
    .await
}
