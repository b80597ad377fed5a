//! The real patronictl against a cluster of our agents.

use anyhow::{Context, Result, ensure};
use trunkline_support::wait::until;

use crate::agents::on_our_cluster;
use crate::shared::STEADY;

#[test]
fn patronictl_lists_our_cluster_as_it_would_its_own() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let leader = stand.patroni.leader().await?;
        let list = stand.patroni.ctl_list(&stand.parts).await?;
        ensure!(list.len() == 3, "{list:?}");
        for member in &list {
            let leads = member["Member"] == *leader;
            let (role, state) = if leads {
                ("Leader", "running")
            } else {
                ("Replica", "streaming")
            };
            ensure!(
                member["Role"] == role && member["State"] == state,
                "{member}"
            );
            ensure!(member["TL"].is_u64(), "{member}");
            let node = stand
                .patroni
                .node(member["Member"].as_str().context("a name")?)?;
            ensure!(member["Host"] == node.host().to_string(), "{member}");
        }
        let topology = stand.patroni.ctl(&stand.parts, &["topology"]).await?;
        ensure!(topology.contains(&format!("| {leader} ")), "{topology}");
        ensure!(topology.matches("| + pg-").count() == 2, "{topology}");
        let config = stand.patroni.ctl(&stand.parts, &["show-config"]).await?;
        ensure!(config.contains("use_pg_rewind: true"), "{config}");
        Ok(())
    })
}

#[test]
fn patronictl_switches_over_and_fails_over_and_the_history_tells_of_it() -> Result<()> {
    on_our_cluster(async |stand, _| {
        for command in ["switchover", "failover"] {
            let candidate = stand.patroni.candidate().await?;
            let told = stand
                .patroni
                .ctl(
                    &stand.parts,
                    &[command, "--candidate", &candidate, "--force"],
                )
                .await?;
            let leader = stand.patroni.wait_steady(STEADY).await?;
            ensure!(
                leader == candidate,
                "{leader} leads after {command} to {candidate}: {told}"
            );
            let patroni = &stand.patroni;
            until("the history tells of it", STEADY, async || {
                let arguments = ["history", "--format", "json"];
                let history = patroni.ctl(&stand.parts, &arguments).await?;
                let history: Vec<serde_json::Value> = serde_json::from_str(&history)?;
                let last = history.last().context("the history is empty")?;
                ensure!(last["New Leader"] == *leader, "{last}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    })
}
