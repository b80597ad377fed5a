//! The cluster whose hosts can be cut off, frozen and killed, and what more than one test asks of it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use trunkline_support::netns::Wire;
use trunkline_support::patroni::Settings;
use trunkline_support::stand::Stand;

use crate::shared::{CLUSTER, STEADY};

/// A router gives up a member after three silent seconds; by then even a busy machine has told everybody.
pub(crate) const GIVEN_UP: Duration = Duration::from_secs(10);

/// A cluster on a wire that tests take turns with.
pub(crate) type Shared = Mutex<Option<(Wire, Stand)>>;

static HOSTS: Shared = Mutex::new(None);

/// Runs `test` at the hub of a wire with a cluster on it, steady and with all its members up.
///
/// As with the other cluster a test that fails takes it along, and all tests take turns.
pub(crate) fn on_the_wire(
    test: impl AsyncFnOnce(&mut Stand, &Wire) -> Result<()> + Send,
) -> Result<()> {
    on_a_wire(&HOSTS, settings, test)
}

/// The same with a cluster of these settings, kept in `shared` for the next test.
pub(crate) fn on_a_wire(
    shared: &Shared,
    settings: impl FnOnce() -> Settings + Send,
    test: impl AsyncFnOnce(&mut Stand, &Wire) -> Result<()> + Send,
) -> Result<()> {
    let _turn = CLUSTER.blocking_lock();
    let kept = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (wire, stand) = match kept {
        Some((wire, stand)) => (wire, Some(stand)),
        None => (Wire::lay()?, None),
    };
    let stand = wire.run(async || {
        let mut stand = match stand {
            Some(stand) => stand,
            None => Stand::start_on(Box::new(wire.clone()), settings()).await?,
        };
        stand.patroni.wait_steady(STEADY).await?;
        test(&mut stand, &wire).await?;
        Ok(stand)
    })?;
    *shared.lock().unwrap_or_else(PoisonError::into_inner) = Some((wire, stand));
    Ok(())
}

/// As short as Patroni allows: most of these tests wait for a lease to run out.
fn settings() -> Settings {
    Settings {
        ttl: 20,
        loop_wait: 1,
        retry_timeout: 3,
        synchronous_mode: true,
        ssl: true,
        ..Settings::default()
    }
}
