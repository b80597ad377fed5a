//! The words of following etcd: what is asked, what comes back, what an operator should hear of it.

use std::fmt;

use super::EndpointId;
use crate::cluster::KeyValue;
use crate::proof::LeaseLeft;
use crate::{ClusterId, Moment, RaftTerm, Revision};

/// What every answer of etcd carries about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The store that answered.
    pub cluster: ClusterId,
    /// Its revision.
    pub revision: Revision,
    /// The raft term of the endpoint that answered.
    pub term: RaftTerm,
}

/// Why etcd's answer is missing, in an operator's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing was asked yet.
    NotAsked,
    /// No answer within the deadline.
    TimedOut,
    /// No connection, or an error answer; the text is etcd's or the system's.
    Failed(String),
    /// The watch ended, or begins at a revision that was compacted away.
    WatchEnded(String),
    /// The endpoint answered with an older raft term than its cluster has reached: it is cut off.
    FellBehind,
    /// The endpoint belongs to another cluster, or to an older state of this one, than the rest.
    OtherStore,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("not asked yet"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Failed(text) => f.write_str(text),
            Self::WatchEnded(text) => write!(f, "the watch ended: {text}"),
            Self::FellBehind => {
                f.write_str("answers with an older raft term: cut off from its cluster")
            }
            Self::OtherStore => f.write_str("answers from another or an older store"),
        }
    }
}

/// The number of a question; its answer carries it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask(pub(super) u64);

/// A change of one key, from a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key was put.
    Put(KeyValue),
    /// The key was deleted, or its lease ran out, at this revision.
    Deleted(Vec<u8>, Revision),
}

impl Change {
    pub(super) fn key(&self) -> &[u8] {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Deleted(key, _) => key,
        }
    }

    pub(super) const fn revision(&self) -> Revision {
        match self {
            Self::Put(kv) => kv.modified,
            Self::Deleted(_, revision) => *revision,
        }
    }
}

/// An outcome of something asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All keys under the prefix, read linearizably.
    Listed(Header, Vec<KeyValue>),
    /// Changes, in order. The watch goes on.
    Changed(Vec<Change>),
    /// The leader key, read linearizably, and what is left of its lease (absent: it has none, or it could not
    /// be asked).
    Read(Header, Option<KeyValue>, Option<LeaseLeft>),
    /// The question failed; for a watch: it is over.
    Failed(Trouble),
}

/// What should be in flight now. A watch or listing under a number not named here should be given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wants {
    /// List all keys.
    pub list: Option<(Ask, EndpointId)>,
    /// Watch the prefix from this revision on.
    pub watch: Option<(Ask, EndpointId, Revision)>,
    /// Read the leader key and its lease.
    pub read: Option<(Ask, EndpointId)>,
    /// When to ask again even if nothing happens.
    pub wake: Moment,
}

/// A store that was rebuilt under the router's feet, or an endpoint that was left: worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An endpoint was left for another.
    Left(EndpointId, Trouble),
    /// The store is another one than before: everything known of revisions was forgotten.
    Rebuilt,
}
