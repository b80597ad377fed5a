//! Which endpoint to ask, which to leave, and whether the store behind them is still the same.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Header, Trouble};
use crate::{ClusterId, Moment, RaftTerm, Revision};

/// How long to rest once every endpoint was tried in vain.
const REST: Duration = Duration::from_millis(500);

/// An endpoint of etcd: its place in the configured list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub usize);

/// What an answer's header says of who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Verdict {
    /// It may be believed.
    Fine,
    /// It may not: leave the endpoint.
    Leave(Trouble),
    /// Nobody is left who knows the old store: there is a new one.
    Rebuilt,
}

/// What leaving an endpoint came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Leaving {
    /// Another one was asked anyway.
    WasNotPresent,
    /// It was left.
    Left,
    /// It was left, and had not answered since it was left before: no news.
    LeftAgain,
}

/// What the last answer of an endpoint showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Unknown,
    Agrees,
    Failed,
    Dissents,
}

#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    standings: Vec<Standing>,
    current: usize,
    store: Option<Store>,
    /// Endpoints that were left and have not answered since.
    left: BTreeSet<EndpointId>,
    /// How many endpoints were left since the last answer that could be believed.
    in_vain: usize,
    ready: Moment,
}

/// What was known of the store when a question was sent: a linearizable answer cannot be older.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Newest {
    pub(super) revision: Revision,
    pub(super) term: RaftTerm,
}

/// The newest that was seen of the store.
#[derive(Clone, Copy, Debug)]
struct Store {
    cluster: ClusterId,
    term: RaftTerm,
    revision: Revision,
}

impl Endpoints {
    pub(super) fn new(count: usize) -> Self {
        Self {
            standings: vec![Standing::Unknown; count.max(1)],
            current: 0,
            store: None,
            left: BTreeSet::new(),
            in_vain: 0,
            ready: Moment::BOOT,
        }
    }

    /// Others take the place of all of them. What was seen of the store stays.
    pub(super) fn replace(&mut self, count: usize) {
        let store = self.store.take();
        *self = Self::new(count);
        self.store = store;
    }

    pub(super) const fn current(&self) -> EndpointId {
        EndpointId(self.current)
    }

    /// Another endpoint than the present one, if there is one that did not fail when it was last asked.
    pub(super) fn another(&self) -> EndpointId {
        let count = self.standings.len();
        let mut others = (1..count).map(|step| (self.current + step) % count);
        let is_worth_asking = |place: &usize| {
            let standing = self.standings.get(*place);
            matches!(standing, Some(Standing::Unknown | Standing::Agrees))
        };
        EndpointId(others.find(is_worth_asking).unwrap_or(self.current))
    }

    /// Not before this moment may anything be asked.
    pub(super) const fn ready(&self) -> Moment {
        self.ready
    }

    /// The newest that was seen of the store.
    pub(super) fn newest(&self) -> Newest {
        self.store.map_or_else(Newest::default, |store| Newest {
            revision: store.revision,
            term: store.term,
        })
    }

    /// The newest that was seen of the store, as a header.
    pub(super) fn store(&self) -> Option<Header> {
        self.store.map(|store| Header {
            cluster: store.cluster,
            revision: store.revision,
            term: store.term,
        })
    }

    /// Notes a revision that the store has reached, seen elsewhere than in an answer's header.
    pub(super) fn saw(&mut self, revision: Revision) {
        if let Some(store) = &mut self.store {
            store.revision = store.revision.max(revision);
        }
    }

    /// Judges an answer by its header. A linearizable answer is at least as new as `newest`, what was known
    /// when it was asked for: one that is older comes from a store that was put back.
    pub(super) fn answered(
        &mut self,
        from: EndpointId,
        header: Header,
        newest: Newest,
        now: Moment,
    ) -> Verdict {
        let Some(store) = &self.store else {
            self.believe(from, header, now);
            return Verdict::Fine;
        };
        let same = header.cluster == store.cluster && header.revision >= newest.revision;
        if same && header.term >= store.term {
            self.believe(from, header, now);
            return Verdict::Fine;
        }
        // An election while it was on its way: this answer is merely late.
        if same && header.term >= newest.term {
            return Verdict::Leave(Trouble::FellBehind);
        }
        // A store put back from a snapshot counts its terms from one again, whatever its revision.
        let trouble = if same {
            Trouble::FellBehind
        } else {
            Trouble::OtherStore
        };
        self.mark(from, Standing::Dissents);
        let rest_is_silent = self
            .standings
            .iter()
            .all(|standing| matches!(standing, Standing::Dissents | Standing::Failed));
        if rest_is_silent {
            self.standings.fill(Standing::Unknown);
            self.store = None;
            return Verdict::Rebuilt;
        }
        Verdict::Leave(trouble)
    }

    fn believe(&mut self, from: EndpointId, header: Header, now: Moment) {
        self.mark(from, Standing::Agrees);
        self.left.remove(&from);
        self.in_vain = 0;
        self.ready = now.min(self.ready);
        let known = self.store.map_or((header.term, header.revision), |store| {
            (
                store.term.max(header.term),
                store.revision.max(header.revision),
            )
        });
        self.store = Some(Store {
            cluster: header.cluster,
            term: known.0,
            revision: known.1,
        });
    }

    /// Leaves `endpoint` for the next, if it is the present one.
    pub(super) fn leave(&mut self, endpoint: EndpointId, now: Moment) -> Leaving {
        if self.standings.get(endpoint.0) != Some(&Standing::Dissents) {
            self.mark(endpoint, Standing::Failed);
        }
        if endpoint.0 != self.current {
            return Leaving::WasNotPresent;
        }
        self.current = (self.current + 1) % self.standings.len();
        self.in_vain += 1;
        if self.in_vain >= self.standings.len() {
            self.in_vain = 0;
            self.ready = now.after(REST);
        }
        if self.left.insert(endpoint) {
            Leaving::Left
        } else {
            Leaving::LeftAgain
        }
    }

    fn mark(&mut self, endpoint: EndpointId, standing: Standing) {
        if let Some(slot) = self.standings.get_mut(endpoint.0) {
            *slot = standing;
        }
    }
}
