//! Waiting for something to become true: a predicate, a bound, and the last status in the failure.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

const PAUSE: Duration = Duration::from_millis(50);

/// Asks `look` again and again until it answers `Ok`, for at most `bound`.
///
/// An `Err` from `look` means "not yet, because …": the last one ends up in the failure, so that
/// its reader learns what was there instead of what was waited for.
pub async fn until<T>(
    what: &str,
    bound: Duration,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    let mut last = anyhow!("the first look took longer than that");
    loop {
        let left = bound.saturating_sub(started.elapsed());
        match tokio::time::timeout(left, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(not_yet)) => last = not_yet,
            Err(_out_of_time) => {}
        }
        if started.elapsed() + PAUSE >= bound {
            return Err(last.context(format!("waited {bound:?} in vain until {what}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks `look` again and again for as long as `time`; its first `Err` is the failure.
pub async fn throughout(
    what: &str,
    time: Duration,
    mut look: impl AsyncFnMut() -> Result<()>,
) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < time {
        if let Err(failure) = look().await {
            let held = started.elapsed();
            return Err(failure.context(format!("after {held:?} it no longer held that {what}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[tokio::test]
    async fn the_failure_names_what_was_waited_for_and_what_was_there_instead() {
        let failure = until("the moon is full", Duration::from_millis(120), async || {
            bail!("it is a crescent") as Result<()>
        })
        .await
        .unwrap_err();
        assert_eq!(
            format!("{failure:#}"),
            "waited 120ms in vain until the moon is full: it is a crescent"
        );
    }

    #[tokio::test]
    async fn a_look_that_never_returns_is_cut_off_at_the_bound() {
        let failure = until(
            "something answers",
            Duration::from_millis(100),
            async || std::future::pending::<Result<()>>().await,
        )
        .await
        .unwrap_err();
        assert!(format!("{failure:#}").contains("waited 100ms in vain until something answers"));
    }

    #[tokio::test]
    async fn the_first_good_look_ends_the_wait() {
        let mut looks = 0;
        let found = until("the third look", Duration::from_secs(5), async || {
            looks += 1;
            if looks < 3 {
                bail!("this was look {looks}");
            }
            Ok(looks)
        })
        .await
        .unwrap();
        assert_eq!(found, 3);
    }
}
