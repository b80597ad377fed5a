//! The leader's machine is gone from the network: no packet comes back from it, no FIN and no RST.

use std::time::Duration;

use anyhow::{Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::moments::{first_write, session_ends};
use trunkline_support::postgres::Sql;

use crate::shared::{LOGIN, clients, measured, note, ready_router};
use crate::wire::{GIVEN_UP, on_the_wire};

const FAULT: Fault = Fault::NodeVanishes;
/// A lease, an election, a promotion.
const FAILOVER: Duration = Duration::from_secs(60);

#[test]
fn sessions_on_a_vanished_leader_end_and_its_clients_go_on_with_the_next() -> Result<()> {
    on_the_wire(async |stand, wire| {
        let mut router = ready_router(stand).await?;
        let clients = clients(FAULT, stand, &router).await?;
        let idle = Sql::connect(router.ports().write, LOGIN).await?;
        let vanished = stand.patroni.leader().await?;
        let host = stand.patroni.node(&vanished)?.host();
        let others = stand.patroni.others(&vanished);

        let cut = wire.silence(host)?;
        let write = [router.ports().write];
        let (ended, straight, routed) = tokio::try_join!(
            session_ends(&idle, GIVEN_UP),
            first_write(&others, FAILOVER),
            first_write(&write, FAILOVER),
        )
        .map_err(|failure| router.with_log(&failure))?;
        cut.mend()?;

        let record = measured(FAULT, clients, stand, &mut router).await?;
        let refused = !record.logins_refused.is_empty();
        ensure!(!refused, "logins were refused: {:?}", record.logins_refused);
        let leader = stand.patroni.leader().await?;
        ensure!(
            leader != vanished,
            "{vanished} leads again, there was no failover"
        );
        let [ended, straight, routed] = [ended, straight, routed].map(|took| took.as_secs_f64());
        note(
            record,
            format!(
                "an idle session ended after {ended:.2} s; first write straight at a node after {straight:.2} s, \
                 through the router after {routed:.2} s"
            ),
        )
    })
}
