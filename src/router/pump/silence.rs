//! How long a session may be silent, for those that may not for ever.
//!
//! A timer exists only where there is a limit: a client timeout is configured, or one half is closed. It is not set
//! anew with every byte; when it rings, it is asked how long ago the last one was.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How long a half that was closed may stay unanswered while the other half is silent.
const HALF_CLOSED: Duration = Duration::from_secs(15 * 60);

/// The watch over one session's silence.
#[derive(Debug)]
pub struct Silence {
    idle: Option<Duration>,
    timer: Option<Box<Timer>>,
}

#[derive(Debug)]
struct Timer {
    rings: Pin<Box<Sleep>>,
    limit: Duration,
    heard: Instant,
}

impl Silence {
    /// Nothing is to be silent for longer than `idle`.
    #[must_use]
    pub const fn new(idle: Option<Duration>) -> Self {
        Self { idle, timer: None }
    }

    /// Ready when the session has been silent for too long. `has_moved` says whether it was not since the last call.
    pub(super) fn poll_too_long(
        &mut self,
        cx: &mut Context<'_>,
        has_moved: bool,
        is_half_closed: bool,
    ) -> Poll<()> {
        let limit = limit(self.idle, is_half_closed);
        let Some(limit) = limit else {
            return Poll::Pending;
        };
        let timer = match &mut self.timer {
            Some(timer) if timer.limit == limit => timer,
            timer => timer.insert(Box::new(Timer::new(limit))),
        };
        timer.poll(cx, has_moved)
    }
}

impl Timer {
    fn new(limit: Duration) -> Self {
        let heard = Instant::now();
        Self {
            rings: Box::pin(sleep_until(heard + limit)),
            limit,
            heard,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, has_moved: bool) -> Poll<()> {
        if has_moved {
            self.heard = Instant::now();
        }
        loop {
            ready!(self.rings.as_mut().poll(cx));
            let until = self.heard + self.limit;
            if self.rings.deadline() >= until {
                return Poll::Ready(());
            }
            self.rings.as_mut().reset(until);
        }
    }
}

/// How long a session may be silent.
fn limit(idle: Option<Duration>, is_half_closed: bool) -> Option<Duration> {
    if !is_half_closed {
        return idle;
    }
    Some(idle.map_or(HALF_CLOSED, |idle| idle.min(HALF_CLOSED)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::sleep;

    const LIMIT: Duration = Duration::from_millis(60);

    #[tokio::test]
    async fn the_limit_counts_from_the_last_byte_and_not_from_the_last_ring() {
        let mut silence = Silence::new(Some(LIMIT));
        let began = Instant::now();
        let polls = |silence: &mut Silence, cx: &mut Context<'_>, has_moved| {
            silence.poll_too_long(cx, has_moved, false)
        };
        assert!(
            poll_fn(|cx| Poll::Ready(polls(&mut silence, cx, false)))
                .await
                .is_pending()
        );
        sleep(LIMIT / 2).await;
        let last = Instant::now();
        let mut has_moved = true;
        poll_fn(|cx| polls(&mut silence, cx, std::mem::take(&mut has_moved))).await;
        assert!(last.elapsed() >= LIMIT && began.elapsed() >= LIMIT + LIMIT / 2);
    }

    #[tokio::test]
    async fn without_a_limit_there_is_no_timer_until_a_half_is_closed() {
        let mut silence = Silence::new(None);
        let mut polled = async |is_half_closed| {
            let _ =
                poll_fn(|cx| Poll::Ready(silence.poll_too_long(cx, true, is_half_closed))).await;
            silence.timer.is_some()
        };
        assert!(!polled(false).await);
        assert!(polled(true).await);
    }

    #[test]
    fn a_closed_half_has_a_limit_of_its_own_unless_a_shorter_one_is_configured() {
        assert_eq!(limit(None, false), None);
        assert_eq!(limit(None, true), Some(HALF_CLOSED));
        assert_eq!(limit(Some(LIMIT), true), Some(LIMIT));
        assert_eq!(limit(Some(HALF_CLOSED * 2), false), Some(HALF_CLOSED * 2));
        assert_eq!(limit(Some(HALF_CLOSED * 2), true), Some(HALF_CLOSED));
    }
}
