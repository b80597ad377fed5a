//! A machine gets the address of one that died: what answers there is not what etcd still tells of.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::postgres::Sql;
use trunkline_support::wait::until;

use crate::shared::{clients, ready_router, unharmed};
use crate::wire::on_the_wire;

const FAULT: Fault = Fault::AddressRecycled;
/// Which cluster a server belongs to.
const WHOSE: &str = "SELECT system_identifier::text FROM pg_control_system()";

#[test]
fn nobody_is_sent_to_another_cluster_at_the_address_of_a_leader_that_died() -> Result<()> {
    on_the_wire(async |stand, wire| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let died = stand.patroni.leader().await?;
        let host = stand.patroni.node(&died)?.host();
        wire.kill(host)?;

        // A primary that answers, says 200 to /primary and takes logins, long before the lease has run out.
        let stranger = stand.stranger_at(&died).await?;
        let told = until(
            "the router tells of the stranger",
            stand.patroni.settings().lease(),
            async || {
                let alarms = router.alarms().await?;
                ensure!(
                    alarms.iter().any(|alarm| alarm.contains("answers")),
                    "{alarms:?}"
                );
                Ok(())
            },
        );
        told.await.map_err(|failure| router.with_log(&failure))?;
        let last = until(
            "the lease has ended",
            stand.patroni.settings().lease(),
            async || {
                let key = stand
                    .etcd
                    .client()
                    .await?
                    .get("/service/demo/leader")
                    .await?;
                // While it is there, the stranger is the one who answers for its holder.
                match Sql::connect(router.ports().write, Duration::from_millis(300)).await {
                    Ok(sql) => Ok(Some(sql.one::<String>(WHOSE).await?)),
                    Err(held) if key.is_some() => Err(held),
                    Err(_held) => Ok(None),
                }
            },
        );
        let landed = last.await.map_err(|failure| router.with_log(&failure))?;
        ensure!(
            landed.is_none(),
            "{:#}",
            router.with_log(&anyhow!("a login landed on the stranger, {landed:?}"))
        );
        // Patroni's members ask at that address too and elect nobody while a primary answers there.
        drop(stranger);
        unharmed(FAULT, clients, stand, &mut router).await?;
        Ok(())
    })
}
