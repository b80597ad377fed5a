//! etcd: three members, one log, leases that the leader counts, and how questions find their answers.
//!
//! A commit and a linearizable read need a leader that hears a quorum. Members apply what is committed one after
//! another, each when it can; an isolated one stays behind and does not know it.

use std::collections::BTreeMap;
use std::time::Duration;

use trunkline_core::cluster::KeyValue;
use trunkline_core::follow::{Change, Header};
use trunkline_core::proof::LeaseLeft;
use trunkline_core::{ClusterId, LeaseId, Moment, RaftTerm, Revision};

use crate::events::Event;
use crate::network::{ETCDS, Party};
use crate::world::World;

pub(crate) mod disaster;
pub(crate) mod raft;
pub(crate) mod store;
pub(crate) mod watch;

use store::{Done, Op, Store};
use watch::Watch;

/// How long etcd tries to get a quorum for a question.
const TRIES: Duration = Duration::from_secs(5);
/// How long it waits before it tries again.
const AGAIN: Duration = Duration::from_millis(100);

/// A question to one member.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) number: u64,
    pub(crate) from: Party,
    pub(crate) member: usize,
    pub(crate) what: What,
    pub(crate) arrived: Option<Moment>,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// All keys; linearizable or as the member has them.
    List {
        linearizable: bool,
    },
    /// The leader key, linearizable.
    Leader,
    /// What is left of a lease.
    Lease(i64),
    KeepAlive(i64),
    Propose(Op),
    /// The same, to be told what stands in this key then.
    Change(Op, String),
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Listed(Header, Vec<KeyValue>),
    Leader(Header, Option<KeyValue>),
    Lease(LeaseLeft),
    /// Whether the lease is kept.
    Kept(bool),
    Changed(Done, Header, Option<KeyValue>),
    Done(Done),
    Failed(&'static str),
}

/// One member.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) alive: bool,
    pub(crate) frozen: bool,
    /// It gets everything and applies nothing.
    pub(crate) stalled: bool,
    /// It answers linearizable reads from what it has applied, as after a long pause (etcd #20418).
    pub(crate) reads_stale: bool,
    pub(crate) store: Store,
    /// How much of the log it has, and how much of that it has applied.
    pub(crate) received: usize,
    pub(crate) applied: usize,
    pub(crate) term: u64,
    /// When leases run out, if it believes that it leads.
    pub(crate) lessor: Option<BTreeMap<i64, Moment>>,
    /// Since when it has not heard a quorum, while it believes that it leads.
    pub(crate) alone: Option<Moment>,
    /// Changes that can be watched.
    pub(crate) history: Vec<(i64, Vec<Change>)>,
    pub(crate) compacted: i64,
    /// What arrived while it was frozen.
    pub(crate) inbox: Vec<Event>,
}

/// The cluster of them.
#[derive(Debug)]
pub(crate) struct Etcd {
    pub(crate) id: u64,
    pub(crate) term: u64,
    pub(crate) leader: Option<usize>,
    pub(crate) leaderless: Option<Moment>,
    pub(crate) log: Vec<Op>,
    /// What is committed.
    pub(crate) truth: Store,
    pub(crate) members: [Member; ETCDS],
    pub(crate) watches: Vec<Watch>,
    pub(crate) leases: i64,
}

impl Default for Etcd {
    fn default() -> Self {
        let member = || Member {
            alive: true,
            term: 2,
            ..Member::default()
        };
        let mut members: [Member; ETCDS] = std::array::from_fn(|_| member());
        members[0].lessor = Some(BTreeMap::new());
        Self {
            id: 0xe7cd,
            term: 2,
            leader: Some(0),
            leaderless: None,
            log: Vec::new(),
            truth: Store::default(),
            members,
            watches: Vec::new(),
            leases: 7_000,
        }
    }
}

impl Etcd {
    pub(crate) fn header(&self, member: usize) -> Header {
        let member = &self.members[member];
        Header {
            cluster: ClusterId(self.id),
            revision: Revision(member.store.revision),
            term: RaftTerm(member.term),
        }
    }

    /// A number no lease had before.
    pub(crate) const fn new_lease(&mut self) -> i64 {
        self.leases += 1;
        self.leases
    }
}

impl World {
    /// Sends a question to a member of etcd; returns its number. The one who asks keeps the deadline.
    pub(crate) fn ask_etcd(&mut self, from: Party, member: usize, what: What) -> u64 {
        let number = self.number();
        let request = Request {
            number,
            from,
            member,
            what,
            arrived: None,
        };
        self.send(from, Party::Etcd(member), Event::EtcdAsked(request));
        number
    }

