//! Errands of an agent of ours to etcd: the lease, the lock, the writes of a cycle, as `src/agent/dcs.rs` has them.
//!
//! One question at a time, put to one endpoint after another until the deadline; a stamp of what is proven is when
//! the question was sent.

use std::time::Duration;

use trunkline_core::cluster::KeyValue;
use trunkline_core::follow::{Change, EndpointId, Header, Trouble};
use trunkline_core::ha::{Action, Outcome, Write};
use trunkline_core::lease::{Held, Lease, Renewal};
use trunkline_core::wire::status::Status;
use trunkline_core::{LeaseId, Lsn, Moment, Revision};

use super::Ours;
use crate::etcd::store::{Compare, Done, Op, PREFIX};
use crate::etcd::{Answer, What};
use crate::events::Event;
use crate::network::{ETCDS, Party};
use crate::world::World;

/// No endpoint is given less time than this, as long as there is any; none more.
const SHARES: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(1));
/// How long to rest once every endpoint was tried in vain.
const REST: Duration = Duration::from_millis(100);
/// A lease confirmed this long ago is asked after before the lock is taken on it.
const RECENT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Errand {
    action: Action,
    deadline: Moment,
    part: Part,
    /// The endpoint that is asked, and how many were before.
    endpoint: usize,
    turn: usize,
    question: u64,
    sent: Moment,
    /// The lease that is asked for.
    grants: i64,
}

/// What is asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Keep,
    Grant,
    Last,
}

impl World {
    pub(super) fn run_ours_errand(&mut self, number: usize, action: Action, by: Moment) {
        let now = self.now;
        let wanted = self.wanted_ttl(number);
        let deadline = if let Action::Renew { by } = &action {
            *by
        } else {
            by
        };
        let ours = self.ours(number);
        if matches!(action, Action::Release { .. } | Action::Revoke) {
            ours.held = None;
        }
        let lease = ours.lease.filter(|lease| lease.wanted == wanted);
        let recent = |lease: &Lease| now < lease.confirmed.after(RECENT.min(wanted / 4));
        let part = match (&action, lease) {
            (Action::KeepLease | Action::Renew { .. }, Some(_)) => Part::Keep,
            (Action::Acquire, Some(lease)) if recent(&lease) => Part::Last,
            (Action::Acquire, Some(_)) => Part::Keep,
            (Action::KeepLease | Action::Renew { .. } | Action::Acquire, None) => Part::Grant,
            _ => Part::Last,
        };
        ours.errand = Some(Errand {
            action,
            deadline,
            part,
            endpoint: 0,
            turn: 0,
            question: 0,
            sent: now,
            grants: 0,
        });
        self.errand_asks(number, part);
    }

    fn wanted_ttl(&self, number: usize) -> Duration {
        let view = self.nodes[number].feed.follow.view().value();
        view.map(|view| view.config.clone()).unwrap_or_default().ttl
    }

    /// A question is put from the first endpoint on.
    fn errand_asks(&mut self, number: usize, part: Part) {
        let first = self.nodes[number].feed.follow.endpoint().0;
        let Some(errand) = &mut self.ours(number).errand else {
            return;
        };
        (errand.part, errand.turn, errand.endpoint) = (part, 0, first % ETCDS);
        self.errand_tries(number);
    }

    fn errand_tries(&mut self, number: usize) {
        let now = self.now;
        let Some(errand) = &self.ours(number).errand else {
            return;
        };
        let (left, turn, endpoint) = (errand.deadline.since(now), errand.turn, errand.endpoint);
        if left.is_zero() {
            return self.errand_is_over(number, Outcome::Unanswered("etcd is silent".to_owned()));
        }
        let Some(what) = self.errand_what(number) else {
            return self.errand_is_over(number, Outcome::Refused);
        };
        let question = self.ask_etcd(Party::Node(number), endpoint, what);
        let others = u32::try_from(ETCDS.saturating_sub(turn).max(1)).unwrap_or(1);
        let share = (left / others).clamp(SHARES.0, SHARES.1).min(left);
        self.after(share, Event::OursWaited(number, question));
        if let Some(errand) = &mut self.ours(number).errand {
            (errand.question, errand.sent) = (question, now);
        }
    }

