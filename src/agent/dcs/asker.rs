//! Asks etcd one question within a deadline, whichever endpoint answers it.
//!
//! The endpoint that the view is followed through is asked first. One that does not answer is left after its share
//! of the time, and the feed leaves it, too. An answer from another store than the view's is no answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use trunkline_core::Moment;
use trunkline_core::cluster::KeyValue;
use trunkline_core::follow::{Change, EndpointId, Header, Trouble};
use trunkline_core::lease::Written;
use trunkline_io::clock;
use trunkline_io::etcd::{Access, Attached, Endpoint};

use super::feed::{Orders, Seen};
use super::question::{Headed, Question};

/// No endpoint is given less time than this, as long as there is any.
const LEAST: Duration = Duration::from_millis(300);
/// No endpoint is given more while there are others.
const MOST: Duration = Duration::from_secs(1);
/// How long to rest once every endpoint was tried in vain.
const REST: Duration = Duration::from_millis(100);

/// Clients of all endpoints, and what is known of the store.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    endpoints: Vec<Endpoint>,
    seen: watch::Receiver<Arc<Seen>>,
    orders: Orders,
}

impl Asker {
    pub(super) fn new(
        endpoints: Vec<Access>,
        seen: watch::Receiver<Arc<Seen>>,
        orders: Orders,
    ) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Endpoint::new).collect(),
            seen,
            orders,
        }
    }

    /// What the feed shows now.
    pub(super) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen.borrow())
    }

    /// The feed's other end.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<Seen>> {
        self.seen.clone()
    }

    pub(super) async fn move_to(&mut self, endpoints: Vec<Access>) {
        self.endpoints = endpoints.iter().cloned().map(Endpoint::new).collect();
        self.orders.moved(endpoints).await;
    }

    /// Asks until there is an answer, going from endpoint to endpoint until `deadline`; then, in words, why not.
    pub(super) async fn ask<Q: Question>(
        &mut self,
        deadline: Moment,
        question: &Q,
    ) -> Result<Q::Answer, String> {
        let count = self.endpoints.len();
        let first = self.seen().endpoint.0;
        let mut troubles = Vec::new();
        for turn in 0_usize.. {
            let left = deadline.since(clock::now());
            if left.is_zero() {
                break;
            }
            let place = (first + turn) % count.max(1);
            let Some(endpoint) = self.endpoints.get_mut(place) else {
                return Err("there is no etcd endpoint to ask".to_owned());
            };
            let known = self.seen.borrow().store;
            let trouble = match question.put_to(endpoint, share(left, count, turn)).await {
                Ok(answer) if is_of(known, answer.header()) => return Ok(answer),
                Ok(_) => Trouble::OtherStore,
                Err(trouble) => trouble,
            };
            let url = self.endpoints.get(place).map_or("", Endpoint::url);
            tracing::debug!(endpoint = url, %trouble, "etcd did not answer");
            // The last words of each endpoint.
            troubles.truncate(count.saturating_sub(1));
            troubles.insert(0, format!("{url}: {trouble}"));
            self.orders.distrust(EndpointId(place), trouble).await;
            if (turn + 1) % count.max(1) == 0 {
                let rest = REST.min(deadline.since(clock::now()));
                tokio::time::sleep(rest).await;
            }
        }
        if troubles.is_empty() {
            return Err("no time was left to ask etcd".to_owned());
        }
        troubles.reverse();
        Err(troubles.join("; "))
    }

    /// What a change came to; the view learns of it before this returns.
    pub(super) async fn attached(&self, key: &str, attached: Result<Attached, String>) -> Written {
        match attached {
            Ok(Attached::Done(header, found)) => {
                self.learnt(key, header, found).await;
                Written::Done
            }
            Ok(Attached::Refused(header, found)) => {
                self.learnt(key, header, found).await;
                self.look_again().await;
                Written::Refused
            }
            Ok(Attached::LeaseGone) => Written::Refused,
            Err(words) => Written::Unreachable(words),
        }
    }

    /// Puts what is known of a key into the view.
    pub(super) async fn learnt(&self, key: &str, header: Header, found: Option<KeyValue>) {
        let change = match found {
            Some(found) => Change::Put(found),
            None => Change::Deleted(key.as_bytes().to_vec(), header.revision),
        };
        self.orders.wrote(change).await;
    }

    /// Has everything listed again: what a write was made from was out of date.
    pub(super) async fn look_again(&self) {
        self.orders.refused().await;
    }
}

/// Whether an answer comes from the store that was known when it was asked for. A member of another cluster, or one
/// put back from a snapshot, knows nothing of this agent's lease and would give it another, and a lock of its own.
fn is_of(known: Option<Header>, header: Option<Header>) -> bool {
    let (Some(known), Some(header)) = (known, header) else {
        return true;
    };
    header.cluster == known.cluster
        && header.revision >= known.revision
        && header.term >= known.term
}

/// How long one endpoint may take: a fair share of what is left in the first round, then whatever is left.
fn share(left: Duration, count: usize, turn: usize) -> Duration {
    let others = u32::try_from(count.saturating_sub(turn).max(1)).unwrap_or(1);
    (left / others).clamp(LEAST, MOST).min(left)
}

#[cfg(test)]
mod tests {
    use trunkline_core::{ClusterId, RaftTerm, Revision};

    use super::*;

    fn header(cluster: u64, revision: i64, term: u64) -> Option<Header> {
        Some(Header {
            cluster: ClusterId(cluster),
            revision: Revision(revision),
            term: RaftTerm(term),
        })
    }

    #[test]
    fn an_answer_of_another_or_an_older_store_is_none() {
        let known = header(1, 10, 3);
        for (answer, believed) in [
            (header(1, 10, 3), true),
            (header(1, 11, 4), true),
            (header(2, 10, 3), false),
            (header(1, 9, 3), false),
            (header(1, 10, 2), false),
            (None, true),
        ] {
            assert_eq!(is_of(known, answer), believed, "{answer:?}");
        }
        assert!(
            is_of(None, header(1, 1, 1)),
            "nothing is known to contradict"
        );
    }

    #[test]
    fn endpoints_share_the_time_and_the_last_has_what_is_left() {
        let ms = Duration::from_millis;
        for (left, count, turn, expected) in [
            (ms(10_000), 3, 0, ms(1_000)),
            (ms(1_500), 3, 0, ms(500)),
            (ms(1_000), 3, 1, ms(500)),
            (ms(500), 3, 2, ms(500)),
            (ms(600), 3, 0, ms(300)),
            (ms(100), 3, 0, ms(100)),
            (ms(900), 1, 5, ms(900)),
        ] {
            assert_eq!(
                share(left, count, turn),
                expected,
                "{left:?} {count} {turn}"
            );
        }
    }
}
