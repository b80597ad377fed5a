//! The leader's machine freezes, as a virtual machine does that its host forgets for half a minute, and goes on
//! when another node leads: it still believes that the lock is its own.

use anyhow::{Result, ensure};
use trunkline_support::faults::Fault;
use trunkline_support::moments::session_ends;
use trunkline_support::postgres::Sql;

use crate::shared::{LOGIN, STEADY, clients, measured, ready_router};
use crate::wire::{GIVEN_UP, on_the_wire};

const FAULT: Fault = Fault::NodeFrozen;

#[test]
fn no_write_reaches_a_frozen_leader_that_is_thawed_after_the_failover() -> Result<()> {
    on_the_wire(async |stand, wire| {
        let mut router = ready_router(stand).await?;
        let mut clients = clients(FAULT, stand, &router).await?;
        let idle = Sql::connect(router.ports().write, LOGIN).await?;
        let frozen = stand.patroni.leader().await?;

        let freeze = wire.freeze(stand.patroni.node(&frozen)?.host())?;
        let given_up = session_ends(&idle, GIVEN_UP).await;
        given_up.map_err(|failure| router.with_log(&failure))?;
        let moved = clients.all_writing_again(STEADY).await;
        moved.map_err(|failure| router.with_log(&failure))?;
        freeze.thaw()?;

        let record = measured(FAULT, clients, stand, &mut router).await?;
        ensure!(
            record.logins_refused.is_empty(),
            "logins were refused: {:?}",
            record.logins_refused
        );
        let leader = stand.patroni.leader().await?;
        ensure!(
            leader != frozen,
            "{frozen} leads again, there was no failover"
        );
        Ok(())
    })
}
