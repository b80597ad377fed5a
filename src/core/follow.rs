//! Following etcd, sans-IO: what to ask which endpoint next, and what the answers add up to.
//!
//! The caller carries out [`Follow::wants`] (a listing, a watch, a proof read: at most one of each in flight),
//! hands every outcome to [`Follow::take`] with the number of the question it answers, and asks again. Nothing
//! is waited for here; `now` is an argument. Experience of others with etcd that shaped this: watches end
//! silently, lose events or go back in time; a member cut off from its cluster goes on serving what it had. So
//! every listing and every proof read is linearizable, a listing is repeated every ten seconds and the watch
//! begun anew from it, per key only newer revisions count, and an endpoint that errs, is slow, or answers with
//! an older raft term is left.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::{ClusterView, KeyValue, Lock, Understood};
use crate::keys::Prefix;
use crate::memory::Memory;
use crate::proof::Reading;
use crate::wire::config::DynamicConfig;
use crate::{Moment, Observed, Revision, StoreNumber, SystemId};

mod endpoints;
mod words;
mod writes;

pub use endpoints::EndpointId;
use endpoints::{Endpoints, Leaving, Newest, Verdict};
pub use words::{Ask, Change, Header, Notice, Outcome, Trouble, Wants};

/// How long after one listing the next is due, before jitter.
const RELIST: Duration = Duration::from_secs(10);

/// The state of following one prefix.
#[derive(Clone, Debug)]
pub struct Follow {
    prefix: Prefix,
    endpoints: Endpoints,
    store: StoreNumber,
    keys: BTreeMap<Vec<u8>, Known>,
    listed: Option<Revision>,
    view: Observed<ClusterView, Trouble>,
    reading: Observed<Reading, Trouble>,
    config: DynamicConfig,
    understood: Understood,
    system_id: Option<SystemId>,
    asks: u64,
    list: Slot,
    watch: Option<(Ask, Revision)>,
    proves: bool,
    read: Slot,
    at_once: bool,
    elsewhere: bool,
    notices: Vec<Notice>,
}

/// A key as far as it is known: its value (or that it is gone) and up to which revision that holds.
#[derive(Clone, Debug)]
struct Known {
    value: Option<KeyValue>,
    as_of: Revision,
}

/// A question that is repeated: in flight, or due at a moment.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Due(Moment),
    InFlight(InFlight),
}

/// A question under way, and what was known of the store when it was sent.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    ask: Ask,
    endpoint: EndpointId,
    sent: Moment,
    newest: Newest,
}

impl Follow {
    /// Begins to follow `prefix` through `endpoints` of them, nothing known yet.
    #[must_use]
    pub fn new(prefix: Prefix, endpoints: usize, now: Moment) -> Self {
        Self {
            prefix,
            endpoints: Endpoints::new(endpoints),
            store: StoreNumber::FIRST,
            keys: BTreeMap::new(),
            listed: None,
            view: Observed::Unknown {
                since: now,
                cause: Trouble::NotAsked,
            },
            reading: Observed::Unknown {
                since: now,
                cause: Trouble::NotAsked,
            },
            config: DynamicConfig::default(),
            understood: Understood::default(),
            system_id: None,
            asks: 0,
            list: Slot::Due(now),
            watch: None,
            proves: true,
            read: Slot::Due(now),
            at_once: false,
            elsewhere: false,
            notices: Vec::new(),
        }
    }

    /// The same, with what was remembered of the cluster until etcd has answered.
    #[must_use]
    pub fn remembering(mut self, view: ClusterView, now: Moment) -> Self {
        self.config = view.config.clone();
        self.system_id.clone_from(&view.system_id);
        self.view = Observed::Stale {
            value: view,
            asked: Moment::BOOT,
            since: now,
            cause: Trouble::NotAsked,
        };
        self
    }

    /// The same without proof reads: for whoever proves its own lock by renewing it.
    #[must_use]
    pub const fn without_proof(mut self) -> Self {
        self.proves = false;
        self
    }

