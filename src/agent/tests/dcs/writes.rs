//! What an agent writes, what that depends on, and what the view shows of it.

use anyhow::{Context, Result, ensure};
use trunkline_core::cluster::{Initialize, Lock};
use trunkline_core::ha::Write;
use trunkline_core::keys::Key;
use trunkline_core::lease::Written;
use trunkline_core::{Lsn, SystemId};
use trunkline_support::wait::until;

use crate::bench::{Bench, SOON, prefix, soon};

#[tokio::test]
async fn a_lease_that_ended_behind_its_back_refuses_the_member_key_until_there_is_another()
-> Result<()> {
    let bench = Bench::of(1).await?;
    let mut a = bench.agent("a").await?;
    let member = Write::Member(r#"{"state":"running"}"#.to_owned());
    ensure!(
        a.write(&member).await == Written::Refused,
        "without any lease"
    );
    let lease = a.lease().await?;
    ensure!(a.write(&member).await == Written::Done);
    bench.store().await?.revoke(lease.id.0).await?;
    ensure!(a.write(&member).await == Written::Refused);
    ensure!(a.dcs.lease().is_none());
    let next = a.lease().await?;
    ensure!(next.id != lease.id);
    ensure!(a.write(&member).await == Written::Done);
    let written = a.view()?.written.get(&Key::Member("a".into())).copied();
    ensure!(written.context("not in the view")?.lease == Some(next.id));
    Ok(())
}

#[tokio::test]
async fn own_writes_are_in_the_view_at_once_and_wake_nobody_but_the_others() -> Result<()> {
    let bench = Bench::of(1).await?;
    let (mut a, b) = (bench.agent("a").await?, bench.agent("b").await?);
    a.won().await?;
    until("b has seen it", SOON, async || {
        ensure!(b.holder()?.as_deref() == Some("a"));
        Ok(())
    })
    .await?;
    a.was_woken().await;
    b.was_woken().await;
    for optime in 1..=5 {
        let status = Write::Status(format!(r#"{{"optime":{optime}}}"#));
        ensure!(a.write(&status).await == Written::Done);
        ensure!(a.view()?.status.optime == Some(Lsn(optime)));
        b.is_woken().await?;
    }
    ensure!(
        !a.was_woken().await,
        "a leader looks at nothing when its own word is out"
    );
    // An operator's request wakes whoever leads, too.
    let mut writer = b.dcs.writer();
    ensure!(writer.request(r#"{"leader":"a"}"#, soon()).await == Written::Done);
    ensure!(b.view()?.failover.is_some());
    a.is_woken().await?;
    let seen = a.view()?.written[&Key::Failover].modified;
    ensure!(a.write(&Write::ClearFailover(Some(seen))).await == Written::Done);
    ensure!(a.view()?.failover.is_none());
    // A member's own word is for nobody to look at.
    b.was_woken().await;
    let member = Write::Member(r#"{"xlog_location":1}"#.to_owned());
    ensure!(a.write(&member).await == Written::Done);
    until("b has seen the member", SOON, async || {
        ensure!(b.view()?.members.contains_key(&"a".into()));
        Ok(())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_request_that_changed_meanwhile_is_not_cleared_and_the_view_learns_of_it() -> Result<()> {
    let bench = Bench::of(1).await?;
    let mut a = bench.agent("a").await?;
    let mut writer = a.dcs.writer();
    ensure!(writer.request(r#"{"leader":"a"}"#, soon()).await == Written::Done);
    let seen = a.view()?.written[&Key::Failover].modified;
    ensure!(writer.request(r#"{"member":"b"}"#, soon()).await == Written::Done);
    ensure!(a.write(&Write::ClearFailover(Some(seen))).await == Written::Refused);
    let failover = a.view()?.failover.context("it was cleared")?;
    ensure!(failover.candidate == Some("b".into()), "{failover:?}");
    Ok(())
}

#[tokio::test]
async fn a_former_leader_has_no_say_in_what_leaders_write() -> Result<()> {
    let bench = Bench::of(1).await?;
    let mut a = bench.agent("a").await?;
    a.lease().await?;
    for late in [
        Write::Status(r#"{"optime":1}"#.to_owned()),
        Write::History("[]".to_owned()),
        Write::Failsafe("{}".to_owned()),
        Write::OptimeLeader("1".to_owned()),
    ] {
        ensure!(a.write(&late).await == Written::Refused, "{late:?}");
    }
    ensure!(
        bench
            .store()
            .await?
            .list(prefix().as_str())
            .await?
            .is_empty()
    );
    Ok(())
}

#[tokio::test]
async fn letting_go_leaves_the_last_position_and_keeps_the_rest_of_the_status() -> Result<()> {
    let bench = Bench::of(1).await?;
    let mut a = bench.agent("a").await?;
    a.won().await?;
    let status = r#"{"optime":5,"slots":{"b":4},"retain_slots":["b"]}"#;
    ensure!(a.write(&Write::Status(status.to_owned())).await == Written::Done);
    ensure!(a.dcs.release(Some(Lsn(9)), soon()).await == Written::Done);
    ensure!(a.dcs.held().is_none() && a.view()?.lock == Lock::Vacant);
    let told = bench
        .store()
        .await?
        .get(&prefix().key(&Key::Status))
        .await?;
    ensure!(told.as_deref() == Some(&*status.replace("\"optime\":5", "\"optime\":9")));
    // What is not held is not let go, and whoever let go has no last word any more.
    ensure!(a.dcs.release(Some(Lsn(10)), soon()).await == Written::Refused);
    let told = bench
        .store()
        .await?
        .get(&prefix().key(&Key::Status))
        .await?;
    ensure!(told.context("no status")?.contains("\"optime\":9"));
    Ok(())
}

#[tokio::test]
async fn one_claims_the_bootstrap_and_its_claim_dies_with_it() -> Result<()> {
    let bench = Bench::of(1).await?;
    let (mut a, mut b) = (bench.agent("a").await?, bench.agent("b").await?);
    a.lease().await?;
    b.lease().await?;
    ensure!(a.write(&Write::ClaimInitialize).await == Written::Done);
    ensure!(b.write(&Write::ClaimInitialize).await == Written::Refused);
    ensure!(
        b.view()?.initialize == Initialize::Claimed,
        "the refusal tells why"
    );
    ensure!(
        b.write(&Write::UnclaimInitialize).await == Written::Refused,
        "it is not b's"
    );
    ensure!(a.write(&Write::UnclaimInitialize).await == Written::Done);
    ensure!(a.write(&Write::ClaimInitialize).await == Written::Done);
    ensure!(a.dcs.revoke(soon()).await == Written::Done);
    until("the claim is gone", SOON, async || {
        ensure!(b.view()?.initialize == Initialize::Missing);
        Ok(())
    })
    .await?;
    ensure!(b.write(&Write::ClaimInitialize).await == Written::Done);
    let claimed = b.view()?.written[&Key::Initialize].modified;
    let id = SystemId::parse("7000000000000000001").context("an identifier")?;
    let done = Write::Initialize(id.clone(), Some(claimed));
    ensure!(b.write(&done).await == Written::Done);
    // It is the cluster's now, and outlives whoever made it.
    ensure!(b.dcs.revoke(soon()).await == Written::Done);
    until("a knows whose cluster it is", SOON, async || {
        ensure!(a.view()?.initialize == Initialize::Done(id.clone()));
        Ok(())
    })
    .await
}
