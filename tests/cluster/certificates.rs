//! etcd and the nodes' REST APIs speak TLS and let nobody in without a certificate.

use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::http;

use crate::shared::{LOGIN, clients, on_a_cluster_with_tls, ready_router, unharmed};

const FAULT: Fault = Fault::SwitchoverTls;

#[tokio::test]
async fn a_cluster_that_asks_for_certificates_is_followed_like_any_other() -> Result<()> {
    on_a_cluster_with_tls(async |stand| {
        let mut router = ready_router(stand).await?;
        let leader = stand.patroni.leader().await?;
        let in_clear = http::get(stand.patroni.node(&leader)?.rest(), "/primary").await;
        ensure!(in_clear.is_err(), "REST answers in clear: {in_clear:?}");

        let mut clients = clients(FAULT, stand, &router).await?;
        let candidate = stand.patroni.candidate().await?;
        stand.patroni.switchover(&candidate).await?;
        clients.all_writing_again(Duration::from_secs(60)).await?;
        // The router has to find its way into another member.
        let dead = stand.etcd.leader().await?;
        stand.etcd.kill(dead)?;
        clients.write_for(Duration::from_secs(5)).await?;
        stand.etcd.restart(dead).await?;
        unharmed(FAULT, clients, stand, &mut router).await?;
        let landed = stand.landing(router.ports().write, LOGIN).await?;
        ensure!(
            landed == candidate,
            "the write port leads to {landed}, {candidate} leads"
        );
        Ok(())
    })
    .await
}
