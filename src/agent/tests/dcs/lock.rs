//! The lease and the lock: who gets it, until when it is held, and how it is lost.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use trunkline_core::Revision;
use trunkline_core::cluster::Lock;
use trunkline_core::keys::Key;
use trunkline_core::lease::{Acquisition, Keeping, Renewal, Written};
use trunkline_io::clock;
use trunkline_support::wait::until;

use crate::bench::{Agent, Bench, SHORT, SOON, TTL, access, prefix, soon};

#[tokio::test]
async fn of_two_that_race_for_the_lock_one_gets_it_and_both_see_at_once_who() -> Result<()> {
    let bench = Bench::of(1).await?;
    let (mut a, mut b) = (bench.agent("a").await?, bench.agent("b").await?);
    let before = clock::now();
    let (of_a, of_b) = tokio::join!(a.dcs.acquire(TTL, soon()), b.dcs.acquire(TTL, soon()));
    let (winner, loser, name, lease, held) = match (of_a, of_b) {
        (Acquisition::Won(lease, held), Acquisition::Lost) => (a, b, "a", lease, held),
        (Acquisition::Lost, Acquisition::Won(lease, held)) => (b, a, "b", lease, held),
        other => bail!("{other:?}"),
    };
    let (mut winner, mut loser) = (winner, loser);
    ensure!(winner.holder()?.as_deref() == Some(name) && loser.holder()?.as_deref() == Some(name));
    ensure!(winner.dcs.held() == Some(held) && loser.dcs.held().is_none());
    ensure!(lease.granted == TTL && held.granted == TTL);
    ensure!(before <= held.confirmed && held.confirmed <= clock::now());
    let (_, renewed) = winner.confirmed().await?;
    ensure!(renewed.began == held.began && renewed.confirmed > held.confirmed);
    let lost = Renewal::Lost {
        holder: Some(name.into()),
    };
    ensure!(loser.renewal().await == lost);
    Ok(())
}

#[tokio::test]
async fn a_lock_that_nobody_renews_ends_no_sooner_than_its_stamp_says_and_wakes_the_others()
-> Result<()> {
    let bench = Bench::of(1).await?;
    let mut a = bench.agent_with(SHORT, "a").await?;
    let mut b = bench.agent("b").await?;
    let (_, held) = a.won().await?;
    until("b sees that a holds the lock", SOON, async || {
        ensure!(b.holder()?.as_deref() == Some("a"));
        Ok(())
    })
    .await?;
    b.was_woken().await;
    b.lease().await?;
    until("the key is gone", SOON, async || {
        b.lease().await?;
        ensure!(b.view()?.lock == Lock::Vacant);
        Ok(())
    })
    .await?;
    ensure!(clock::now() >= held.ends(), "it ended before its time");
    b.is_woken().await?;
    b.won().await?;
    // a was away for so long that what it had proven is over: the lock is b's.
    ensure!(
        a.renewal().await
            == Renewal::Lost {
                holder: Some("b".into())
            }
    );
    ensure!(a.dcs.held().is_none());
    Ok(())
}

#[tokio::test]
async fn a_leader_key_deleted_by_hand_is_put_again_and_begins_another_tenure() -> Result<()> {
    let bench = Bench::of(1).await?;
    let mut a = bench.agent("a").await?;
    let (_, held) = a.won().await?;
    bench.store().await?.delete(&prefix().leader()).await?;
    let (_, renewed) = a.confirmed().await?;
    ensure!(renewed.began > held.began, "{renewed:?} after {held:?}");
    Ok(())
}

#[tokio::test]
async fn a_missing_leader_key_is_not_put_by_who_has_proven_nothing() -> Result<()> {
    let bench = Bench::of(1).await?;
    let mut a = bench.agent_with(SHORT, "a").await?;
    a.lease().await?;
    ensure!(a.renewal().await == Renewal::Lost { holder: None });
    // Nor by who had, once that is over: others may have led and gone meanwhile.
    a.won().await?;
    until("its lease has ended", SOON, async || {
        ensure!(a.view()?.lock == Lock::Vacant);
        Ok(())
    })
    .await?;
    ensure!(a.renewal().await == Renewal::Lost { holder: None });
    ensure!(
        bench
            .store()
            .await?
            .get(&prefix().leader())
            .await?
            .is_none()
    );
    Ok(())
}

#[tokio::test]
async fn a_leader_key_that_names_another_is_lost_whatever_lease_it_hangs_on() -> Result<()> {
    let bench = Bench::of(1).await?;
    let mut a = bench.agent("a").await?;
    let (lease, _) = a.won().await?;
    let mut store = bench.store().await?;
    store.put(&prefix().leader(), "b", Some(lease.id.0)).await?;
    ensure!(
        a.renewal().await
            == Renewal::Lost {
                holder: Some("b".into())
            }
    );
    ensure!(a.dcs.release(None, soon()).await == Written::Refused);
    ensure!(store.get(&prefix().leader()).await?.as_deref() == Some("b"));
    Ok(())
}