    /// The question in etcd's terms; none where it needs a lease and there is none.
    fn errand_what(&mut self, number: usize) -> Option<What> {
        let ttl = i64::try_from(self.wanted_ttl(number).as_secs()).unwrap_or(10);
        let new = self.etcd.leases + 1;
        let status = self.nodes[number].feed.follow.view().value();
        let status = status.map(|view| view.status.clone());
        let now = self.now;
        let ours = self.ours(number);
        let lease = ours.lease.map(|lease| lease.id.0);
        let me = ours.me.name.to_string();
        let holds = ours.held.is_some_and(|held| now < held.ends());
        let (modified, unsure) = (ours.modified, ours.unsure);
        let errand = ours.errand.as_mut()?;
        let leader = || "leader".to_owned();
        let put = |lease| Box::new(Op::Put(leader(), me.clone(), Some(lease)));
        Some(match (errand.part, &errand.action) {
            (Part::Keep, _) => What::KeepAlive(lease?),
            (Part::Grant, _) => {
                errand.grants = new;
                What::Propose(Op::Grant(self.etcd.new_lease(), ttl))
            }
            (Part::Last, Action::Acquire) if !unsure => {
                let op = Op::If(Compare::Absent(leader()), put(lease?), None);
                What::Change(op, leader())
            }
            (Part::Last, action @ (Action::Renew { .. } | Action::Acquire)) => {
                let lease = lease?;
                let create = Op::If(Compare::Absent(leader()), put(lease), None);
                let creates = holds || matches!(action, Action::Acquire);
                let create = creates.then(|| Box::new(create));
                let mend = Op::If(Compare::Is(leader(), me.clone()), put(lease), create);
                let kept = Compare::Kept(leader(), me.clone(), lease);
                let op = if unsure {
                    mend
                } else {
                    Op::If(kept, Box::new(Op::Nothing), Some(Box::new(mend)))
                };
                What::Change(op, leader())
            }
            (Part::Last, Action::Release { optime }) => {
                let delete = Op::Delete(leader());
                let then = match last_word(*optime, status) {
                    Some(status) => {
                        let status = Op::Put("status".to_owned(), status, None);
                        Op::Both(Box::new(status), Box::new(delete))
                    }
                    None => delete,
                };
                let mut op = Op::If(Compare::Is(leader(), me.clone()), Box::new(then), None);
                if let Some(modified) = modified {
                    op = Op::If(Compare::At(leader(), modified.0), Box::new(op), None);
                }
                What::Change(op, leader())
            }
            (Part::Last, Action::Revoke) => What::Propose(Op::Revoke(lease?)),
            (Part::Last, Action::Write(write)) => {
                let (op, key) = change(write, &me, lease)?;
                What::Change(op, key)
            }
            (Part::Last, _) => return None,
        })
    }

    /// No answer in time, or a rest between two rounds is over.
    pub(crate) fn ours_waited(&mut self, number: usize, question: u64) {
        let Some(errand) = &self.ours(number).errand else {
            return;
        };
        if errand.question == question {
            self.errand_missed(number, Trouble::TimedOut);
        }
    }

    fn errand_missed(&mut self, number: usize, trouble: Trouble) {
        let now = self.now;
        let Some(errand) = &mut self.ours(number).errand else {
            return;
        };
        let place = errand.endpoint;
        errand.turn += 1;
        errand.endpoint = (errand.endpoint + 1) % ETCDS;
        errand.question = 0;
        let rests = errand.turn % ETCDS == 0;
        let question = errand.turn as u64;
        let feed = self.feed_mut(Party::Node(number));
        feed.follow.distrust(EndpointId(place), trouble, now);
        self.pump_feed(Party::Node(number));
        if rests {
            let waits = self.number() + question;
            if let Some(errand) = &mut self.ours(number).errand {
                errand.sent = Moment::NEVER;
                errand.question = waits;
            }
            return self.after(REST, Event::OursRested(number, waits));
        }
        self.errand_tries(number);
    }

