//! Endpoints that do not answer.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use trunkline_core::lease::Renewal;
use trunkline_io::clock;
use trunkline_support::wait::until;

use crate::bench::{Bench, SOON, TTL};

#[tokio::test]
async fn a_frozen_endpoint_costs_its_share_of_the_deadline_and_then_nothing() -> Result<()> {
    let mut bench = Bench::of(3).await?;
    let mut a = bench.agent("a").await?;
    a.won().await?;
    let frozen = a.dcs.views().borrow().endpoint.0;
    let leader = bench.etcd.leader().await?;
    bench.etcd.process(frozen)?.freeze()?;
    let asked = clock::now();
    let deadline = asked.after(SOON);
    let renewal = a.dcs.renew(TTL, deadline).await;
    if leader != frozen {
        ensure!(matches!(renewal, Renewal::Confirmed(..)), "{renewal:?}");
        ensure!(
            clock::now().since(asked) < SOON / 3,
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
    let (asked, bound) = (clock::now(), Duration::from_secs(4));
    let renewal = a.dcs.renew(TTL, asked.after(bound)).await;
    let took = clock::now().since(asked);
    let Renewal::Unreachable(words) = renewal else {
        bail!("{renewal:?}");
    };
    ensure!(took >= bound && took < bound * 2, "{took:?}");
    for endpoint in bench.etcd.endpoints() {
        ensure!(words.contains(&endpoint.to_string()), "{words}");
    }
    // Silence proves nothing, neither that the lock is held nor that it is lost.
    ensure!(a.dcs.held() == held);
    bench.etcd.thaw()
}
