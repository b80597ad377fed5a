//! What one decision leaves for the next: the only state of the deciding half.
//!
//! [`Memory::after`] takes in what was decided, from what, and what came of it; [`Memory::ended`] how a job ended.
//! Nothing here decides, and nothing here is needed again after a restart of the agent: what must be is derived
//! from the world.

use std::collections::BTreeMap;
use std::time::Duration;

use super::action::{Action, Decision, Job, JobEnd, JobOutcome, Outcome, Write};
use super::reason::Reason;
use super::snapshot::Snapshot;
use super::standing::{Claim, Holder, Server};
use crate::cluster::Lock;
use crate::postgres::ControlState;
use crate::wire::member::Member;
use crate::{Lsn, MemberName, Moment, Revision, Timeline, slots};

/// For so long what was done is not done again because the view does not show it.
const JUST_NOW: Duration = Duration::from_millis(500);

/// For so long after its time a member's slot is still known to have been one.
const A_DAY: Duration = Duration::from_secs(86_400);

/// What earlier decisions and their outcomes left behind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// The last job that ended.
    pub ended: Option<JobEnd>,
    /// The members of the last view that had a leader: who is asked in an election.
    pub electorate: BTreeMap<MemberName, Member>,
    /// Whether PostgreSQL was seen running since it was last stopped on purpose.
    pub ran: bool,
    /// Since when this member is recovering from a PostgreSQL that ended by itself.
    pub crashed: Option<Moment>,
    /// What is known of the need for pg_rewind.
    pub rewind: Rewind,
    /// The leader's timeline that the timelines here were last compared with.
    pub compared: Option<Timeline>,
    /// Whether recovery in single-user mode was tried since PostgreSQL last ran.
    pub recovered: bool,
    /// The switchover this leader is in.
    pub switchover: Option<Switchover>,
    /// Whether PostgreSQL was promoted by this process and the checkpoint after it is not confirmed.
    pub promoted: bool,
    /// Whether PostgreSQL was stopped because its start took too long: the lock is to be let go.
    pub giving_up: bool,
    /// When a promotion failed since the lock was last taken.
    pub promotion_failed: Option<Moment>,
    /// A leader that pings over POST /failsafe: who, and when it did last.
    pub pinged: Option<(MemberName, Moment)>,
    /// How far this process is with making a new cluster.
    pub bootstrap: Bootstrap,
    /// The tenure that was ended by letting go of the lock, and when: a view that still shows it is old.
    pub let_go: Option<(Revision, Moment)>,
    /// What was done in etcd a moment ago.
    pub did: Vec<(Action, Moment)>,
    /// When the member key was last written.
    pub published: Option<Moment>,
    /// When `status` was last written.
    pub told: Option<Moment>,
    /// When `optime/leader` was last written.
    pub told_old: Option<Moment>,
    /// Whether this member led or followed since the agent was started.
    pub joined: bool,
    /// Slots of members, by when their member's key was last seen: what `retain_slots` is made of.
    pub slots: BTreeMap<String, Moment>,
}

/// How far this process is with making a new cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bootstrap {
    /// It makes none.
    #[default]
    No,
    /// It has created `initialize`.
    Claimed,
    /// PostgreSQL runs; the keys are to be written and the lock is to be taken.
    Made,
    /// It failed: what was made of it is to be put aside.
    Failed,
    /// That was done: the claim is to be given up.
    PutAside,
    /// That was done too: nothing is left to do.
    GivenUp,
}

/// What is known of the need for pg_rewind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rewind {
    /// The timelines have to be compared with the leader's. An agent that starts knows no better.
    #[default]
    ToCheck,
    /// Nothing suggests it.
    Unsuspected,
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
    /// Whether PostgreSQL was told to stop for it.
    pub stopping: bool,
    /// Where the shutdown checkpoint begins, once PostgreSQL is shut down, and since when that is known.
    pub shut_down: Option<(Lsn, Moment)>,
    /// Whether nobody had it and the lead is being taken back.
    pub taking_back: bool,
}