    pub(crate) fn ours_rested(&mut self, number: usize, waits: u64) {
        let rests = |errand: &Errand| errand.question == waits && errand.sent == Moment::NEVER;
        if self.ours(number).errand.as_ref().is_some_and(rests) {
            self.errand_tries(number);
        }
    }

    /// etcd answered.
    pub(crate) fn ours_hears(&mut self, number: usize, question: u64, answer: Answer) {
        let known = self.nodes[number].feed.follow.store();
        let wanted = self.wanted_ttl(number);
        let ours = self.ours(number);
        let Some(errand) = ours.errand.as_mut().filter(|it| it.question == question) else {
            return;
        };
        if let Answer::Changed(_, header, _) = &answer
            && !is_of(known, *header)
        {
            return self.errand_missed(number, Trouble::OtherStore);
        }
        let sent = errand.sent;
        match (errand.part, answer) {
            (_, Answer::Failed(why)) => self.errand_missed(number, Trouble::Failed(why.to_owned())),
            (Part::Keep, Answer::Kept(true)) => {
                if let Some(lease) = &mut ours.lease {
                    lease.confirmed = sent;
                }
                self.lease_is_kept(number);
            }
            (Part::Keep, Answer::Kept(false)) => {
                errand.part = Part::Grant;
                self.errand_tries(number);
            }
            (Part::Grant, Answer::Done(Done::Yes)) => {
                ours.lease = Some(Lease {
                    id: LeaseId(errand.grants),
                    granted: wanted,
                    wanted,
                    confirmed: sent,
                });
                self.lease_is_kept(number);
            }
            (Part::Last, Answer::Changed(done, header, found)) => {
                self.changed(number, done, header, found.as_ref());
            }
            (Part::Last, Answer::Done(_)) => {
                ours.lease = None;
                self.errand_is_over(number, Outcome::Done);
            }
            (_, _) => {}
        }
    }

    fn lease_is_kept(&mut self, number: usize) {
        let Some(errand) = &self.ours(number).errand else {
            return;
        };
        if errand.action == Action::KeepLease {
            self.errand_is_over(number, Outcome::Done);
        } else {
            self.errand_asks(number, Part::Last);
        }
    }

    /// What stands in the key now.
    fn changed(&mut self, number: usize, done: Done, header: Header, found: Option<&KeyValue>) {
        let ours = self.ours(number);
        let Some(errand) = &mut ours.errand else {
            return;
        };
        let action = errand.action.clone();
        if done == Done::NoLease {
            ours.lease = None;
            return if matches!(action, Action::Renew { .. } | Action::Acquire) {
                self.errand_asks(number, Part::Grant);
            } else {
                self.errand_is_over(number, Outcome::Refused);
            };
        }
        let key = key_of(&action, ours);
        let told = match found {
            Some(found) => Change::Put(found.clone()),
            None => Change::Deleted(format!("{PREFIX}{key}").into_bytes(), header.revision),
        };
        let now = self.now;
        let proves = matches!(action, Action::Renew { .. } | Action::Acquire);
        let feed = self.feed_mut(Party::Node(number));
        feed.follow.wrote(told);
        let refused = done == Done::Refused && !proves;
        if refused || matches!(action, Action::Release { optime: Some(_) }) {
            feed.follow.refused(now);
            self.pump_feed(Party::Node(number));
        }
        if proves {
            return self.proven(number, &action, found);
        }
        let outcome = if refused {
            Outcome::Refused
        } else {
            Outcome::Done
        };
        self.errand_is_over(number, outcome);
    }

    /// What the leader key proves.
    fn proven(&mut self, number: usize, action: &Action, found: Option<&KeyValue>) {
        let ours = self.ours(number);
        ours.held = None;
        let Some(lease) = ours.lease else { return };
        let holder = found.and_then(|found| trunkline_core::wire::leader::parse(&found.value).ok());
        let mine = found.filter(|found| {
            found.value == ours.me.name.as_str().as_bytes() && found.lease == Some(lease.id)
        });
        (ours.modified, ours.unsure) = (mine.map(|found| found.modified), false);
        let held = mine.map(|found| Held {
            began: found.created,
            confirmed: lease.confirmed,
            granted: lease.granted,
        });
        ours.held = held;
        let outcome = match (action, held) {
            (Action::Renew { .. }, held) => {
                if let Some(round) = &mut ours.round {
                    round.renewal = Some(match held {
                        Some(held) => Renewal::Confirmed(lease, held),
                        None => Renewal::Lost { holder },
                    });
                }
                Outcome::Done
            }
            (_, Some(_)) => Outcome::Done,
            (_, None) => Outcome::Refused,
        };
        self.errand_is_over(number, outcome);
    }

