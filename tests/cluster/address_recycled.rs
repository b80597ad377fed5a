//! A machine gets the address of one that died: what answers there is not what etcd still tells of.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::netns::Wire;
use trunkline_support::patroni::Node;
use trunkline_support::postgres::Sql;
use trunkline_support::wait::{throughout, until};

use crate::shared::{STEADY, clients, ready_router, unharmed};
use crate::wire::on_the_wire;

const FAULT: Fault = Fault::AddressRecycled;
/// Patroni stops PostgreSQL in order.
const STOP: Duration = Duration::from_secs(60);
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

#[test]
fn members_that_exchange_their_addresses_are_served_at_the_new_ones_and_never_taken_for_each_other()
-> Result<()> {
    on_the_wire(async |stand, wire| {
        let router = ready_router(stand).await?;
        let leader = stand.patroni.leader().await?;
        let replicas = stand
            .patroni
            .nodes()
            .iter()
            .filter(|node| node.name() != leader);
        let places: Vec<_> = replicas
            .map(|node| (node.name().to_owned(), Address::of(node)))
            .collect();
        let [(gone, old), (moved, new)] = &places[..] else {
            bail!("there are {} replicas", places.len())
        };

        // One dies without a word, so that its key stays; the other comes back where it was.
        wire.kill(old.host)?;
        let node = stand.patroni.node_mut(moved)?;
        node.stop(STOP).await?;
        old.take(node, wire)?;
        let told = until("the router tells who answers there", STEADY, async || {
            let alarms = router.alarms().await?;
            let telling = format!("REST address of {gone}: another member answers: {moved}");
            ensure!(
                alarms.iter().any(|alarm| alarm.contains(&telling)),
                "{alarms:?}"
            );
            Ok(())
        });
        told.await.map_err(|failure| router.with_log(&failure))?;
        throughout(
            "the one that is gone gets no readers",
            Duration::from_secs(2),
            async || {
                let targets = router.targets("read").await?;
                ensure!(!targets.contains_key(gone), "readers go to {targets:?}");
                Ok(())
            },
        )
        .await?;

        // Patroni ends at once for as long as its name is in etcd and somebody answers there; it is started again, as a
        // supervisor does.
        new.take(stand.patroni.node_mut(gone)?, wire)?;
        let wanted = BTreeMap::from([
            (gone.clone(), new.postgresql.to_string()),
            (moved.clone(), old.postgresql.to_string()),
        ]);
        let follows = until("both are served where they are now", STEADY, async || {
            let node = stand.patroni.node_mut(gone)?;
            if !node.is_running()? {
                node.start()?;
            }
            let targets = router.targets("read").await?;
            ensure!(
                targets == wanted,
                "it has {targets:?}, {:?}",
                router.alarms().await?
            );
            Ok(())
        });
        follows.await.map_err(|failure| router.with_log(&failure))
    })
}

/// Where a member runs.
struct Address {
    host: IpAddr,
    postgresql: SocketAddr,
    rest: u16,
}

impl Address {
    fn of(node: &Node) -> Self {
        Self {
            host: node.host(),
            postgresql: node.postgresql(),
            rest: node.rest().port(),
        }
    }

    /// Starts a node that does not run there.
    fn take(&self, node: &mut Node, wire: &Wire) -> Result<()> {
        node.move_to(
            wire,
            wire.number(self.host)?,
            (self.postgresql.port(), self.rest),
        )?;
        node.start()
    }
}