impl Memory {
    /// Takes in what was decided, from what, and what came of it.
    pub fn after(&mut self, snapshot: &Snapshot, decision: &Decision, outcome: &Outcome) {
        self.saw(snapshot);
        self.saw_postgres(snapshot);
        self.saw_request(snapshot, decision, outcome);
        if *outcome == Outcome::Done {
            self.did(snapshot, decision);
        } else if decision.action == Action::Write(Write::UnclaimInitialize) {
            // Somebody else's claim by now, or etcd is away: either way this process can do no more about it.
            self.bootstrap = Bootstrap::GivenUp;
        }
    }

    /// Takes in how a job ended.
    pub fn ended(&mut self, end: JobEnd) {
        let done = matches!(end.outcome, JobOutcome::Done | JobOutcome::StillStarting);
        match (&end.job, &end.outcome) {
            (Job::Bootstrap, JobOutcome::Made(_)) => {
                self.bootstrap = Bootstrap::Made;
                self.rewind = Rewind::Unsuspected;
            }
            (Job::Bootstrap, _) => self.bootstrap = Bootstrap::Failed,
            (Job::PutAside, _) => self.bootstrap = Bootstrap::PutAside,
            (Job::Clone(_) | Job::Wipe, _) if done => {
                self.rewind = Rewind::Unsuspected;
                self.recovered = false;
            }
            (Job::Start(_, _), _) if done => {
                if self.rewind == Rewind::Done {
                    self.rewind = Rewind::Unsuspected;
                }
                self.recovered = false;
            }
            (Job::Stop(_), _) if done => self.ran = false,
            (Job::Promote, _) if done => {
                self.promoted = true;
                self.rewind = Rewind::Unsuspected;
            }
            (Job::Promote, JobOutcome::Failed(_)) => self.promotion_failed = Some(end.ended),
            (Job::Checkpoint, _) if done => self.promoted = false,
            (Job::CheckRewind(_), JobOutcome::RewindNeeded(true)) => self.rewind = Rewind::Needed,
            (Job::CheckRewind(_), JobOutcome::RewindNeeded(false)) => {
                self.rewind = Rewind::Unsuspected;
            }
            (Job::Rewind(_), JobOutcome::Failed(_)) => self.rewind = Rewind::Failed,
            (Job::Rewind(_), _) if done => self.rewind = Rewind::Done,
            (Job::CrashRecovery, _) => self.recovered = true,
            (Job::Follow(_), _) if done => self.rewind = Rewind::ToCheck,
            (
                Job::Clone(_)
                | Job::Wipe
                | Job::Start(_, _)
                | Job::Stop(_)
                | Job::Promote
                | Job::Checkpoint
                | Job::CheckRewind(_)
                | Job::Rewind(_)
                | Job::Follow(_)
                | Job::Reload
                | Job::Slots(_),
                _,
            ) => {}
        }
        self.ended = Some(end);
    }

    /// What the view says of members and their slots.
    fn saw(&mut self, s: &Snapshot) {
        let Some((view, _)) = s.view.fresh() else {
            return;
        };
        if matches!(view.lock, Lock::Held { .. }) && self.electorate != view.members {
            self.electorate.clone_from(&view.members);
        }
        // The claim may have been made all the same where its answer was missing: it hangs on this agent's lease.
        if self.bootstrap == Bootstrap::No && s.claim() == Claim::Mine {
            self.bootstrap = Bootstrap::Claimed;
        }
        if self.bootstrap == Bootstrap::Made && s.holder() == Holder::Me {
            self.bootstrap = Bootstrap::No;
        }
        for name in view.members.keys() {
            self.slots.insert(slots::name_of(name), s.now);
        }
        for slot in &view.status.retain_slots {
            self.slots.entry(slot.clone()).or_insert(s.now);
        }
        let longest = s.me.member_slots_ttl.saturating_add(A_DAY);
        self.slots.retain(|_, seen| s.now.since(*seen) <= longest);
        if let (Some((began, _)), Lock::Held { tenure, .. }) = (self.let_go, &view.lock)
            && tenure.began > began
        {
            self.let_go = None;
        }
    }

    /// Whether PostgreSQL runs, ended by itself, or is somebody that once led.
    fn saw_postgres(&mut self, s: &Snapshot) {
        match s.server() {
            Server::Primary(_) | Server::Standby(_) => {
                self.ran = true;
                self.crashed = None;
            }
            Server::Starting | Server::ShuttingDown | Server::Silent(_) => self.ran = true,
            Server::Down(control) if self.ran && s.job.is_none() => {
                self.ran = false;
                self.crashed = Some(s.now);
                let led =
                    control.is_none_or(|control| control.state != ControlState::ShutDownInRecovery);
                if led {
                    self.rewind = Rewind::ToCheck;
                }
            }
            Server::Down(_) | Server::Empty | Server::Unusable(_) => {}
        }
    }

