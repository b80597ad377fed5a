//! The feed: carries out what `Follow` wants asked and hands it the answers, as `src/router/feed.rs` does.

use std::time::Duration;

use trunkline_core::Moment;
use trunkline_core::cluster::KeyValue;
use trunkline_core::follow::{Ask, Change, EndpointId, Header, Notice, Outcome, Trouble};

use crate::etcd::{Answer, What};
use crate::events::Event;
use crate::network::Party;
use crate::world::World;

/// How long a question may take (`io::etcd`).
const DEADLINE: Duration = Duration::from_secs(1);

/// A question under way.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    ask: Ask,
    endpoint: EndpointId,
    sent: Moment,
    /// The number etcd answers to.
    question: u64,
    /// The number its deadline was set for.
    first: u64,
    /// The leader key, while its lease is asked about.
    leader: Option<(Header, Option<KeyValue>)>,
}

/// A watch under way.
#[derive(Clone, Debug)]
pub(crate) struct Watching {
    ask: Ask,
    number: u64,
    begun: bool,
}

enum Which {
    List,
    Read,
    Watch,
}

impl World {
    /// Asks what is wanted now, gives up what is not.
    pub(crate) fn pump_feed(&mut self, number: usize) {
        let wants = self.routers[number].follow.wants(self.now);
        let had = self.routers[number].list.as_ref().map(|asking| asking.ask);
        if wants.list.map(|(ask, _)| ask) != had {
            self.routers[number].list = wants.list.map(|(ask, endpoint)| {
                let what = What::List { linearizable: true };
                self.ask_for(number, ask, endpoint, what)
            });
        }
        let had = self.routers[number].read.as_ref().map(|asking| asking.ask);
        if wants.read.map(|(ask, _)| ask) != had {
            self.routers[number].read = wants
                .read
                .map(|(ask, endpoint)| self.ask_for(number, ask, endpoint, What::Leader));
        }
        let had = self.routers[number].watching.as_ref().map(|it| it.ask);
        if wants.watch.map(|(ask, ..)| ask) != had {
            if let Some(old) = self.routers[number].watching.take() {
                self.etcd.watches.retain(|watch| watch.number != old.number);
            }
            self.routers[number].watching = wants.watch.map(|(ask, endpoint, from)| {
                let watch = self.ask_watch(number, endpoint.0, from);
                self.after(DEADLINE, Event::EtcdTimesOut(number, watch));
                Watching {
                    ask,
                    number: watch,
                    begun: false,
                }
            });
        }
        self.feed_by(number, wants.wake);
    }

    fn ask_for(&mut self, number: usize, ask: Ask, endpoint: EndpointId, what: What) -> Asking {
        let question = self.ask_etcd(Party::Router(number), endpoint.0, what);
        self.after(DEADLINE, Event::EtcdTimesOut(number, question));
        Asking {
            ask,
            endpoint,
            sent: self.now,
            question,
            first: question,
            leader: None,
        }
    }

    fn feed_by(&mut self, number: usize, at: Moment) {
        let router = &mut self.routers[number];
        if at != Moment::NEVER && router.feed_at.is_none_or(|due| at < due) {
            router.feed_at = Some(at);
            let life = router.life;
            self.at(at, Event::Feed(number, life));
        }
    }

    pub(crate) fn feed_wakes(&mut self, number: usize, life: u64) {
        let router = &mut self.routers[number];
        if router.life == life && router.feed_at.is_some_and(|due| due <= self.now) {
            router.feed_at = None;
            self.pump_feed(number);
        }
    }

    /// etcd answered, or ended a watch.
    pub(crate) fn feed_hears(&mut self, number: usize, question: u64, answer: Answer) {
        let Some((which, asking)) = self.asked(number, question) else {
            return;
        };
        let outcome = match (answer, asking) {
            (Answer::Failed(why), _) => Outcome::Failed(match which {
                Which::Watch => Trouble::WatchEnded(why.to_owned()),
                Which::List | Which::Read => Trouble::Failed(why.to_owned()),
            }),
            (Answer::Listed(header, keys), _) => Outcome::Listed(header, keys),
            (Answer::Leader(header, leader), Some(mut asking)) => {
                let lease = leader.as_ref().and_then(|kv| kv.lease);
                match lease {
                    None => Outcome::Read(header, leader, None),
                    Some(lease) => {
                        let what = What::Lease(lease.0);
                        let place = asking.endpoint.0;
                        asking.question = self.ask_etcd(Party::Router(number), place, what);
                        asking.leader = Some((header, leader));
                        self.routers[number].read = Some(asking);
                        return;
                    }
                }
            }
            (Answer::Lease(left), Some(asking)) => match asking.leader {
                Some((header, leader)) => Outcome::Read(header, leader, Some(left)),
                None => return,
            },
            (_, _) => return,
        };
        self.feed_takes(number, &which, outcome);
    }

