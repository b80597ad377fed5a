//! Watching the router's process while a test loads it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::{Mutex, MutexGuard};
use trunkline_support::vitals::Vitals;
use trunkline_support::wait::until;

use crate::stand::{SOON, Stand};

/// Held by a test that takes all the machine there is, or measures what another one would take away.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::const_new(());
    MACHINE.lock().await
}

/// A look at the router.
pub(crate) fn look(stand: &mut Stand) -> Result<Vitals> {
    Vitals::of(stand.router.process().pid())
}

/// The fewest descriptors the router has while it has nothing to do: now and then a question to a member is one more.
pub(crate) async fn at_rest(stand: &mut Stand) -> Result<Vitals> {
    settled(stand).await?;
    let mut least = look(stand)?;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(25)).await;
        let now = look(stand)?;
        if now.descriptors < least.descriptors {
            least = now;
        }
    }
    Ok(least)
}

/// Waits until the router has no client.
pub(crate) async fn settled(stand: &Stand) -> Result<()> {
    until("the router has no client left", SOON, async || {
        let stats = stand.router.stats().await?;
        let listeners = stats["clusters"][0]["listeners"].as_array();
        for listener in listeners.context("no listeners")? {
            ensure!(listener["clients"] == 0, "{listener}");
            for member in listener["members"].as_array().into_iter().flatten() {
                ensure!(member["sessions"] == 0, "{listener}");
            }
        }
        Ok(())
    })
    .await
}

/// Waits until the router has no more descriptors than at rest, and no more pipes than `pipe_ends`.
pub(crate) async fn nothing_is_left(stand: &mut Stand, rest: Vitals) -> Result<Vitals> {
    settled(stand).await?;
    until("no descriptor is left over", SOON, async || {
        let now = look(stand)?;
        // Whatever the router keeps for later is a pipe, and there is a bound for those.
        let (had, has) = (
            rest.descriptors - rest.pipe_ends,
            now.descriptors - now.pipe_ends,
        );
        ensure!(has <= had, "{has} descriptors where there were {had}");
        Ok(now)
    })
    .await
}