    /// How far a requested switchover is.
    fn saw_request(&mut self, s: &Snapshot, decision: &Decision, outcome: &Outcome) {
        let request = s.request().filter(|_| s.holder() == Holder::Me);
        let running = self.switchover.as_ref().is_some_and(|it| it.stopping);
        match request {
            Some(request) if self.switchover.is_none() && s.is_due(request) => {
                self.switchover = Some(Switchover {
                    candidate: request.candidate.clone(),
                    since: s.now,
                    stopping: false,
                    shut_down: None,
                    taking_back: false,
                });
            }
            Some(request) => {
                let other = |it: &Switchover| it.candidate != request.candidate;
                if !running && self.switchover.as_ref().is_some_and(other) {
                    self.switchover = None;
                }
            }
            None if !running || s.holder() != Holder::Me => self.switchover = None,
            // The request is gone and PostgreSQL takes writes again: the lead was taken back.
            None if s.job.is_none() && matches!(s.server(), Server::Primary(_)) => {
                self.switchover = None;
            }
            None => {}
        }
        let Some(it) = &mut self.switchover else {
            return;
        };
        let end = s.shutdown_checkpoint().filter(|_| it.stopping);
        if let (Some(end), None) = (end, it.shut_down) {
            it.shut_down = Some((end, s.now));
        }
        let clears = matches!(decision.action, Action::Write(Write::ClearFailover(_)));
        let stops = matches!(decision.action, Action::Begin(Job::Stop(_)));
        if stops && *outcome == Outcome::Done {
            it.stopping = true;
        } else if clears && it.stopping {
            it.taking_back = true;
        } else if clears && *outcome == Outcome::Done {
            self.switchover = None;
        }
    }

    /// Whether this was done in etcd so short a time ago that the view may not show it yet.
    #[must_use]
    pub fn did_just_now(&self, action: &Action, now: Moment) -> bool {
        self.did
            .iter()
            .any(|(did, at)| now.since(*at) < JUST_NOW && did == action)
    }

    /// What was carried out.
    fn did(&mut self, s: &Snapshot, decision: &Decision) {
        self.did.retain(|(_, at)| s.now.since(*at) < JUST_NOW);
        if matches!(
            decision.action,
            Action::Write(_) | Action::Acquire | Action::Release { .. }
        ) {
            self.did.push((decision.action.clone(), s.now));
        }
        match &decision.action {
            Action::Release { .. } => {
                self.giving_up = false;
                self.let_go = s.tenure().map(|began| (began, s.now));
                self.switchover = None;
                self.rewind = Rewind::ToCheck;
            }
            Action::Write(Write::Member(_)) => self.published = Some(s.now),
            Action::Write(Write::Status(_)) => self.told = Some(s.now),
            Action::Write(Write::OptimeLeader(_)) => self.told_old = Some(s.now),
            Action::Write(Write::ClaimInitialize) => self.bootstrap = Bootstrap::Claimed,
            Action::Write(Write::UnclaimInitialize) => self.bootstrap = Bootstrap::GivenUp,
            Action::Acquire if self.bootstrap == Bootstrap::Made => self.bootstrap = Bootstrap::No,
            Action::Acquire => self.promotion_failed = None,
            Action::Begin(Job::Stop(_)) if decision.reason == Reason::StartTimeout => {
                self.giving_up = true;
            }
            Action::Begin(Job::CheckRewind(_)) => self.compared = s.leaders_timeline(),
            Action::Begin(Job::Stop(_)) if s.holder() != Holder::Me && s.may_write() => {
                self.rewind = Rewind::ToCheck;
            }
            Action::Rest => self.joined |= decision.reason.is_settled(),
            Action::Begin(_)
            | Action::KeepLease
            | Action::Renew { .. }
            | Action::Revoke
            | Action::Write(_)
            | Action::Ask(_)
            | Action::Cancel
            | Action::Exit(_) => {}
        }
    }
}
