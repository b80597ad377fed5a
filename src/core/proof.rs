//! What is proven of the lock, and until when. Every stamp is when the *question was sent*.
//!
//! P1 is a linearizable read of the leader key with what is left of its lease; P2 an answer of a member's REST
//! API; P3 PostgreSQL's own answer to a start-up packet. None of them is a fact about now: each is a fact about
//! the moment it was asked for, and carries its own end.

use std::time::Duration;

use crate::cluster::{KeyValue, Lock, Tenure};
use crate::follow::EndpointId;
use crate::{LeaseId, Moment, StoreNumber};

/// How long after it was sent a proof read still shows that etcd can be asked.
pub const P1_LIVE: Duration = Duration::from_secs(3);
/// How long after it was sent a member's own word carries its sessions while etcd cannot be asked.
pub const P2_CARRIES: Duration = Duration::from_secs(3);

/// How long after a proof read was sent the next is due, while nothing is about to end.
const STEADY: Duration = Duration::from_secs(1);
/// The same where the lease is in its last second, or over: four questions a second are the most that anybody asks.
const BRISK: Duration = Duration::from_millis(250);

/// How much earlier than the lease D is, besides what clocks may differ.
const TO_SPARE: Duration = Duration::from_secs(1);

/// What etcd says of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseLeft {
    /// Which lease was asked about.
    pub lease: LeaseId,
    /// Whole seconds left; -1 when it is gone.
    pub left: i64,
    /// Seconds it was granted for.
    pub granted: i64,
}

/// One proof read: the leader key and its lease, asked together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When the first of the two requests was sent.
    pub asked: Moment,
    /// Which endpoint answered.
    pub endpoint: EndpointId,
    /// For which store.
    pub store: StoreNumber,
    /// The leader key.
    pub leader: Option<KeyValue>,
    /// Its lease.
    pub lease: Option<LeaseLeft>,
}

impl Reading {
    /// When the lock is to be read again: four times within what etcd said is left of the lease, so that a renewal is
    /// seen before what was proven earlier is over.
    ///
    /// etcd rounds down. Of a lease of three seconds that its holder renews every second it says 2, or 1 where it is
    /// asked a moment before the renewal, and then sessions live for 990 ms after that question. Whoever renews while a
    /// second or more is left, as an agent does that does not demote itself, is seen to have done so in time if answers
    /// take less than half of that.
    #[must_use]
    pub fn read_again(&self) -> Moment {
        let left = self
            .lease
            .map_or(STEADY * 4, |lease| seconds(lease.left.max(0)));
        self.asked.after((left / 4).clamp(BRISK, STEADY))
    }
}

/// P1: proof that a tenure's lock was held, and until when it cannot have ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockProof {
    /// Whose.
    pub tenure: Tenure,
    /// When the read was sent.
    pub asked: Moment,
    /// D: before this moment the lease cannot have run out.
    pub deadline: Moment,
    /// The lease's whole length.
    pub ttl: Duration,
}

impl LockProof {
    /// What `reading` proves; `None` where it proves nothing (nobody holds the lock, or the lease's answer is not
    /// one of a living lease of that key).
    #[must_use]
    pub fn of(reading: &Reading) -> Option<Self> {
        let lock = Lock::of(reading.leader.as_ref(), reading.store);
        let Lock::Held {
            tenure,
            lease: Some(lease),
        } = lock
        else {
            return None;
        };
        let left = reading.lease?;
        if left.lease != lease || left.left <= 0 || left.left > left.granted {
            return None;
        }
        let ttl = seconds(left.left);
        // One in a hundred for clocks that run at different speeds.
        let margin = TO_SPARE + ttl / 100;
        Some(Self {
            tenure,
            asked: reading.asked,
            deadline: reading.asked.after(ttl).before(margin),
            ttl: seconds(left.granted),
        })
    }

    /// Whether this still shows, at `now`, that `tenure` holds the lock and that etcd can be asked.
    #[must_use]
    pub fn is_live(&self, tenure: &Tenure, now: Moment) -> bool {
        self.tenure == *tenure && now < self.expires()
    }

    /// Before this moment the lease cannot have ended either: etcd rounds down what it says is left. Not to be relied
    /// on for anything new.
    #[must_use]
    pub const fn lasts(&self) -> Moment {
        self.deadline.after(TO_SPARE)
    }

    /// The moment this proof is no longer live.
    #[must_use]
    pub fn expires(&self) -> Moment {
        self.asked.after(P1_LIVE).min(self.deadline)
    }
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(count.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Revision;

    fn reading(left: i64, granted: i64, lease: i64) -> Reading {
        Reading {
            asked: Moment::from_boot(Duration::from_secs(100)),
            endpoint: EndpointId(0),
            store: StoreNumber::FIRST,
            leader: Some(KeyValue {
                key: b"/service/demo/leader".to_vec(),
                value: b"a".to_vec(),
                created: Revision(5),
                modified: Revision(5),
                lease: Some(LeaseId(7)),
            }),
            lease: Some(LeaseLeft {
                lease: LeaseId(lease),
                left,
                granted,
            }),
        }
    }

    #[test]
    fn the_deadline_counts_from_the_sending_less_a_margin() {
        let proof = LockProof::of(&reading(20, 30, 7)).unwrap();
        assert_eq!(
            proof.deadline,
            Moment::from_boot(Duration::from_millis(118_800))
        );
        assert_eq!(proof.expires(), Moment::from_boot(Duration::from_secs(103)));
    }

    #[test]
    fn a_lease_that_is_gone_or_impossible_or_another_key_s_proves_nothing() {
        for (left, granted, lease) in [(-1, 30, 7), (0, 30, 7), (31, 30, 7), (20, 30, 8)] {
            assert_eq!(LockProof::of(&reading(left, granted, lease)), None);
        }
    }

    #[test]
    fn a_lease_is_read_four_times_before_it_may_end_and_no_more_than_four_times_a_second() {
        for (left, after) in [
            (29, 1_000),
            (4, 1_000),
            (3, 750),
            (2, 500),
            (1, 250),
            (0, 250),
            (-1, 250),
            (i64::MIN, 250),
        ] {
            let reading = reading(left, 30, 7);
            let after = Duration::from_millis(after);
            assert_eq!(reading.read_again(), reading.asked.after(after), "{left}");
        }
        let vacant = Reading {
            leader: None,
            lease: None,
            ..reading(1, 30, 7)
        };
        assert_eq!(vacant.read_again(), vacant.asked.after(STEADY));
    }

    #[test]
    fn a_lease_about_to_end_is_proven_no_longer_than_it_lasts() {
        let proof = LockProof::of(&reading(2, 30, 7)).unwrap();
        assert_eq!(
            proof.expires(),
            Moment::from_boot(Duration::from_millis(100_980))
        );
    }
}
