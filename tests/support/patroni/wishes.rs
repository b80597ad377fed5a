//! What an operator asks of a Patroni cluster through its REST API, as `patronictl` does.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Patroni;
use crate::http;
use crate::wait::until;

/// Every node takes part within some rounds of its loop.
const TAKEN_UP: Duration = Duration::from_secs(40);
/// A restart may wait for a round, for a checkpoint, and for a synchronous standby.
const RESTART: Duration = Duration::from_secs(90);

impl Patroni {
    /// A planned switchover to `candidate` through the leader's REST API; how long it took to
    /// answer.
    pub async fn switchover(&self, candidate: &str) -> Result<Duration> {
        let leader = self.leader().await?;
        let wish = json!({"leader": leader, "candidate": candidate});
        let rest = self.rest_of(self.node(&leader)?);
        let started = Instant::now();
        let answer = rest
            .post("/switchover", &wish, Duration::from_secs(90))
            .await?;
        ensure!(
            answer.status == 200,
            "switchover from {leader} to {candidate}: {} {}",
            answer.status,
            answer.body
        );
        Ok(started.elapsed())
    }

    /// Changes the dynamic configuration (`null` removes a key) and waits until every node has read etcd since.
    async fn configure(&self, change: &Value) -> Result<()> {
        let asked = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_secs();
        self.ask(change).await?;
        let what = format!("every node has taken up {change}");
        until(&what, TAKEN_UP, async || {
            for node in &self.nodes {
                let status = node.status().await?;
                // Seconds, cut off: only a later one is surely a look after the change.
                let seen = status["dcs_last_seen"].as_u64().unwrap_or_default();
                ensure!(seen > asked, "{} read etcd last at {seen}", node.name());
            }
            Ok(())
        })
        .await
    }

    /// Turns `failsafe_mode` on, and waits until every node knows whom to ask in it.
    pub async fn failsafe_on(&self) -> Result<()> {
        self.configure(&json!({"failsafe_mode": true})).await?;
        until("every node knows the others", TAKEN_UP, async || {
            for node in &self.nodes {
                let known = http::get_json(node.rest(), "/failsafe").await?;
                let count = known.as_object().map_or(0, serde_json::Map::len);
                ensure!(count == self.nodes.len(), "{} knows {known}", node.name());
            }
            Ok(())
        })
        .await
    }

    /// Turns `failsafe_mode` off again.
    pub async fn failsafe_off(&self) -> Result<()> {
        self.configure(&json!({"failsafe_mode": false})).await
    }

    /// `patronictl demote-cluster --restore-command=false`: a standby cluster whose source has nothing to give.
    pub async fn demote_cluster(&self) -> Result<()> {
        let change = json!({"standby_cluster": {"restore_command": "false"}});
        self.configure(&change).await
    }

    /// `patronictl promote-cluster`.
    pub async fn promote_cluster(&self) -> Result<()> {
        self.configure(&json!({"standby_cluster": null})).await
    }

    /// `patronictl pause --wait`.
    pub async fn pause(&self) -> Result<()> {
        self.ask(&json!({"pause": true})).await?;
        self.wait_paused(true).await
    }

    /// `patronictl resume --wait`.
    pub async fn resume(&self) -> Result<()> {
        self.ask(&json!({"pause": null})).await?;
        self.wait_paused(false).await
    }

    /// `patronictl restart`: the node's Patroni restarts its PostgreSQL.
    pub async fn restart(&self, name: &str) -> Result<()> {
        let rest = self.node(name)?.rest();
        let answer = http::send_json("POST", rest, "/restart", &json!({}), RESTART).await?;
        ensure!(
            answer.status == 200,
            "restarting {name}: {} {}",
            answer.status,
            answer.body
        );
        Ok(())
    }

    async fn ask(&self, change: &Value) -> Result<()> {
        let node = self.nodes.first().context("there are no nodes")?;
        let answer = http::send_json(
            "PATCH",
            node.rest(),
            "/config",
            change,
            Duration::from_secs(20),
        )
        .await?;
        ensure!(
            answer.status == 200,
            "asking {} for {change}: {} {}",
            node.name(),
            answer.status,
            answer.body
        );
        Ok(())
    }

    async fn wait_paused(&self, paused: bool) -> Result<()> {
        let what = format!("every node says that pause is {paused}");
        until(&what, TAKEN_UP, async || {
            for node in &self.nodes {
                let says = node.status().await?["pause"] == true;
                ensure!(says == paused, "{} says {says}", node.name());
            }
            Ok(())
        })
        .await
    }
}
