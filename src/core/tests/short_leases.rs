//! A lease of three seconds, which is the shortest there is: who renews it in time keeps the sessions, and who does
//! not loses them with it. etcd is followed as it is in earnest, so the moments it is asked at are core's.
#![allow(clippy::expect_used, reason = "a test that cannot go on ends there")]

mod world;

use std::time::Duration;

use trunkline_core::config::router::{Bind, Listener, To};
use trunkline_core::follow::{Ask, Follow, Header, Outcome};
use trunkline_core::keys::Prefix;
use trunkline_core::probe::{Accepts, NoAnswer};
use trunkline_core::route::Residence;
use trunkline_core::{ClusterId, MemberName, Moment, RaftTerm, Revision, Scope};
use world::node::Document;
use world::{SCOPE, World};

const TTL: Duration = Duration::from_secs(3);

/// How often its PostgreSQL is asked.
const POLL: Duration = Duration::from_millis(250);

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A leader whose REST API is silent and whose PostgreSQL accepts, so that its lease is all that proves it; and a
/// router that follows etcd.
struct Silent {
    world: World,
    follow: Follow,
    asking: Option<Asking>,
    reads: u32,
}

/// A proof read under way.
struct Asking {
    ask: Ask,
    /// When etcd answers it, and what.
    at: Moment,
    answer: Option<Outcome>,
    /// When that arrives.
    arrives: Moment,
}

impl Silent {
    /// It was proven while its REST API answered.
    fn new() -> Self {
        let mut world = World::new();
        let write = Listener::new("write", vec![Bind::any(5000)], To::Primary);
        world.cluster.listeners.push(write);
        world.add_member("pg-1");
        world.lock("pg-1");
        world.node("pg-1").rest = Ok(Document::new("pg-1", 200, "primary", "running"));
        world.run(Duration::from_secs(3));
        world.node("pg-1").rest = Err(NoAnswer::Refused);
        world.node("pg-1").accepts = Ok(Accepts::Yes);
        // Its own last word has carried its sessions for as long as it does.
        world.run(Duration::from_secs(4));
        world.etcd.granted = TTL;
        let mut follow = Follow::new(Prefix::new("service", &Scope::from(SCOPE)), 1, world.now);
        let (ask, _) = follow.wants(world.now).list.expect("a listing");
        let keys = world.etcd.keys().cloned().collect();
        follow.take(ask, Outcome::Listed(header(), keys), world.now, 0.5);
        Self {
            world,
            follow,
            asking: None,
            reads: 0,
        }
    }

    /// Whether sessions with the leader may live.
    fn is_kept(&self) -> bool {
        let table = self.world.table.as_ref().expect("the router looked");
        table.pools[0].residents.iter().any(|(target, residence)| {
            let lives = match residence {
                Residence::Stay => true,
                Residence::Until(until) => self.world.now < *until,
                Residence::End => false,
            };
            target.member == MemberName::from("pg-1") && lives
        })
    }

    /// Time goes on to `end`, or to the end of the sessions. etcd takes `slow` to answer, half of it on the way there.
    fn goes_on(&mut self, end: Moment, slow: Duration) -> bool {
        let mut polled = self.world.now;
        while self.is_kept() && self.world.now < end {
            let now = self.world.now;
            let wants = self.follow.wants(now);
            if let (Some((ask, _)), None) = (wants.read, &self.asking) {
                self.reads += 1;
                let (at, arrives) = (now.after(slow / 2), now.after(slow));
                let answer = None;
                self.asking = Some(Asking {
                    ask,
                    at,
                    answer,
                    arrives,
                });
            }
            let etcd = self
                .asking
                .as_ref()
                .map_or(Moment::NEVER, |asking| match asking.answer {
                    None => asking.at,
                    Some(_) => asking.arrives,
                });
            let again = self.world.table.as_ref().expect("it looked").again;
            let next = [etcd, wants.wake, again, polled.after(POLL), end];
            let next = next.into_iter().min().expect("a moment");
            self.world.now = next.max(now);
            self.etcd_answers();
            if self.world.now >= polled.after(POLL) {
                polled = self.world.now;
                self.world.ask("pg-1");
            }
            let _ = self.world.look();
        }
        self.is_kept()
    }

    fn etcd_answers(&mut self) {
        let Some(mut asking) = self.asking.take() else {
            return;
        };
        if asking.answer.is_none() && self.world.now >= asking.at {
            let leader = self.world.etcd.get("leader").cloned().expect("the lock");
            let left = self.world.etcd.lease_left(&leader, self.world.now);
            asking.answer = Some(Outcome::Read(header(), Some(leader), left));
        }
        match asking.answer {
            Some(answer) if self.world.now >= asking.arrives => {
                self.follow.take(asking.ask, answer, self.world.now, 0.5);
                self.world.hears(self.follow.reading().clone());
            }
            answer => self.asking = Some(Asking { answer, ..asking }),
        }
    }
}

fn header() -> Header {
    Header {
        cluster: ClusterId(1),
        revision: Revision(100),
        term: RaftTerm(1),
    }
}

/// How slow etcd is, and how long ago the lease was last renewed when all begins.
fn cases() -> impl Iterator<Item = (Duration, Duration)> {
    [2, 100, 450]
        .into_iter()
        .flat_map(|slow| (0..10).map(move |phase| (ms(slow), ms(97 * phase))))
}

#[test]
fn a_silent_leader_that_renews_a_lease_of_three_seconds_in_time_keeps_its_sessions() {
    // Every second, a little later, and in the last moment before its agent would demote itself.
    for every in [1_000, 1_007, 1_300, 1_990].map(ms) {
        for (slow, phase) in cases() {
            let mut leader = Silent::new();
            let mut renewed = leader.world.now.before(phase);
            let end = leader.world.now.after(Duration::from_secs(20));
            while leader.world.now < end {
                leader.world.etcd.lease_ends = Some(renewed.after(TTL));
                renewed = renewed.after(every);
                let kept = leader.goes_on(renewed, slow);
                assert!(
                    kept,
                    "renewed every {every:?}, etcd answers in {slow:?}, from {phase:?}: ended at {}",
                    leader.world.now
                );
            }
            assert!(leader.reads < 20 * 4, "{} questions", leader.reads);
        }
    }
}

#[test]
fn a_silent_leader_that_renews_no_more_loses_its_sessions_before_its_lease_ends() {
    for (slow, phase) in cases() {
        let mut leader = Silent::new();
        let ends = leader.world.now.before(phase).after(TTL);
        leader.world.etcd.lease_ends = Some(ends);
        assert!(leader.is_kept());
        let kept = leader.goes_on(ends, slow);
        assert!(!kept, "etcd answers in {slow:?}, from {phase:?}");
        assert!(leader.world.now < ends);
    }
}
