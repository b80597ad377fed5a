//! What one decision leaves for the next: the only state of the deciding half.

use std::collections::BTreeMap;

use super::action::JobEnd;
use crate::wire::member::Member;
use crate::{Lsn, MemberName, Moment, Timeline};

/// What earlier decisions and their outcomes left behind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// The last job that ended.
    pub ended: Option<JobEnd>,
    /// The members of the last view that had a leader: who is asked in an election.
    pub electorate: BTreeMap<MemberName, Member>,
    /// Since when this member is recovering from a PostgreSQL that ended by itself.
    pub crashed: Option<Moment>,
    /// What is known of the need for pg_rewind.
    pub rewind: Rewind,
    /// The switchover this leader is in.
    pub switchover: Option<Switchover>,
    /// The last promotion here, while its checkpoint is not confirmed.
    pub promoted: Option<Timeline>,
    /// A leader that pings over POST /failsafe: who, and when it did last.
    pub pinged: Option<(MemberName, Moment)>,
    /// Whether this process began to bootstrap the cluster.
    pub bootstrapping: bool,
}

/// What is known of the need for pg_rewind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rewind {
    /// Nothing suggests it.
    #[default]
    Unsuspected,
    /// The timelines have to be compared with the leader's.
    ToCheck,
    /// It is needed.
    Needed,
    /// It was done; PostgreSQL was not started since.
    Done,
    /// It failed.
    Failed,
}

/// A switchover, seen from the leader that hands over.
#[derive(Clone, Debug, PartialEq)]
pub struct Switchover {
    /// To whom; anybody if `None`.
    pub candidate: Option<MemberName>,
    /// Since when the request is known: a candidate has ten seconds from here to stream (A4).
    pub since: Moment,
    /// Where the shutdown checkpoint begins, once PostgreSQL is shut down, and since when that is known.
    pub shut_down: Option<(Lsn, Moment)>,
    /// Whether nobody had it and the lead is being taken back.
    pub taking_back: bool,
}
