//! The agent's etcd against a real one: the lease, the lock, and what the view shows of one's own writes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::Notify;
use trunkline_agent::dcs::{self, Dcs};
use trunkline_core::cluster::{ClusterView, Initialize, Lock};
use trunkline_core::ha::Write;
use trunkline_core::keys::{Key, Prefix};
use trunkline_core::lease::{Acquisition, Held, Keeping, Lease, Renewal, Written};
use trunkline_core::wire::config::DynamicConfig;
use trunkline_core::{Lsn, Moment, Scope, SystemId};
use trunkline_io::clock;
use trunkline_io::etcd::Access;
use trunkline_io::shutdown::Tasks;
use trunkline_support::etcd::{Etcd, Store};
use trunkline_support::parts::Parts;
use trunkline_support::ports::Loopback;
use trunkline_support::wait::until;
use trunkline_support::workdir::WorkDir;

const TTL: Duration = Duration::from_secs(3);
const SOON: Duration = Duration::from_secs(5);

/// A real etcd, and agents that use it.
struct Bench {
    etcd: Etcd,
    tasks: Tasks,
    /// Keeps its addresses to itself while it lives.
    _loopback: Loopback,
}

/// One agent's handle.
struct Agent {
    dcs: Dcs,
    wake: Arc<Notify>,
}

impl Bench {
    async fn of(members: u8) -> Result<Self> {
        let loopback = Loopback::lease()?;
        let workdir = Arc::new(WorkDir::new()?);
        let etcd = Etcd::start(members, &Parts::find()?, &loopback, &workdir).await?;
        Ok(Self {
            etcd,
            tasks: Tasks::new(),
            _loopback: loopback,
        })
    }

    /// An agent that has seen what there is.
    async fn agent(&self, name: &str) -> Result<Agent> {
        let endpoints = self.etcd.endpoints().into_iter().map(access).collect();
        let wake = Arc::new(Notify::new());
        let dcs = dcs::start(
            prefix(),
            name.into(),
            DynamicConfig::default(),
            endpoints,
            Arc::clone(&wake),
            &self.tasks,
        )?;
        let agent = Agent { dcs, wake };
        until("the cluster was listed", SOON, async || {
            agent.dcs.view().fresh().context("it was not")?;
            Ok(())
        })
        .await?;
        Ok(agent)
    }

    async fn store(&self) -> Result<Store> {
        self.etcd.client().await
    }
}

impl Agent {
    async fn lease(&mut self) -> Result<Lease> {
        match self.dcs.keep_lease(TTL, soon()).await {
            Keeping::Kept(lease) => Ok(lease),
            Keeping::Unreachable(words) => bail!("{words}"),
        }
    }

    async fn won(&mut self) -> Result<(Lease, Held)> {
        match self.dcs.acquire(TTL, soon()).await {
            Acquisition::Won(lease, held) => Ok((lease, held)),
            other @ (Acquisition::Lost | Acquisition::Unreachable(_)) => bail!("{other:?}"),
        }
    }

    async fn confirmed(&mut self) -> Result<(Lease, Held)> {
        match self.renewal().await {
            Renewal::Confirmed(lease, held) => Ok((lease, held)),
            other @ (Renewal::Lost { .. } | Renewal::Unreachable(_)) => bail!("{other:?}"),
        }
    }

    async fn renewal(&mut self) -> Renewal {
        self.dcs.renew(TTL, soon()).await
    }

    async fn write(&mut self, write: &Write) -> Written {
        self.dcs.write(write, soon()).await
    }

    fn view(&self) -> Result<ClusterView> {
        self.dcs.view().value().cloned().context("no view")
    }

    fn holder(&self) -> Result<Option<String>> {
        Ok(self.view()?.lock.tenure().map(|it| it.holder.to_string()))
    }

    /// Whether it was woken since it was last asked.
    async fn was_woken(&self) -> bool {
        let woken = tokio::time::timeout(Duration::ZERO, self.wake.notified());
        woken.await.is_ok()
    }

    async fn is_woken(&self) -> Result<()> {
        tokio::time::timeout(SOON, self.wake.notified())
            .await
            .context("nobody woke it")
    }
}

fn access(address: SocketAddr) -> Access {
    Access {
        host: address.ip().to_string(),
        port: address.port(),
        tls: None,
        user: None,
    }
}

fn prefix() -> Prefix {
    Prefix::new("/service", &Scope::from("demo"))
}

fn soon() -> Moment {
    clock::now().after(SOON)
}

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
    let (mut a, mut b) = (bench.agent("a").await?, bench.agent("b").await?);
    let (_, held) = a.won().await?;
    until("b sees that a holds the lock", SOON, async || {
        ensure!(b.holder()?.as_deref() == Some("a"));
        Ok(())
    })
    .await?;
    b.was_woken().await;
    b.lease().await?;
    until("the key is gone", TTL * 3, async || {
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
    let mut a = bench.agent("a").await?;
    a.lease().await?;
    ensure!(a.renewal().await == Renewal::Lost { holder: None });
    // Nor by who had, once that is over: others may have led and gone meanwhile.
    a.won().await?;
    until("its lease has ended", TTL * 3, async || {
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

#[tokio::test]
async fn a_frozen_endpoint_costs_its_share_of_the_deadline_and_then_nothing() -> Result<()> {
    let mut bench = Bench::of(3).await?;
    let mut a = bench.agent("a").await?;
    a.won().await?;
    let frozen = a.dcs.views().borrow().endpoint.0;
    let leader = bench.etcd.leader().await?;
    bench.etcd.process(frozen)?.freeze()?;
    let asked = clock::now();
    let deadline = clock::now().after(Duration::from_secs(3));
    let renewal = a.dcs.renew(TTL, deadline).await;
    if leader != frozen {
        ensure!(matches!(renewal, Renewal::Confirmed(..)), "{renewal:?}");
        ensure!(
            clock::now().since(asked) < Duration::from_millis(1_500),
            "{:?}",
            clock::now().since(asked)
        );
    }
    until("the lock is renewed at once again", SOON * 2, async || {
        let asked = clock::now();
        a.lease().await?;
        ensure!(
            clock::now().since(asked) < Duration::from_millis(250),
            "{:?}",
            clock::now().since(asked)
        );
        Ok(())
    })
    .await?;
    until("the view is followed through another", SOON, async || {
        ensure!(a.dcs.view().fresh().is_some() && a.dcs.views().borrow().endpoint.0 != frozen);
        Ok(())
    })
    .await?;
    bench.etcd.process(frozen)?.thaw()
}

#[tokio::test]
async fn without_any_endpoint_the_answer_comes_by_the_deadline_and_names_them_all() -> Result<()> {
    let mut bench = Bench::of(3).await?;
    let mut a = bench.agent("a").await?;
    a.won().await?;
    let held = a.dcs.held();
    bench.etcd.freeze()?;
    let (asked, bound) = (clock::now(), Duration::from_secs(1));
    let renewal = a.dcs.renew(TTL, clock::now().after(bound)).await;
    let took = clock::now().since(asked);
    let Renewal::Unreachable(words) = renewal else {
        bail!("{renewal:?}");
    };
    ensure!(
        took >= bound && took < bound + Duration::from_millis(300),
        "{took:?}"
    );
    for endpoint in bench.etcd.endpoints() {
        ensure!(words.contains(&endpoint.to_string()), "{words}");
    }
    // Silence proves nothing, neither that the lock is held nor that it is lost.
    ensure!(a.dcs.held() == held);
    bench.etcd.thaw()
}
