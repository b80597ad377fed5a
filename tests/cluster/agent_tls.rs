//! Beside nodes of Patroni's whose REST APIs speak TLS and want to see a certificate: our agent asks them over it, in an
//! election and in a switchover; and what it says where its own certificates will not do.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use trunkline_support::ca::Ca;
use trunkline_support::stand::Stand;
use trunkline_support::wait::until;

use crate::agents::{THIRD as OURS, beside_patroni, change_file, somebody_else_leads};
use crate::shared::{CLUSTER, STEADY};

/// The lead goes to `candidate`, by a request to whoever has it.
async fn switched(stand: &mut Stand, candidate: &str) -> Result<()> {
    stand.patroni.switchover(candidate).await?;
    let leads = stand.patroni.wait_steady(STEADY).await?;
    ensure!(leads == candidate, "{leads} leads instead of {candidate}");
    Ok(())
}

/// Our agent has heard from a member over TLS since its log was that long.
fn heard_from(member: &str, since: usize, stand: &mut Stand) -> Result<()> {
    let log = stand.patroni.node_mut(OURS)?.log()?;
    let log = log.get(since..).unwrap_or_default();
    let words = format!("Got response from {member}: ");
    ensure!(log.contains(&words), "{log}");
    Ok(())
}

#[tokio::test]
async fn members_that_want_a_certificate_are_asked_with_one_and_what_is_wrong_with_it_is_told()
-> Result<()> {
    let _turn = CLUSTER.lock().await;
    let mut stand = Stand::start_with_tls(beside_patroni(3)).await?;
    let stand = &mut stand;

    // An election between ours and one of Patroni's: the third stops in order.
    if stand.patroni.leader().await? == OURS {
        switched(stand, "pg-1").await?;
    }
    let theirs = stand.patroni.leader().await?;
    let other = if theirs == "pg-1" { "pg-2" } else { "pg-1" };
    let begun = stand.patroni.node_mut(OURS)?.log()?.len();
    stand.patroni.node_mut(&theirs)?.stop(STEADY).await?;
    let leader = until("somebody else leads", STEADY, async || {
        somebody_else_leads(&theirs, stand).await
    })
    .await?;
    if leader == OURS {
        // The other may have been faster: then there was nobody to ask.
        heard_from(other, begun, stand).context("in the election")?;
    }
    stand.patroni.wait_steady(STEADY).await?;

    // To ours, and from ours, which asks its candidate before it lets go.
    if stand.patroni.leader().await? != OURS {
        switched(stand, OURS).await?;
    }
    let begun = stand.patroni.node_mut(OURS)?.log()?.len();
    switched(stand, other).await?;
    heard_from(other, begun, stand).context("in the switchover")?;
    switched(stand, OURS).await?;

    wrong_certificates(other, stand).await
}

/// Who cannot be asked is not switched over to; once it can be, it is.
async fn wrong_certificates(other: &str, stand: &mut Stand) -> Result<()> {
    let folder = stand.workdir.folder("stranger", None)?;
    let stranger = Ca::new(&folder, "stranger")?;
    let owner = stand.parts.account.clone();
    let material = stranger.both_sides(&[], "stranger")?;
    let theirs = stand.workdir.folder("stranger-tls", owner.as_ref())?;
    let material = material.for_owner(&theirs, owner.as_ref())?;
    let node = stand.patroni.node_mut(OURS)?;
    let right = std::fs::read(node.config_file())?;
    for (key, value, words) in [
        (
            "cacert",
            json!(material.ca),
            "invalid peer certificate: UnknownIssuer; cacert: under ctl must name the authority",
        ),
        (
            "certfile",
            json!(null),
            "it wants to see a certificate: write certfile: and keyfile: under ctl",
        ),
    ] {
        let node = stand.patroni.node_mut(OURS)?;
        change_file(node, |config| {
            config["ctl"][key] = value;
            if key == "certfile" {
                config["ctl"]["keyfile"] = json!(null);
            }
        })?;
        let begun = node.log()?.len();
        node.kill_agent()?;
        node.start()?;
        stand.patroni.wait_steady(STEADY).await?;
        let refused = stand.patroni.switchover(other).await;
        let told = refused
            .err()
            .context("it was switched over blindly")?
            .to_string();
        ensure!(told.contains(": 412 "), "{told}");
        let log = stand.patroni.node_mut(OURS)?.log()?;
        let log = log.get(begun..).unwrap_or_default();
        let said = |line: &str| {
            line.contains(&format!("WARNING: Request to {other} failed: ")) && line.contains(words)
        };
        ensure!(log.lines().any(said), "{key}: {log}");
        let leads = stand.patroni.leader().await?;
        ensure!(leads == OURS, "{leads} leads");
        let node = stand.patroni.node_mut(OURS)?;
        std::fs::write(node.config_file(), &right)?;
    }
    let node = stand.patroni.node_mut(OURS)?;
    node.kill_agent()?;
    node.start()?;
    stand.patroni.wait_steady(STEADY).await?;
    switched(stand, other).await
}
