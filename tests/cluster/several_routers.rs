//! Two routers beside each other, as behind a list of hosts or a virtual address: they know nothing of each other.

use anyhow::{Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::router::Router;
use trunkline_support::wait::until;

use crate::shared::{LISTENERS, STEADY, clients_of, measured, ready_router};
use crate::wire::on_the_wire;

const FAULT: Fault = Fault::RouterKilled;

#[test]
fn two_routers_decide_alike_and_clients_of_a_killed_one_go_on_with_the_other() -> Result<()> {
    on_the_wire(async |stand, _wire| {
        let (mut one, mut other) = (ready_router(stand).await?, ready_router(stand).await?);
        let servers = [one.ports().write, other.ports().write];
        let mut clients = clients_of(FAULT, stand, &servers).await?;
        alike(&one, &other).await?;

        let candidate = stand.patroni.candidate().await?;
        stand.patroni.switchover(&candidate).await?;
        clients.all_writing_again(STEADY).await?;
        stand.patroni.wait_steady(STEADY).await?;
        alike(&one, &other).await?;
        for router in [&one, &other] {
            let targets = router.targets("write").await?;
            ensure!(
                targets.contains_key(&candidate),
                "writes go to {targets:?}, {candidate} leads"
            );
        }

        one.process().kill()?;
        let record = measured(FAULT, clients, stand, &mut other).await?;
        // Their list of hosts sent all of them to the first, so each had to move; a login that was under way there
        // is lost with it.
        let killed = one.ports().write.ip().to_string();
        let by_the_other = record
            .logins_refused
            .keys()
            .any(|text| !text.contains(&killed));
        ensure!(!record.cut.is_empty() && !by_the_other, "{record:?}");
        Ok(())
    })
}

/// Both send new sessions of every kind to the same members.
async fn alike(one: &Router, other: &Router) -> Result<()> {
    for listener in LISTENERS {
        until("both routers have the same targets", STEADY, async || {
            let (left, right) = (one.targets(listener).await?, other.targets(listener).await?);
            ensure!(
                left == right && !left.is_empty(),
                "{listener}: {left:?} and {right:?}"
            );
            Ok(())
        })
        .await?;
    }
    Ok(())
}
