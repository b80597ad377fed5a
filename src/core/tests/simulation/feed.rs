//! The feeds of routers and of our agents: carry out what `Follow` wants asked and hand it the answers, as
//! `io::etcd::Drive` does. What follows from an answer is not theirs.

use std::time::Duration;

use trunkline_core::Moment;
use trunkline_core::cluster::KeyValue;
use trunkline_core::follow::{Ask, Change, EndpointId, Follow, Header, Notice, Outcome, Trouble};

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

/// Somebody's following of etcd.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) follow: Follow,
    /// How often it was begun: timers of an earlier life mean nothing.
    pub(crate) life: u64,
    list: Option<Asking>,
    read: Option<Asking>,
    watching: Option<Watching>,
    /// When its timer rings next.
    due: Option<Moment>,
}

impl Feed {
    pub(crate) const fn new(follow: Follow) -> Self {
        Self {
            follow,
            life: 0,
            list: None,
            read: None,
            watching: None,
            due: None,
        }
    }
}

enum Which {
    List,
    Read,
    Watch,
}

impl World {
    /// Somebody begins to follow, or begins anew.
    pub(crate) fn feed_begins(&mut self, who: Party, follow: Follow) {
        self.etcd.watches.retain(|watch| watch.who != who);
        let feed = self.feed_mut(who);
        let life = feed.life + 1;
        *feed = Feed::new(follow);
        feed.life = life;
    }

    /// Asks what is wanted now, gives up what is not.
    pub(crate) fn pump_feed(&mut self, who: Party) {
        let now = self.now;
        let wants = self.feed_mut(who).follow.wants(now);
        let had = self.feed_mut(who).list.as_ref().map(|asking| asking.ask);
        if wants.list.map(|(ask, _)| ask) != had {
            self.feed_mut(who).list = wants.list.map(|(ask, endpoint)| {
                let what = What::List { linearizable: true };
                self.ask_for(who, ask, endpoint, what)
            });
        }
        let had = self.feed_mut(who).read.as_ref().map(|asking| asking.ask);
        if wants.read.map(|(ask, _)| ask) != had {
            self.feed_mut(who).read = wants
                .read
                .map(|(ask, endpoint)| self.ask_for(who, ask, endpoint, What::Leader));
        }
        let had = self.feed_mut(who).watching.as_ref().map(|it| it.ask);
        if wants.watch.map(|(ask, ..)| ask) != had {
            if let Some(old) = self.feed_mut(who).watching.take() {
                self.etcd.watches.retain(|watch| watch.number != old.number);
            }
            self.feed_mut(who).watching = wants.watch.map(|(ask, endpoint, from)| {
                let watch = self.ask_watch(who, endpoint.0, from);
                self.after(DEADLINE, Event::EtcdTimesOut(who, watch));
                Watching {
                    ask,
                    number: watch,
                    begun: false,
                }
            });
        }
        self.feed_by(who, wants.wake);
    }

    fn ask_for(&mut self, who: Party, ask: Ask, endpoint: EndpointId, what: What) -> Asking {
        let question = self.ask_etcd(who, endpoint.0, what);
        self.after(DEADLINE, Event::EtcdTimesOut(who, question));
        Asking {
            ask,
            endpoint,
            sent: self.now,
            question,
            first: question,
            leader: None,
        }
    }

    fn feed_by(&mut self, who: Party, at: Moment) {
        let feed = self.feed_mut(who);
        if at != Moment::NEVER && feed.due.is_none_or(|due| at < due) {
            feed.due = Some(at);
            let life = feed.life;
            self.at(at, Event::Feed(who, life));
        }
    }

    pub(crate) fn feed_wakes(&mut self, who: Party, life: u64) {
        let now = self.now;
        let feed = self.feed_mut(who);
        if feed.life == life && feed.due.is_some_and(|due| due <= now) {
            feed.due = None;
            self.pump_feed(who);
        }
    }

