//! A switch that is looked at once in a session's life, not at every turn.
//!
//! A cancellation token has locks, and every session of a target would take them with every message it moves, from
//! every worker. Here the token wakes the session through a bell of its own; whether it rang is one look at memory
//! that nobody else writes to.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Rings when the session is to look at its switch, and wakes it.
struct Bell {
    rang: AtomicBool,
    session: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Before the waking: who wakes finds that it rang.
        self.rang.store(true, Ordering::Release);
        self.session.wake_by_ref();
    }
}

/// A future that is polled only when it is first met and when it says that it has news.
#[derive(Default)]
pub(super) struct Ear(Option<Arc<Bell>>);

impl Ear {
    /// Ready when `switch` is. The same `switch` every time.
    pub(super) fn poll_rings(
        &mut self,
        cx: &Context<'_>,
        switch: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<()> {
        let bell = match &self.0 {
            // Whoever polls has moved to another task, should the waker differ: the bell has to ring there.
            Some(bell) if bell.session.will_wake(cx.waker()) => {
                if !bell.rang.load(Ordering::Acquire) {
                    return Poll::Pending;
                }
                // Before the switch is polled: what rings from now on is news again.
                bell.rang.store(false, Ordering::Release);
                Arc::clone(bell)
            }
            Some(_) | None => {
                let bell = Arc::new(Bell {
                    rang: AtomicBool::new(false),
                    session: cx.waker().clone(),
                });
                self.0 = Some(Arc::clone(&bell));
                bell
            }
        };
        switch.poll(&mut Context::from_waker(&Waker::from(bell)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::pin::pin;
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn a_switch_that_fires_while_nobody_looks_is_heard_at_the_next_look() {
        let token = CancellationToken::new();
        let polls = Cell::new(0);
        let mut fires = pin!(token.cancelled());
        let mut switch = pin!(poll_fn(|cx| {
            polls.set(polls.get() + 1);
            fires.as_mut().poll(cx)
        }));
        let mut ear = Ear::default();
        let mut look =
            async || poll_fn(|cx| Poll::Ready(ear.poll_rings(cx, switch.as_mut()))).await;
        for _ in 0..100 {
            assert_eq!(look().await, Poll::Pending);
        }
        assert_eq!(polls.get(), 1, "it was polled without news");
        token.cancel();
        assert_eq!(look().await, Poll::Ready(()));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let token = CancellationToken::new();
        let mut fires = pin!(token.cancelled());
        let mut ear = Ear::default();
        let waiting = poll_fn(|cx| ear.poll_rings(cx, fires.as_mut()));
        let firing = async {
            tokio::task::yield_now().await;
            token.cancel();
        };
        tokio::join!(waiting, firing);
    }

    #[tokio::test]
    async fn a_switch_that_has_fired_before_is_heard_at_the_first_look() {
        let token = CancellationToken::new();
        token.cancel();
        let mut fires = pin!(token.cancelled());
        let mut ear = Ear::default();
        poll_fn(|cx| ear.poll_rings(cx, fires.as_mut())).await;
    }
}