    /// What is worth remembering; nothing before etcd was listed.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        self.listed?;
        let keys = self.keys.values().filter_map(|known| known.value.as_ref());
        Some(Memory::of(&self.prefix, keys))
    }

    /// What is believed of the cluster, and when etcd was last asked for all of it.
    #[must_use]
    pub const fn view(&self) -> &Observed<ClusterView, Trouble> {
        &self.view
    }

    /// The last proof read.
    #[must_use]
    pub const fn reading(&self) -> &Observed<Reading, Trouble> {
        &self.reading
    }

    /// The endpoint asked now.
    #[must_use]
    pub const fn endpoint(&self) -> EndpointId {
        self.endpoints.current()
    }

    /// The newest that was seen of the store; nothing before etcd has answered.
    #[must_use]
    pub fn store(&self) -> Option<Header> {
        self.endpoints.store()
    }

    /// What happened since the last call that an operator should read.
    pub fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Somebody contradicts what etcd said: read the lock again at once, from another endpoint.
    pub const fn doubt(&mut self, now: Moment) {
        if let Slot::Due(_) = self.read {
            self.read = Slot::Due(now);
        }
        self.at_once = true;
        self.elsewhere = true;
    }

    /// The endpoints are others from now on, `count` of them. What is known stays known; whether they have the same
    /// store, their answers will show.
    pub fn moved(&mut self, count: usize, now: Moment) {
        self.endpoints.replace(count);
        self.watch = None;
        self.list = Slot::Due(now);
        self.read = Slot::Due(now);
        self.elsewhere = false;
    }

    /// What should be asked now. Questions named for the first time count as sent at `now`.
    pub fn wants(&mut self, now: Moment) -> Wants {
        let ready = self.endpoints.ready();
        let mut wake = Moment::NEVER;
        if let Slot::Due(at) = self.list {
            if now >= at.max(ready) {
                self.list = self.send(self.endpoints.current(), now);
            } else {
                wake = wake.min(at.max(ready));
            }
        }
        if let Slot::Due(at) = self.read
            && self.proves
        {
            if now >= at.max(ready) {
                self.at_once = false;
                let elsewhere = std::mem::take(&mut self.elsewhere);
                let current = self.endpoints.current();
                let endpoint = if elsewhere {
                    self.endpoints.another()
                } else {
                    current
                };
                self.read = self.send(endpoint, now);
            } else {
                wake = wake.min(at.max(ready));
            }
        }
        let in_flight = |slot: Slot| match slot {
            Slot::InFlight(sent) => Some((sent.ask, sent.endpoint)),
            Slot::Due(_) => None,
        };
        Wants {
            list: in_flight(self.list),
            watch: self
                .watch
                .map(|(ask, from)| (ask, self.endpoints.current(), from)),
            read: in_flight(self.read),
            wake,
        }
    }

    fn send(&mut self, endpoint: EndpointId, now: Moment) -> Slot {
        let (ask, newest) = (self.number(), self.endpoints.newest());
        Slot::InFlight(InFlight {
            ask,
            endpoint,
            sent: now,
            newest,
        })
    }

    /// Takes in an outcome of question `ask`; outcomes of questions no longer asked are dropped.
    ///
    /// `jitter` in 0..=1 spreads the listings of several routers.
    pub fn take(&mut self, ask: Ask, outcome: Outcome, now: Moment, jitter: f64) {
        if let Slot::InFlight(sent) = self.list
            && sent.ask == ask
        {
            self.list = Slot::Due(now.after(RELIST.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0))));
            match outcome {
                Outcome::Listed(header, keys) => self.listed(sent, header, keys, now),
                other @ (Outcome::Changed(_) | Outcome::Read(..) | Outcome::Failed(_)) => {
                    self.failed(sent.endpoint, trouble_of(other), now);
                }
            }
        } else if let Slot::InFlight(sent) = self.read
            && sent.ask == ask
        {
            // Of one that fails, another endpoint is asked at once.
            self.read = Slot::Due(now);
            match outcome {
                Outcome::Read(header, leader, lease) => {
                    let (asked, endpoint) = (sent.sent, sent.endpoint);
                    let reading = Reading {
                        asked,
                        endpoint,
                        store: self.store,
                        leader,
                        lease,
                    };
                    if !self.at_once {
                        self.read = Slot::Due(reading.read_again().max(now));
                    }
                    self.proof_read(sent, header, reading, now);
                }
                other @ (Outcome::Listed(..) | Outcome::Changed(_) | Outcome::Failed(_)) => {
                    self.failed(sent.endpoint, trouble_of(other), now);
                }
            }
        } else if self.watch.is_some_and(|(watching, _)| watching == ask) {
            match outcome {
                Outcome::Changed(changes) => self.changed(changes, now),
                other @ (Outcome::Listed(..) | Outcome::Read(..) | Outcome::Failed(_)) => {
                    self.watch = None;
                    self.failed(self.endpoints.current(), trouble_of(other), now);
                }
            }
        }
    }

    fn listed(&mut self, sent: InFlight, header: Header, keys: Vec<KeyValue>, now: Moment) {
        if !self.accept(sent, header, now) {
            return;
        }
        let mut listed: BTreeMap<_, _> = keys.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        for (key, known) in &mut self.keys {
            if known.as_of <= header.revision {
                *known = Known {
                    value: listed.remove(key),
                    as_of: header.revision,
                };
            } else {
                listed.remove(key);
            }
        }
        for (key, kv) in listed {
            self.keys.insert(
                key,
                Known {
                    value: Some(kv),
                    as_of: header.revision,
                },
            );
        }
        // What is gone needs no memory of its own: nothing older than this listing is believed of any key.
        self.keys
            .retain(|_, known| known.value.is_some() || known.as_of > header.revision);
        self.listed = Some(
            self.listed
                .map_or(header.revision, |had| had.max(header.revision)),
        );
        // The watch begins anew from every listing: one that died without a word is so noticed in ten seconds.
        self.watch = Some((self.number(), header.revision.next()));
        self.publish(sent.sent);
    }

    fn changed(&mut self, changes: Vec<Change>, now: Moment) {
        let before = self.lock();
        for change in changes {
            self.learn(change);
        }
        // An event says what is so, never until when: the view's age stays that of the last listing.
        let asked = self.view.asked().unwrap_or(now);
        self.publish(asked);
        if before != self.lock() {
            // A new tenure wants a proof of its own at once; a read under way may have missed the change.
            self.at_once = true;
            if let Slot::Due(_) = self.read {
                self.read = Slot::Due(now);
            }
        }
    }

    /// Takes in a change of one key, unless something newer is known of it.
    fn learn(&mut self, change: Change) {
        let revision = change.revision();
        let newest = self.listed.unwrap_or_default();
        let known = self
            .keys
            .get(change.key())
            .map_or(newest, |known| known.as_of);
        if revision <= known {
            return;
        }
        // Whoever is asked from now on and has not come as far answers from a store that was put back.
        self.endpoints.saw(revision);
        let key = change.key().to_vec();
        let value = match change {
            Change::Put(kv) => Some(kv),
            Change::Deleted(..) => None,
        };
        self.keys.insert(
            key,
            Known {
                value,
                as_of: revision,
            },
        );
    }

    fn proof_read(&mut self, sent: InFlight, header: Header, reading: Reading, now: Moment) {
        if !self.accept(sent, header, now) {
            return;
        }
        let key = self.prefix.leader().into_bytes();
        let newest = self.listed.unwrap_or_default();
        let known = self.keys.get(&key).map_or(newest, |known| known.as_of);
        if self.listed.is_some() && header.revision >= known {
            let value = reading.leader.clone();
            self.keys.insert(
                key,
                Known {
                    value,
                    as_of: header.revision,
                },
            );
            let asked = self.view.asked().unwrap_or(reading.asked);
            self.publish(asked);
        }
        // A read answered before the last event on the key proves nothing of the present tenure.
        if header.revision >= known {
            let asked = reading.asked;
            self.reading.answered(reading, asked);
        }
    }

    fn accept(&mut self, sent: InFlight, header: Header, now: Moment) -> bool {
        match self
            .endpoints
            .answered(sent.endpoint, header, sent.newest, now)
        {
            Verdict::Fine => true,
            Verdict::Leave(trouble) => {
                self.failed(sent.endpoint, trouble, now);
                false
            }
            Verdict::Rebuilt => {
                self.notices.push(Notice::Rebuilt);
                self.forget(now);
                false
            }
        }
    }

    /// The store is another one: revisions of the old one mean nothing any more, and neither do its keys.
    fn forget(&mut self, now: Moment) {
        self.store = self.store.next();
        self.keys.clear();
        self.listed = None;
        // Until the new store is listed it has no leader key: what the old one proved is over.
        self.publish(self.view.asked().unwrap_or(now));
        self.watch = None;
        self.list = Slot::Due(now);
        self.read = Slot::Due(now);
    }

    fn failed(&mut self, endpoint: EndpointId, trouble: Trouble, now: Moment) {
        self.view = self.view.clone().unanswered(trouble.clone(), now);
        self.reading = self.reading.clone().unanswered(trouble.clone(), now);
        let leaving = self.endpoints.leave(endpoint, now);
        if leaving == Leaving::Left {
            self.notices.push(Notice::Left(endpoint, trouble));
        }
        if leaving != Leaving::WasNotPresent {
            self.watch = None;
            // What is in flight to the endpoint that was left is not waited for.
            self.list = Slot::Due(now);
            if let Slot::InFlight(sent) = self.read
                && sent.endpoint == endpoint
            {
                self.read = Slot::Due(now);
            }
        }
        if let Slot::Due(_) = self.read {
            self.read = Slot::Due(now);
        }
    }

    fn lock(&self) -> Lock {
        self.view
            .value()
            .map(|view| view.lock.clone())
            .unwrap_or_default()
    }

    fn publish(&mut self, asked: Moment) {
        let value = self.parsed();
        self.view = Observed::Fresh { value, asked };
    }

    fn parsed(&mut self) -> ClusterView {
        let keys = self.keys.values().filter_map(|known| known.value.as_ref());
        let (config, known) = (&self.config, &mut self.understood);
        let mut view = ClusterView::parse_again(&self.prefix, self.store, keys, config, known);
        self.config = view.config.clone();
        // A store that was wiped takes the key away and not what it said: until there is another identifier, an
        // answer of some other cluster's database is as foreign as before.
        view.system_id = view.system_id.or_else(|| self.system_id.take());
        self.system_id.clone_from(&view.system_id);
        view
    }

    const fn number(&mut self) -> Ask {
        self.asks += 1;
        Ask(self.asks)
    }
}

fn trouble_of(outcome: Outcome) -> Trouble {
    match outcome {
        Outcome::Failed(trouble) => trouble,
        Outcome::Listed(..) | Outcome::Changed(_) | Outcome::Read(..) => {
            Trouble::Failed("an answer to another question".into())
        }
    }
}