#[tokio::test]
async fn an_agent_that_comes_back_within_the_lease_goes_on_with_the_same_tenure() -> Result<()> {
    let bench = Bench::of(1).await?;
    let mut died = bench.agent("a").await?;
    let (old, held) = died.won().await?;
    let mut back = bench.agent("a").await?;
    ensure!(back.holder()?.as_deref() == Some("a"));
    let (new, renewed) = back.confirmed().await?;
    ensure!(renewed.began == held.began && new.id != old.id);
    // The key has left the old lease: its end takes nothing along.
    ensure!(died.dcs.revoke(soon()).await == Written::Done);
    back.confirmed().await?;
    Ok(())
}

#[tokio::test]
async fn another_ttl_means_another_lease_and_the_lock_moves_to_it() -> Result<()> {
    let bench = Bench::of(1).await?;
    let mut a = bench.agent("a").await?;
    let (old, held) = a.won().await?;
    let longer = TTL * 3;
    let Renewal::Confirmed(new, renewed) = a.dcs.renew(longer, soon()).await else {
        bail!("not confirmed");
    };
    ensure!(new.id != old.id && new.wanted == longer && renewed.granted == longer);
    ensure!(renewed.began == held.began);
    Ok(())
}

#[tokio::test]
async fn a_ttl_below_etcds_floor_counts_as_what_etcd_granted() -> Result<()> {
    let bench = Bench::of(1).await?;
    let mut a = bench.agent("a").await?;
    let Keeping::Kept(lease) = a.dcs.keep_lease(Duration::from_secs(1), soon()).await else {
        bail!("no lease");
    };
    ensure!(lease.granted > lease.wanted, "{lease:?}");
    let Keeping::Kept(kept) = a.dcs.keep_lease(Duration::from_secs(1), soon()).await else {
        bail!("no lease");
    };
    ensure!(
        kept.id == lease.id,
        "it asked for another because of the floor"
    );
    Ok(())
}

#[tokio::test]
async fn a_lease_that_another_leader_of_etcd_kept_alive_is_kept_alive_anew_before_it_proves_a_lock()
-> Result<()> {
    let mut bench = Bench::of(3).await?;
    let mut a = bench.agent("a").await?;
    let leader = bench.etcd.leader().await?;
    a.lease().await?;
    a.lease().await?;
    Box::pin(bench.etcd.hand_lead_to((leader + 1) % 3)).await?;
    let moved = clock::now();
    // Little enough time has passed that the lease would do, had etcd not elected meanwhile.
    let (_, held) = a.won().await?;
    ensure!(
        held.confirmed >= moved,
        "{held:?} was confirmed by the earlier leader"
    );
    Ok(())
}

#[tokio::test]
async fn a_lock_is_let_go_only_as_it_was_last_proven() -> Result<()> {
    let bench = Bench::of(1).await?;
    let mut a = bench.agent("a").await?;
    let (lease, _) = a.won().await?;
    let mut store = bench.store().await?;
    store.put(&prefix().leader(), "a", Some(lease.id.0)).await?;
    let refused = a.dcs.release(None, soon()).await;
    ensure!(refused == Written::Refused, "{refused:?}");
    a.confirmed().await?;
    let released = a.dcs.release(None, soon()).await;
    ensure!(released == Written::Done, "{released:?}");
    ensure!(a.holder()?.is_none());
    Ok(())
}

/// Such a word may reach etcd at any time, or never: from a member of etcd that was frozen, say.
#[tokio::test]
async fn a_word_that_lets_go_and_was_not_answered_has_no_effect_once_the_lock_is_proven_again()
-> Result<()> {
    let bench = Bench::of(1).await?;
    let mut a = bench.agent("a").await?;
    let (_, held) = a.won().await?;
    let changed = |a: &Agent| -> Result<Revision> {
        let view = a.view()?;
        let written = view.written.get(&Key::Leader);
        Ok(written.context("no leader key")?.modified)
    };
    let before = changed(&a)?;
    let there = bench.etcd.endpoints().into_iter().map(access).collect();
    a.dcs.move_to(vec![access("127.0.0.1:1".parse()?)]).await;
    let released = a.dcs.release(None, clock::now().after(TTL / 10)).await;
    ensure!(matches!(released, Written::Unreachable(_)), "{released:?}");
    a.dcs.move_to(there).await;
    let (_, again) = a.confirmed().await?;
    ensure!(again.began == held.began, "another tenure: {again:?}");
    let after = changed(&a)?;
    ensure!(after > before, "it is as it was when it was let go");
    a.confirmed().await?;
    ensure!(changed(&a)? == after, "it is put each time");
    Ok(())
}
