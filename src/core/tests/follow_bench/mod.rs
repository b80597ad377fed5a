//! A bench for [`Follow`]: keys as Patroni writes them, headers, and shorthands for asking and answering.

#![allow(
    dead_code,
    reason = "each test binary that has this module uses another part of it"
)]

use std::time::Duration;

use trunkline_core::cluster::{ClusterView, KeyValue};
use trunkline_core::follow::{Ask, Change, EndpointId, Follow, Header, Outcome, Trouble, Wants};
use trunkline_core::keys::Prefix;
use trunkline_core::proof::LeaseLeft;
use trunkline_core::{ClusterId, LeaseId, Moment, RaftTerm, Revision, Scope};

/// The store everything begins with.
pub(crate) const STORE: u64 = 0xcafe;

/// A router that follows etcd, and its clock.
pub(crate) struct Bench {
    pub(crate) follow: Follow,
    pub(crate) now: Moment,
}

impl Bench {
    /// Nothing asked yet.
    pub(crate) fn new(endpoints: usize) -> Self {
        let now = Moment::from_boot(Duration::from_secs(1_000));
        let prefix = Prefix::new("service", &Scope::from("demo"));
        Self {
            follow: Follow::new(prefix, endpoints, now),
            now,
        }
    }

    /// Listed at revision 10, with pg-1 as the leader since revision 5, and proven by a read.
    pub(crate) fn following(endpoints: usize) -> Self {
        let mut bench = Self::new(endpoints);
        bench.list(header(10), vec![leader("pg-1", 5)]);
        bench.read(header(10), Some(leader("pg-1", 5)));
        bench
    }

    pub(crate) fn wait(&mut self, milliseconds: u64) {
        self.now = self.now.after(Duration::from_millis(milliseconds));
    }

    pub(crate) fn wants(&mut self) -> Wants {
        self.follow.wants(self.now)
    }

    pub(crate) fn take(&mut self, ask: Ask, outcome: Outcome) {
        self.follow.take(ask, outcome, self.now, 0.5);
    }

    /// Answers the listing that is wanted.
    pub(crate) fn list(&mut self, header: Header, keys: Vec<KeyValue>) {
        let (ask, _) = self.wants().list.expect("a listing is wanted");
        self.take(ask, Outcome::Listed(header, keys));
    }

    /// Answers the proof read that is wanted; the lease of the key has 20 s left.
    pub(crate) fn read(&mut self, header: Header, leader: Option<KeyValue>) {
        let (ask, _) = self.wants().read.expect("a proof read is wanted");
        self.take(ask, read(header, leader));
    }

    /// Something happens, as the watch tells.
    pub(crate) fn event(&mut self, changes: Vec<Change>) {
        let (ask, _, _) = self.wants().watch.expect("a watch is wanted");
        self.take(ask, Outcome::Changed(changes));
    }

    /// Whatever is in flight to the present endpoint fails.
    pub(crate) fn fail(&mut self, trouble: &Trouble) {
        let wants = self.wants();
        let (ask, _) = wants.list.or(wants.read).expect("something is asked");
        self.take(ask, Outcome::Failed(trouble.clone()));
    }

    /// Who leads, as believed.
    pub(crate) fn leader(&self) -> Option<String> {
        let view: &ClusterView = self.follow.view().value()?;
        view.lock.tenure().map(ToString::to_string)
    }

    /// When the proof that counts was asked for, if the last read was answered.
    pub(crate) fn proof(&self) -> Option<Moment> {
        self.follow.reading().fresh().map(|(_, asked)| asked)
    }

    /// The endpoint asked now.
    pub(crate) fn endpoint(&self) -> usize {
        let EndpointId(place) = self.follow.endpoint();
        place
    }
}

/// A header of the store, at a revision, in term 3.
pub(crate) fn header(revision: i64) -> Header {
    in_term(3, revision)
}

pub(crate) fn in_term(term: u64, revision: i64) -> Header {
    of_store(STORE, term, revision)
}

pub(crate) fn of_store(store: u64, term: u64, revision: i64) -> Header {
    Header {
        cluster: ClusterId(store),
        revision: Revision(revision),
        term: RaftTerm(term),
    }
}

/// The leader key, created at a revision.
pub(crate) fn leader(name: &str, created: i64) -> KeyValue {
    key("leader", name, created)
}

pub(crate) fn key(name: &str, value: &str, created: i64) -> KeyValue {
    KeyValue {
        key: format!("/service/demo/{name}").into_bytes(),
        value: value.as_bytes().to_vec(),
        created: Revision(created),
        modified: Revision(created),
        lease: Some(LeaseId(created)),
    }
}

/// The leader key is deleted at a revision.
pub(crate) fn leader_gone(revision: i64) -> Change {
    Change::Deleted(b"/service/demo/leader".to_vec(), Revision(revision))
}

/// The answer to a proof read.
pub(crate) fn read(header: Header, leader: Option<KeyValue>) -> Outcome {
    let lease = leader.as_ref().and_then(|kv| kv.lease);
    let lease = lease.map(|lease| LeaseLeft {
        lease,
        left: 20,
        granted: 30,
    });
    Outcome::Read(header, leader, lease)
}

pub(crate) fn refused() -> Trouble {
    Trouble::Failed("connection refused".into())
}