    /// A question arrives at a member, or is tried again there.
    pub(crate) fn etcd_asked(&mut self, mut request: Request) {
        let number = request.member;
        if !self.etcd.members[number].alive {
            return self.answer_etcd(&request, Answer::Failed("connection refused"));
        }
        if self.etcd.members[number].frozen {
            self.etcd.members[number]
                .inbox
                .push(Event::EtcdAsked(request));
            return;
        }
        let arrived = *request.arrived.get_or_insert(self.now);
        if self.now.since(arrived) > TRIES {
            return self.answer_etcd(&request, Answer::Failed("etcdserver: request timed out"));
        }
        match request.what {
            What::List {
                linearizable: false,
            } => self.read_here(&request),
            What::List { linearizable: true } | What::Leader
                if self.etcd.members[number].reads_stale =>
            {
                self.tally.hit("a linearizable read that was stale");
                self.read_here(&request);
            }
            What::Lease(lease) => match self.lessor_for(number) {
                Some(lessor) => {
                    let left = self.lease_left(lessor, lease);
                    self.answer_etcd(&request, Answer::Lease(left));
                }
                None => self.after(AGAIN, Event::EtcdAsked(request)),
            },
            What::KeepAlive(lease) => match self.lessor_for(number) {
                Some(lessor) => {
                    let kept = self.keep_alive(lessor, lease);
                    self.answer_etcd(&request, Answer::Kept(kept));
                }
                None => self.after(AGAIN, Event::EtcdAsked(request)),
            },
            What::List { linearizable: true }
            | What::Leader
            | What::Propose(_)
            | What::Change(..) => {
                if self.leads_for(number) {
                    let term = self.etcd.term;
                    let takes = self.chance.mostly_short(4, 40) + Duration::from_micros(300);
                    self.after(takes, Event::EtcdAgrees(request, term));
                } else {
                    self.after(AGAIN, Event::EtcdAsked(request));
                }
            }
        }
    }

    /// A quorum has heard of it: it is committed, or the read may be answered.
    pub(crate) fn etcd_agrees(&mut self, request: Request, term: u64) {
        if term != self.etcd.term || !self.leads_for(request.member) {
            return self.after(AGAIN, Event::EtcdAsked(request));
        }
        let answer = match &request.what {
            What::Propose(op) => Some(Answer::Done(self.commit(op.clone()))),
            What::Change(op, key) => {
                let done = self.commit(op.clone());
                let found = self.etcd.truth.get(key).cloned();
                let header = Header {
                    revision: Revision(self.etcd.truth.revision),
                    term: RaftTerm(self.etcd.term),
                    cluster: ClusterId(self.etcd.id),
                };
                Some(Answer::Changed(done, header, found))
            }
            What::List { .. } | What::Leader | What::Lease(_) | What::KeepAlive(_) => None,
        };
        let upto = self.etcd.log.len();
        self.etcd_replies(request, answer, upto);
    }

    /// Answers as soon as the member has applied the log up to `upto`.
    pub(crate) fn etcd_replies(&mut self, request: Request, answer: Option<Answer>, upto: usize) {
        self.catch_up(request.member);
        let member = &self.etcd.members[request.member];
        if !member.alive {
            return;
        }
        if member.applied < upto || member.frozen {
            let late = request.arrived.is_some_and(|at| self.now.since(at) > TRIES);
            if !late {
                let again = Event::EtcdReplies(request, answer, upto);
                self.after(Duration::from_millis(50), again);
            }
            return;
        }
        match answer {
            Some(answer) => self.answer_etcd(&request, answer),
            None => self.read_here(&request),
        }
    }

    fn read_here(&mut self, request: &Request) {
        let header = self.etcd.header(request.member);
        let store = &self.etcd.members[request.member].store;
        let answer = match request.what {
            What::List { .. } => Answer::Listed(header, store.all()),
            What::Leader
            | What::Lease(_)
            | What::KeepAlive(_)
            | What::Propose(_)
            | What::Change(..) => Answer::Leader(header, store.get("leader").cloned()),
        };
        self.answer_etcd(request, answer);
    }

    fn answer_etcd(&mut self, request: &Request, answer: Answer) {
        let event = Event::EtcdAnswered(request.from, request.number, answer);
        self.send(Party::Etcd(request.member), request.from, event);
    }

    fn lease_left(&self, lessor: usize, lease: i64) -> LeaseLeft {
        let member = &self.etcd.members[lessor];
        let ends = member.lessor.as_ref().and_then(|lessor| lessor.get(&lease));
        let granted = member.store.leases.get(&lease);
        match (ends, granted) {
            (Some(ends), Some(granted)) if *ends > self.now => LeaseLeft {
                lease: LeaseId(lease),
                left: i64::try_from(ends.since(self.now).as_secs()).unwrap_or(0),
                granted: *granted,
            },
            _ => LeaseLeft {
                lease: LeaseId(lease),
                left: -1,
                granted: granted.copied().unwrap_or(0),
            },
        }
    }

    fn keep_alive(&mut self, lessor: usize, lease: i64) -> bool {
        let now = self.now;
        let member = &mut self.etcd.members[lessor];
        let Some(seconds) = member.store.leases.get(&lease).copied() else {
            return false;
        };
        let ends = now.after(Duration::from_secs(seconds.unsigned_abs()));
        match member.lessor.as_mut().and_then(|all| all.get_mut(&lease)) {
            Some(until) => {
                *until = ends;
                true
            }
            None => false,
        }
    }
}