    /// etcd answered, or ended a watch.
    pub(crate) fn feed_hears(&mut self, who: Party, question: u64, answer: Answer) {
        let Some((which, asking)) = self.asked(who, question) else {
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
                        asking.question = self.ask_etcd(who, place, what);
                        asking.leader = Some((header, leader));
                        self.feed_mut(who).read = Some(asking);
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
        self.feed_takes(who, &which, outcome);
    }

    /// A question or the beginning of a watch took too long.
    pub(crate) fn feed_times_out(&mut self, who: Party, first: u64) {
        let feed = self.feed(who);
        let is = |asking: &Option<Asking>| asking.as_ref().is_some_and(|it| it.first == first);
        let which = if is(&feed.list) {
            Which::List
        } else if is(&feed.read) {
            Which::Read
        } else if let Some(watching) = &feed.watching
            && watching.number == first
            && !watching.begun
        {
            Which::Watch
        } else {
            return;
        };
        self.feed_takes(who, &which, Outcome::Failed(Trouble::TimedOut));
    }

    pub(crate) fn watch_begun(&mut self, who: Party, watch: u64) {
        let watching = self.feed_mut(who).watching.as_mut();
        if let Some(watching) = watching.filter(|watching| watching.number == watch) {
            watching.begun = true;
        }
    }

    pub(crate) fn feed_hears_watch(&mut self, who: Party, watch: u64, changes: Vec<Change>) {
        if self.is_frozen(who) {
            // It waits in the socket, in its order.
            let again = Event::WatchTold(watch, changes, self.now);
            return self.after(Duration::from_millis(100), again);
        }
        let watching = self.feed_mut(who).watching.as_ref();
        if watching.is_some_and(|watching| watching.number == watch) {
            self.feed_takes(who, &Which::Watch, Outcome::Changed(changes));
        }
    }

    /// Whether this question is the feed's.
    pub(crate) fn feed_asked(&self, who: Party, question: u64) -> bool {
        self.asked(who, question).is_some()
    }

    fn asked(&self, who: Party, question: u64) -> Option<(Which, Option<Asking>)> {
        let feed = self.feed(who);
        let of = |asking: &Option<Asking>| asking.clone().filter(|it| it.question == question);
        if let Some(asking) = of(&feed.list) {
            return Some((Which::List, Some(asking)));
        }
        if let Some(asking) = of(&feed.read) {
            return Some((Which::Read, Some(asking)));
        }
        let watching = feed.watching.as_ref();
        watching
            .is_some_and(|watching| watching.number == question)
            .then_some((Which::Watch, None))
    }

    fn feed_takes(&mut self, who: Party, which: &Which, outcome: Outcome) {
        let jitter = self.chance.fraction();
        let now = self.now;
        let feed = self.feed_mut(who);
        let ask = match which {
            Which::List => feed.list.as_ref().map(|asking| asking.ask),
            Which::Read => feed.read.as_ref().map(|asking| asking.ask),
            Which::Watch => feed.watching.as_ref().map(|watching| watching.ask),
        };
        let Some(ask) = ask else { return };
        let sent = match which {
            Which::List | Which::Watch => None,
            Which::Read => feed.read.as_ref().map(|asking| asking.sent),
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
        feed.follow.take(ask, outcome, now, jitter);
        let dated = feed.follow.reading().fresh().map(|(_, asked)| asked);
        let too_late = dated.zip(sent).filter(|(dated, sent)| dated > sent);
        let notices = feed.follow.notices();
        for notice in notices {
            match notice {
                Notice::Left(..) => self.tally.hit("an etcd endpoint left"),
                Notice::Rebuilt => {
                    self.tally.hit("a store found rebuilt");
                    self.trace(|| format!("{who:?}: another store"));
                }
            }
        }
        self.trace(|| format!("{who:?}: {line}"));
        if let Some((dated, sent)) = too_late {
            self.fails(|| format!("{who:?}: P1 of {sent} counts as of {dated}"));
        }
        self.pump_feed(who);
        match who {
            Party::Router(number) => self.look_soon(number),
            Party::Node(number) => self.agent_sees(number),
            Party::Etcd(_) => {}
        }
    }

    fn is_frozen(&self, who: Party) -> bool {
        match who {
            Party::Router(number) => self.routers[number].frozen,
            Party::Node(number) => self.nodes[number].agent.frozen,
            Party::Etcd(number) => self.etcd.members[number].frozen,
        }
    }

    pub(crate) fn feed(&self, who: Party) -> &Feed {
        match who {
            Party::Router(number) => &self.routers[number].feed,
            Party::Node(number) | Party::Etcd(number) => &self.nodes[number].feed,
        }
    }

    pub(crate) fn feed_mut(&mut self, who: Party) -> &mut Feed {
        match who {
            Party::Router(number) => &mut self.routers[number].feed,
            Party::Node(number) | Party::Etcd(number) => &mut self.nodes[number].feed,
        }
    }
}
