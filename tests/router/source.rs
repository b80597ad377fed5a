//! From where members are connected to, and what becomes of clients when no port is left to do it from.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use trunkline_support::netns::Wire;

use crate::bytes::session;
use crate::client::{Answer, Client};
use crate::reload::files::change;
use crate::stand::{Plan, Stand, on};

/// Ports that the namespace of a test has for connections to one and the same place.
const PORTS: std::ops::RangeInclusive<u16> = 40_000..=40_063;

#[tokio::test]
async fn sessions_come_from_the_source_that_is_written_and_after_a_reload_from_the_next()
-> Result<()> {
    let plan = Plan {
        write: "hold: 30s, source: 127.9.8.7",
        ..Plan::default()
    };
    on(plan, async |stand| {
        let (first, mut there) = session(stand).await?;
        ensure!(there.peer_addr()?.ip() == Ipv4Addr::new(127, 9, 8, 7));
        change(stand, "source: 127.9.8.7", "source: 127.9.8.6").await?;
        let (_second, elsewhere) = session(stand).await?;
        ensure!(elsewhere.peer_addr()?.ip() == Ipv4Addr::new(127, 9, 8, 6));
        // Who came before stays as it is.
        there.write_all(b"still here").await?;
        let heard = Client(first).hear(10).await?;
        ensure!(heard == b"still here", "{heard:?}");
        Ok(())
    })
    .await
}

/// Takes every port there is for connections to `pg-1`.
async fn take_all_ports(stand: &Stand) -> Result<Vec<TcpStream>> {
    let member = stand.member("pg-1")?.address();
    let mut taken = Vec::new();
    for _ in PORTS {
        match TcpStream::connect(member).await {
            Ok(stream) => {
                // The port is free again at once when it is closed.
                stream.set_zero_linger()?;
                taken.push(stream);
            }
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => return Ok(taken),
            Err(error) => return Err(error).context("taking a port"),
        }
    }
    match TcpStream::connect(member).await {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => Ok(taken),
        unexpected => bail!("there is still a port: {unexpected:?}"),
    }
}

#[test]
fn where_no_port_is_left_clients_wait_and_are_told_and_the_member_is_not_to_blame() -> Result<()> {
    // The range of ports is a namespace's own.
    Wire::lay()?.run(async || {
        let range = format!("{} {}", PORTS.start(), PORTS.end());
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", range)?;
        let plan = Plan {
            own_etcd: true,
            any: true,
            write: "hold: 3s",
            read: "hold: 3s, balance: roundrobin, source: [127.9.8.7]",
            ..Plan::default()
        };
        on(plan, async |stand| {
            let (mut session, member) = Client::login(stand.write()).await?;
            ensure!(member == "pg-1", "on {member}");
            let taken = take_all_ports(stand).await?;

            let told = Client::ask(stand.write()).await?.answer().await?;
            let Answer::Refused { code, message } = &told else {
                bail!("{told:?}");
            };
            ensure!(
                code == "53300" && message.contains("nothing left to connect with"),
                "{told:?}"
            );
            stand.logged("the member is not to blame").await?;
            stand.logged("end=RC").await?;
            session.echo(b"still here").await?;
            let log = stand.router.process().log()?;
            let said = log.matches("the member is not to blame").count();
            ensure!(said == 1, "it is told {said} times in three seconds");
            let write = stand.router.listener("write").await?;
            ensure!(write["targets"].to_string().contains("pg-1"), "{write}");

            // From another address there are as many ports again.
            let mut on = Vec::new();
            for _ in 0..3 {
                on.push(Client::login(stand.read()).await?.1);
            }
            ensure!(on.iter().any(|member| member == "pg-1"), "{on:?}");

            let mut waiting = Client::ask(stand.write()).await?;
            ensure!(
                waiting.waits(Duration::from_millis(500)).await,
                "it did not wait"
            );
            drop(taken);
            let served = waiting.answer().await?;
            ensure!(served == Answer::Served("pg-1".into()), "{served:?}");
            Ok(())
        })
        .await
    })
}

/// As keepalived leaves it when it moves an address to another machine.
#[test]
fn a_source_that_has_left_the_machine_is_no_fault_of_the_members_and_another_serves() -> Result<()>
{
    Wire::lay()?.run(async || {
        // The setting is a namespace's own.
        std::fs::write("/proc/sys/net/ipv4/ip_nonlocal_bind", "1")?;
        let plan = Plan {
            own_etcd: true,
            any: true,
            write: "hold: 1s, source: 192.0.2.1",
            read: "hold: 1s, source: [192.0.2.1, 127.9.8.7]",
            ..Plan::default()
        };
        on(plan, async |stand| {
            for _ in 0..4 {
                Client::login(stand.read()).await?;
            }
            let told = Client::ask(stand.write()).await?.answer().await?;
            ensure!(
                matches!(&told, Answer::Refused { code, message }
                    if code == "53300" && message.contains("nothing left to connect with")),
                "{told:?}"
            );
            stand
                .logged("the member is not to blame: from 192.0.2.1")
                .await?;
            stand.logged("end=RC").await
        })
        .await
    })
}
