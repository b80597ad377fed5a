//! Creating, dropping and advancing replication slots. Which ones is core's to know; a change that came too late
//! changes nothing.

use trunkline_core::Moment;
use trunkline_core::postgres::Silence;
use trunkline_core::slots::SlotChange;

use super::query::{Session, Target};
use super::sql::literal;

/// Makes these changes, as many of them as can be made; the first failure is returned.
///
/// # Errors
/// When PostgreSQL refuses one of them or is not there.
pub async fn change(
    target: &Target,
    changes: &[SlotChange],
    deadline: Moment,
) -> Result<(), Silence> {
    let options = "-c statement_timeout=0 -c search_path=pg_catalog";
    let mut session = Session::open(target, "Patroni heartbeat", options, deadline).await?;
    let mut first = Ok(());
    for change in changes {
        let made = session.run(&statement(change), deadline).await;
        if let Err(silence) = &made {
            tracing::warn!("{change:?}: {silence}");
        }
        if !session.is_open() {
            return first.and(made);
        }
        first = first.and(made);
    }
    first
}

fn statement(change: &SlotChange) -> String {
    match change {
        SlotChange::Create(name) => {
            let name = literal(name);
            format!(
                "SELECT pg_create_physical_replication_slot({name}, true) WHERE NOT EXISTS \
                 (SELECT 1 FROM pg_replication_slots WHERE slot_name = {name})"
            )
        }
        SlotChange::Drop(name) => format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
             WHERE slot_name = {} AND NOT active",
            literal(name)
        ),
        // Backwards it cannot go: PostgreSQL would call that an error.
        SlotChange::Advance(name, position) => format!(
            "SELECT pg_replication_slot_advance(slot_name, '{position}') FROM pg_replication_slots \
             WHERE slot_name = {} AND NOT active AND restart_lsn < '{position}'",
            literal(name)
        ),
    }
}
