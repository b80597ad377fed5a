//! A PostgreSQL that lets nobody in over the network but with TLS, the agent on its own machine included: a cluster of two
//! lives so, one agent with no word of TLS in its patroni.yml and one that checks everything; and what the latter says where
//! that does not come about.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use trunkline_support::patroni::Settings;
use trunkline_support::ports::Loopback;
use trunkline_support::stand::Stand;
use trunkline_support::wait::until;

use crate::agents::{change_file, settings};
use crate::shared::{CLUSTER, STEADY};

/// Two nodes with certificates, signed by themselves; the second one's agent checks its own PostgreSQL's.
async fn started() -> Result<Stand> {
    let two = Settings {
        nodes: 2,
        ssl: true,
        ..settings()
    };
    let mut stand = Stand::prepare_on(Box::new(Loopback::lease()?), two).await?;
    for node in stand.patroni.nodes() {
        let certificate = node.certificate();
        let checks = node.name() == "pg-2";
        change_file(node, |config| {
            let postgresql = &mut config["postgresql"];
            postgresql["pg_hba"] = json!(["hostssl all,replication all 127.0.0.0/8 scram-sha-256"]);
            if checks {
                let login = &mut postgresql["authentication"]["superuser"];
                login["sslmode"] = json!("verify-full");
                login["sslrootcert"] = json!(certificate);
                login["channel_binding"] = json!("require");
            }
        })?;
    }
    stand.patroni.wait_steady(STEADY).await?;
    Ok(stand)
}

/// `patronictl list` shows both, and `leader` as such.
async fn listed(leader: &str, stand: &Stand) -> Result<()> {
    until("patronictl lists both", STEADY, async || {
        let list = stand.patroni.ctl_list(&stand.parts).await?;
        ensure!(list.len() == 2, "{list:?}");
        for member in &list {
            let (role, state) = if member["Member"] == *leader {
                ("Leader", "running")
            } else {
                ("Replica", "streaming")
            };
            ensure!(
                member["Role"] == role && member["State"] == state,
                "{list:?}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn agents_lead_and_follow_where_postgresql_takes_tls_alone_and_tell_what_is_wrong_with_it()
-> Result<()> {
    let _turn = CLUSTER.lock().await;
    let mut stand = started().await?;
    let leader = stand.patroni.leader().await?;
    listed(&leader, &stand).await?;
    for candidate in ["pg-2", "pg-1"] {
        if stand.patroni.leader().await? != candidate {
            stand.patroni.switchover(candidate).await?;
        }
        let leads = stand.patroni.wait_steady(STEADY).await?;
        ensure!(leads == candidate, "{leads} leads instead of {candidate}");
        listed(candidate, &stand).await?;
    }

    // The wrong authority: that of the other one.
    let (strange, host) = {
        let other = stand.patroni.node("pg-1")?;
        (other.certificate(), stand.patroni.node("pg-2")?.host())
    };
    let node = stand.patroni.node_mut("pg-2")?;
    let mut right = Value::Null;
    change_file(node, |config| {
        right = config.clone();
        config["postgresql"]["authentication"]["superuser"]["sslrootcert"] = json!(strange);
    })?;
    let before = node.log()?.len();
    node.kill_agent()?;
    node.start()?;
    let must = format!(
        "{} (sslrootcert under postgresql.authentication (user postgres)) must hold the authority",
        strange.display()
    );
    let words = [
        "WARNING: PostgreSQL cannot be asked: asking ",
        &host.to_string(),
        " over TLS (sslmode verify-full): ",
        &must,
    ];
    until("the agent says what is wrong", STEADY, async || {
        let log = node.log()?;
        let log = log.get(before..).unwrap_or_default();
        let said = |line: &str| words.iter().all(|words| line.contains(words));
        ensure!(log.lines().any(said), "{log}");
        Ok(())
    })
    .await?;

    // And mended.
    change_file(node, |config| *config = right)?;
    node.kill_agent()?;
    node.start()?;
    stand.patroni.wait_steady(STEADY).await?;
    listed("pg-1", &stand).await
}
