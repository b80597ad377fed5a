//! Those who route by it: HAProxy's check, and the question our own router asks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use trunkline_core::probe::{Says, judge};
use trunkline_core::{Moment, Observed};
use trunkline_io::clock;
use trunkline_io::http::client;
use trunkline_support::http;
use trunkline_support::parts::Parts;
use trunkline_support::ports::Loopback;
use trunkline_support::wait::until;
use trunkline_support::workdir::WorkDir;

use crate::stand::{Stand, primary, replica, rest};

#[tokio::test]
async fn our_router_takes_the_lock_holder_for_the_primary_and_a_replica_for_what_it_is() {
    for (told, leads) in [(primary(), true), (replica(), false)] {
        let name = told.0.me.clone();
        let id = told.0.system_id.clone();
        let stand = Stand::of(told, rest()).await;
        let within = Duration::from_secs(2);
        let asked = clock::now();
        let host = stand.address.to_string();
        let answer = client::get(stand.address, &host, "/primary", None, within)
            .await
            .unwrap();
        let value = judge(
            answer.code,
            &answer.body,
            &name,
            &"demo".into(),
            id.as_ref(),
        )
        .unwrap();
        assert_eq!(value.document.leader_until_ms.is_some(), leads);
        let says = Says::of(
            &Observed::Fresh { value, asked },
            Moment::BOOT,
            clock::now(),
        );
        let expected = if leads {
            Says::Primary { lock: true, asked }
        } else {
            Says::InRecovery
        };
        assert_eq!(says, expected);
    }
}

#[tokio::test]
async fn haproxy_finds_the_primary_by_options_and_loses_it_with_the_lock() -> Result<()> {
    let leader = Stand::of(primary(), rest()).await;
    let standby = Stand::of(replica(), rest()).await;
    let loopback = Loopback::lease()?;
    let workdir = Arc::new(WorkDir::new()?);
    let stats = loopback.free(250, 7000)?;
    let file = workdir.path().join("haproxy.cfg");
    let config = format!(
        "global\n    maxconn 100\ndefaults\n    timeout client 5s\n    timeout connect 4s\n    timeout server 5s\n    \
         timeout check 5s\nlisten stats\n    mode http\n    bind {stats}\n    stats enable\n    stats uri /\n\
         backend write\n    mode tcp\n    option httpchk OPTIONS /primary\n    http-check expect status 200\n    \
         default-server inter 200ms fall 2 rise 2\n    server leader {} check\n    server standby {} check\n",
        leader.address, standby.address
    );
    std::fs::write(&file, config)?;
    Parts::find()?;
    let mut haproxy = Command::new("haproxy")
        .arg("-db")
        .arg("-f")
        .arg(&file)
        .kill_on_drop(true)
        .spawn()
        .context("starting haproxy, which `make setup` installs")?;
    let finds = async |wanted: [(&str, &str, &str); 2]| {
        until("HAProxy finds that", Duration::from_secs(20), async || {
            let csv = http::get(stats, "/;csv").await?.body;
            for (server, status, check) in wanted {
                let line = csv
                    .lines()
                    .find(|line| line.starts_with(&format!("write,{server},")));
                let line = line.context("the server is not listed")?;
                let found = line.split(',').any(|field| field == status) && line.contains(check);
                ensure!(found, "{server} is not {status} by {check}: {line}");
            }
            Ok(())
        })
        .await
    };
    finds([
        ("leader", "UP", "L7OK,200"),
        ("standby", "DOWN", "L7STS,503"),
    ])
    .await?;
    let mut told = trunkline_core::rest::Told::clone(&leader.board.told());
    told.held = None;
    leader.board.tell(told);
    finds([
        ("leader", "DOWN", "L7STS,503"),
        ("standby", "DOWN", "L7STS,503"),
    ])
    .await?;
    haproxy.kill().await?;
    Ok(())
}
