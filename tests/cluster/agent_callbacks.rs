//! The operator's scripts, and a patroni.yml that is read again: who is told what in a switchover and by an adoption.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trunkline_support::patroni::Node;
use trunkline_support::stand::Stand;
use trunkline_support::wait::until;

use crate::agents::{change_file, leader_key, on_our_cluster};
use crate::shared::STEADY;

const EVENTS: [&str; 5] = [
    "on_start",
    "on_stop",
    "on_restart",
    "on_reload",
    "on_role_change",
];

/// What a node's scripts were told, a line a call.
struct Heard {
    file: PathBuf,
    before: usize,
}

impl Heard {
    fn of(node: &Node) -> Result<Self> {
        let home = node.config_file();
        let file = home.parent().context("a home")?.join("told");
        let before = all(&file).len();
        Ok(Self { file, before })
    }

    fn now(&self) -> Vec<String> {
        all(&self.file).split_off(self.before)
    }

    /// Without those of reloads, of which there may be more than one.
    fn but_reloads(&self) -> Vec<String> {
        let mut lines = self.now();
        lines.retain(|line| !line.starts_with("on_reload"));
        lines
    }
}

fn all(file: &PathBuf) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Has every node's patroni.yml name scripts, and read again.
async fn with_scripts(stand: &mut Stand) -> Result<()> {
    for node in stand.patroni.nodes_mut() {
        let heard = Heard::of(node)?;
        let command = format!("sh -c 'echo \"$@\" >> {}' sh", heard.file.display());
        change_file(node, |config| {
            config["postgresql"]["callbacks"] = EVENTS
                .iter()
                .map(|event| ((*event).to_owned(), Value::from(command.clone())))
                .collect();
        })?;
        node.patroni()?.hang_up()?;
        until("its reload is told", STEADY, async || {
            let now = heard.now();
            ensure!(
                now.iter().any(|line| line.starts_with("on_reload")),
                "{now:?}"
            );
            Ok(())
        })
        .await
        .map_err(|failure| node.with_log(failure))?;
    }
    Ok(())
}

#[test]
fn scripts_are_told_of_a_switchover_and_an_adoption_as_patroni_tells_them() -> Result<()> {
    on_our_cluster(async |stand, _| {
        with_scripts(stand).await?;
        let old = stand.patroni.leader().await?;
        let new = stand.patroni.candidate().await?;
        let third = stand.patroni.nodes().iter().map(Node::name);
        let third = third
            .map(str::to_owned)
            .find(|name| *name != old && *name != new);
        let third = third.context("a third node")?;
        let heard = |name: &str| Heard::of(stand.patroni.node(name)?);
        let (of_old, of_new, of_third) = (heard(&old)?, heard(&new)?, heard(&third)?);
        stand.patroni.switchover(&new).await?;
        stand.patroni.wait_steady(STEADY).await?;
        until("everybody is told", STEADY, async || {
            let told = (of_old.but_reloads(), of_new.but_reloads());
            ensure!(
                told.0 == ["on_stop demoted demo", "on_role_change replica demo"],
                "{old}: {told:?}"
            );
            ensure!(told.1 == ["on_role_change primary demo"], "{new}: {told:?}");
            let told = of_third.now();
            ensure!(
                told.contains(&"on_reload replica demo".to_owned()),
                "{third}: {told:?}"
            );
            ensure!(of_third.but_reloads().is_empty(), "{third}: {told:?}");
            Ok(())
        })
        .await?;

        let heard = Heard::of(stand.patroni.node(&new)?)?;
        stand.patroni.node_mut(&new)?.kill_agent()?;
        stand.patroni.wait_steady(STEADY).await?;
        until("the adoption is told", STEADY, async || {
            let told = heard.but_reloads();
            ensure!(told == ["on_start primary demo"], "{told:?}");
            Ok(())
        })
        .await
    })
}

#[test]
fn a_file_that_is_read_again_changes_tags_and_one_that_is_wrong_changes_nothing() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let name = stand.patroni.candidate().await?;
        let bin = json!(stand.parts.postgresql_bin);
        let node = stand.patroni.node_mut(&name)?;
        change_file(node, |config| {
            config["tags"] = json!({"noloadbalance": true});
            config["restapi"]["connect_address"] = json!("10.9.9.9:8008");
            config["postgresql"]["bin_dir"] = json!("/nowhere");
        })?;
        node.patroni()?.hang_up()?;
        let tags = async |node: &Node| Ok(node.status().await?["tags"].clone()) as Result<Value>;
        until("the tag is there", STEADY, async || {
            let tags = tags(node).await?;
            ensure!(tags == json!({"noloadbalance": true}), "{tags}");
            Ok(())
        })
        .await?;

        // An address that nobody listens at is not announced.
        let log = node.log()?;
        let later = "WARNING: what changed in restapi, postgresql (addresses, directories, programs, authentication) is \
                     applied when the agent is started again";
        ensure!(log.contains(later), "{log}");
        let rest = node.rest().to_string();
        let (key, mut store) = (
            leader_key(stand).replace("leader", &format!("members/{name}")),
            stand.etcd.client().await?,
        );
        let member = store.get(&key).await?.context("a member key")?;
        ensure!(
            member.contains(&rest) && !member.contains("10.9.9.9"),
            "{member}"
        );
        let node = stand.patroni.node_mut(&name)?;

        let file = node.config_file();
        let right = std::fs::read(&file)?;
        std::fs::write(&file, b"scope: [\xff\x00\n\tname: {")?;
        node.patroni()?.hang_up()?;
        until("it says that it is not applied", STEADY, async || {
            let log = node.log()?;
            ensure!(log.contains("ERROR: patroni.yml was not applied"), "{log}");
            Ok(())
        })
        .await?;
        ensure!(tags(node).await? == json!({"noloadbalance": true}));
        std::fs::write(&file, &right)?;
        change_file(node, |config| {
            config["tags"] = json!({});
            config["restapi"]["connect_address"] = config["restapi"]["listen"].clone();
            config["postgresql"]["bin_dir"] = bin.clone();
        })?;
        node.patroni()?.hang_up()?;
        until("the tag is gone", STEADY, async || {
            let tags = tags(node).await?;
            ensure!(tags.is_null(), "{tags}");
            Ok(())
        })
        .await
    })
}