    fn errand_is_over(&mut self, number: usize, outcome: Outcome) {
        let ours = self.ours(number);
        let Some(errand) = ours.errand.take() else {
            return;
        };
        let unanswered = matches!(outcome, Outcome::Unanswered(_));
        ours.unsure |= unanswered && matches!(errand.action, Action::Release { .. });
        let mut outcome = outcome;
        if let (Action::Renew { .. }, Outcome::Unanswered(words)) = (&errand.action, &outcome)
            && let Some(round) = &mut ours.round
        {
            round.renewal = Some(Renewal::Unreachable(words.clone()));
            outcome = Outcome::Done;
        }
        self.step_ends(number, &outcome);
    }
}

/// Whether an answer is of the store that was known.
fn is_of(known: Option<Header>, header: Header) -> bool {
    known.is_none_or(|known| {
        header.cluster == known.cluster
            && header.revision >= known.revision
            && header.term >= known.term
    })
}

fn last_word(optime: Option<Lsn>, status: Option<Status>) -> Option<String> {
    let status = Status {
        optime: Some(optime?),
        ..status.unwrap_or_default()
    };
    Some(status.to_json())
}

fn key_of(action: &Action, ours: &Ours) -> String {
    let Action::Write(write) = action else {
        return "leader".to_owned();
    };
    let change = change(write, ours.me.name.as_str(), Some(0));
    change.map(|(_, key)| key).unwrap_or_default()
}

/// A write in etcd's terms, and the key it changes.
fn change(write: &Write, me: &str, lease: Option<i64>) -> Option<(Op, String)> {
    let put = |key: &str, value: &str, lease: Option<i64>| {
        Box::new(Op::Put(key.to_owned(), value.to_owned(), lease))
    };
    let as_seen = |key: &str, seen: &Option<Revision>| match seen {
        Some(seen) => Compare::At(key.to_owned(), seen.0),
        None => Compare::Absent(key.to_owned()),
    };
    let led = || Some(Compare::Kept("leader".to_owned(), me.to_owned(), lease?));
    let only = |compare: Compare, key: &str, value: &str| {
        let op = Op::If(compare, put(key, value, None), None);
        Some((op, key.to_owned()))
    };
    match write {
        Write::Member(value) => {
            let key = format!("members/{me}");
            Some((*put(&key, value, Some(lease?)), key))
        }
        Write::ClaimInitialize => {
            let key = "initialize".to_owned();
            let claim = put(&key, "", Some(lease?));
            Some((Op::If(Compare::Absent(key.clone()), claim, None), key))
        }
        Write::Initialize(id, seen) => only(as_seen("initialize", seen), "initialize", id.as_str()),
        Write::UnclaimInitialize => {
            let key = "initialize".to_owned();
            let mine = Compare::Kept(key.clone(), String::new(), lease?);
            let delete = Box::new(Op::Delete(key.clone()));
            Some((Op::If(mine, delete, None), key))
        }
        Write::Config(value, seen) => only(as_seen("config", seen), "config", value),
        Write::Status(value) => only(led()?, "status", value),
        Write::OptimeLeader(value) => only(led()?, "optime/leader", value),
        Write::History(value) => only(led()?, "history", value),
        Write::Failsafe(value) => only(led()?, "failsafe", value),
        Write::ClearFailover(Some(seen)) => {
            only(as_seen("failover", &Some(*seen)), "failover", "{}")
        }
        Write::ClearFailover(None) => {
            let key = "failover".to_owned();
            Some((*put(&key, "{}", None), key))
        }
    }
}