    /// A question or the beginning of a watch took too long.
    pub(crate) fn feed_times_out(&mut self, number: usize, first: u64) {
        let router = &self.routers[number];
        let is = |asking: &Option<Asking>| asking.as_ref().is_some_and(|it| it.first == first);
        let which = if is(&router.list) {
            Which::List
        } else if is(&router.read) {
            Which::Read
        } else if let Some(watching) = &router.watching
            && watching.number == first
            && !watching.begun
        {
            Which::Watch
        } else {
            return;
        };
        self.feed_takes(number, &which, Outcome::Failed(Trouble::TimedOut));
    }

    pub(crate) fn watch_begun(&mut self, number: usize, watch: u64) {
        let watching = self.routers[number].watching.as_mut();
        if let Some(watching) = watching.filter(|watching| watching.number == watch) {
            watching.begun = true;
        }
    }

    pub(crate) fn router_hears_watch(&mut self, number: usize, watch: u64, changes: Vec<Change>) {
        if self.routers[number].frozen {
            // It waits in the socket, in its order.
            let again = Event::WatchTold(watch, changes, self.now);
            return self.after(Duration::from_millis(100), again);
        }
        let watching = self.routers[number].watching.as_ref();
        if watching.is_some_and(|watching| watching.number == watch) {
            self.feed_takes(number, &Which::Watch, Outcome::Changed(changes));
        }
    }

    fn asked(&self, number: usize, question: u64) -> Option<(Which, Option<Asking>)> {
        let router = &self.routers[number];
        let of = |asking: &Option<Asking>| asking.clone().filter(|it| it.question == question);
        if let Some(asking) = of(&router.list) {
            return Some((Which::List, Some(asking)));
        }
        if let Some(asking) = of(&router.read) {
            return Some((Which::Read, Some(asking)));
        }
        let watching = router.watching.as_ref();
        watching
            .is_some_and(|watching| watching.number == question)
            .then_some((Which::Watch, None))
    }

    fn feed_takes(&mut self, number: usize, which: &Which, outcome: Outcome) {
        let jitter = self.chance.fraction();
        let router = &mut self.routers[number];
        let ask = match which {
            Which::List => router.list.as_ref().map(|asking| asking.ask),
            Which::Read => router.read.as_ref().map(|asking| asking.ask),
            Which::Watch => router.watching.as_ref().map(|watching| watching.ask),
        };
        let Some(ask) = ask else { return };
        let sent = match which {
            Which::List | Which::Watch => None,
            Which::Read => router.read.as_ref().map(|asking| asking.sent),
        };
        let line = match &outcome {
            Outcome::Listed(header, _) => format!("list answered at {}", header.revision),
            Outcome::Changed(changes) => format!("watch told of {} changes", changes.len()),
            Outcome::Read(header, leader, left) => format!(
                "lock read at {}: {:?} {left:?}",
                header.revision,
                leader.as_ref().map(|kv| String::from_utf8_lossy(&kv.value))
            ),
            Outcome::Failed(trouble) => format!("etcd: {trouble}"),
        };
        router.follow.take(ask, outcome, self.now, jitter);
        let dated = router.follow.reading().fresh().map(|(_, asked)| asked);
        let too_late = dated.zip(sent).filter(|(dated, sent)| dated > sent);
        for notice in router.follow.notices() {
            match notice {
                Notice::Left(..) => self.tally.hit("an etcd endpoint left"),
                Notice::Rebuilt => {
                    self.tally.hit("a store found rebuilt");
                    self.trace(|| format!("router {number}: another store"));
                }
            }
        }
        self.trace(|| format!("router {number}: {line}"));
        if let Some((dated, sent)) = too_late {
            self.fails(|| format!("router {number}: P1 of {sent} counts as of {dated}"));
        }
        self.pump_feed(number);
        self.look_soon(number);
    }
}
