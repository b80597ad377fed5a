//! From nothing: making a new cluster, or copying a member of one that is there (contract 5.3).

use super::action::{Action, Decision, Job, Write};
use super::memory::Bootstrap;
use super::reason::{Key as Of, Reason};
use super::snapshot::Snapshot;
use super::standing::{Claim, Holder, Server};
use super::upkeep::rest;
use crate::MemberName;
use crate::cluster::Initialize;
use crate::keys::Key;
use crate::wire::member::{Member, State};

/// The exit code of an agent that cannot go on.
pub(super) const FAILED: u8 = 1;

/// Goes on with the cluster this process is making.
pub(super) fn under_way(s: &Snapshot) -> Option<Decision> {
    if s.memory.bootstrap == Bootstrap::No {
        return None;
    }
    if s.job.is_some() {
        return Some(rest(s, Reason::Bootstrapping));
    }
    match s.memory.bootstrap {
        Bootstrap::No => None,
        Bootstrap::Claimed => Some(match s.server() {
            Server::Empty => Decision::now(s, Action::Begin(Job::Bootstrap), Reason::Bootstrapping),
            Server::Unusable(_)
            | Server::Down(_)
            | Server::Starting
            | Server::Primary(_)
            | Server::Standby(_)
            | Server::ShuttingDown
            | Server::Silent(_) => give_up(s),
        }),
        Bootstrap::Made => made(s),
        Bootstrap::Failed => Some(put_aside(s)),
        Bootstrap::PutAside => Some(give_up(s)),
        Bootstrap::GivenUp => Some(Decision::now(
            s,
            Action::Exit(FAILED),
            Reason::BootstrapFailed,
        )),
    }
}

/// PostgreSQL runs: its identifier, the configuration, and with them the lock.
fn made(s: &Snapshot) -> Option<Decision> {
    let Some(view) = s.fresh() else {
        return Some(rest(s, Reason::EtcdSilent));
    };
    match (s.holder(), s.server()) {
        // An answer was missing and it was taken all the same.
        (Holder::Me, _) => return None,
        (Holder::Other(_) | Holder::Garbled, _)
        | (_, Server::Down(_) | Server::Empty | Server::Unusable(_)) => return Some(put_aside(s)),
        // Somebody has made a standby of it: who leads is for an election to say.
        (Holder::Nobody | Holder::Unknown, Server::Standby(_)) => return None,
        (
            Holder::Nobody | Holder::Unknown,
            Server::Starting | Server::ShuttingDown | Server::Silent(_),
        ) => return Some(rest(s, Reason::Bootstrapping)),
        (Holder::Nobody | Holder::Unknown, Server::Primary(_)) => {}
    }
    let Some(system_id) = s.system_id.clone() else {
        return Some(put_aside(s));
    };
    let seen = |key: &Key| view.written.get(key).map(|written| written.modified);
    let write = |write: Write, of: Of| {
        let action = Action::Write(write);
        if s.untried(&action) {
            Decision::now(s, action, Reason::Writing(of))
        } else {
            rest(s, Reason::Bootstrapping)
        }
    };
    Some(match &view.initialize {
        // Somebody else makes a cluster, or has: the claim was on a lease that ended.
        Initialize::Done(known) if *known != system_id => put_aside(s),
        Initialize::Claimed if s.claim() == Claim::Another => put_aside(s),
        Initialize::Missing | Initialize::Claimed | Initialize::Garbage => write(
            Write::Initialize(system_id, seen(&Key::Initialize)),
            Of::Initialize,
        ),
        Initialize::Done(_) if seen(&Key::Config).is_none() => {
            write(Write::Config(s.me.initial_config.clone(), None), Of::Config)
        }
        Initialize::Done(_) if s.untried(&Action::Acquire) => {
            Decision::now(s, Action::Acquire, Reason::Initialized)
        }
        Initialize::Done(_) => rest(s, Reason::LostRace),
    })
}

fn put_aside(s: &Snapshot) -> Decision {
    Decision::now(s, Action::Begin(Job::PutAside), Reason::BootstrapFailed)
}

fn give_up(s: &Snapshot) -> Decision {
    if s.fresh().is_some() && s.claim() != Claim::Mine {
        return Decision::now(s, Action::Exit(FAILED), Reason::BootstrapFailed);
    }
    Decision::now(
        s,
        Action::Write(Write::UnclaimInitialize),
        Reason::BootstrapFailed,
    )
}

/// There is no data directory.
pub(super) fn nothing_here(s: &Snapshot, holder: &Holder) -> Decision {
    match holder {
        Holder::Me => release(s, Reason::ReleasedEmpty),
        Holder::Other(leader) => copy(s, leader),
        Holder::Nobody => make(s),
        Holder::Garbled => rest(s, Reason::GarbledLock),
        Holder::Unknown => rest(s, Reason::EtcdSilent),
    }
}

/// There is one that cannot be used.
pub(super) fn unusable(s: &Snapshot, holder: &Holder, words: &str) -> Decision {
    match holder {
        Holder::Me => release(s, Reason::ReleasedUnusable),
        Holder::Other(_) | Holder::Nobody | Holder::Garbled | Holder::Unknown => {
            rest(s, Reason::Unusable(words.to_owned()))
        }
    }
}

/// Lets go of a lock this member has no database for.
pub(super) fn release(s: &Snapshot, reason: Reason) -> Decision {
    let action = Action::Release { optime: None };
    if s.certain().is_some() && s.untried(&action) {
        Decision::now(s, action, reason)
    } else {
        rest(s, reason)
    }
}

/// Nobody leads: this member may be the one to make the cluster.
fn make(s: &Snapshot) -> Decision {
    if let Some(unbuilt) = s.unbuilt() {
        return rest(s, Reason::Unbuilt(unbuilt));
    }
    let missing = s
        .fresh()
        .is_some_and(|view| view.initialize == Initialize::Missing);
    let claim = Action::Write(Write::ClaimInitialize);
    if !missing || !s.me.may_bootstrap || s.me.tags.nofailover() {
        rest(s, Reason::WaitingForBootstrap)
    } else if s.untried(&claim) {
        Decision::now(s, claim, Reason::ClaimingInitialize)
    } else {
        rest(s, Reason::FailedToClaim)
    }
}

/// Somebody leads: its database, or one of a member that is better copied from.
fn copy(s: &Snapshot, leader: &MemberName) -> Decision {
    let replica = source(s, leader);
    let from = replica.as_ref().unwrap_or(leader);
    let Some(upstream) = s.upstream(from) else {
        return rest(s, Reason::NoAddress(leader.clone()));
    };
    let reason = match &replica {
        Some(name) => Reason::CopyingReplica(name.clone()),
        None => Reason::CopyingLeader(leader.clone()),
    };
    let job = Job::Clone(upstream);
    if s.may_begin(&job) {
        Decision::now(s, Action::Begin(job), reason)
    } else {
        let again = s.backs_off(&job).unwrap_or(s.now);
        rest(s, Reason::CopyFailed).by(again)
    }
}

/// A running member that offers itself (`clonefrom`), another one for each of several that look for one.
fn source(s: &Snapshot, leader: &MemberName) -> Option<MemberName> {
    let offers = |(name, member): &(&MemberName, &Member)| {
        let running = member.state == Some(State::Running) && member.conn.is_some();
        **name != s.me.name && *name != leader && running && member.tags.clonefrom()
    };
    let offered: Vec<&MemberName> = s
        .fresh()?
        .members
        .iter()
        .filter(offers)
        .map(|(name, _)| name)
        .collect();
    let mine: usize = s.me.name.as_str().bytes().map(usize::from).sum();
    let chosen = mine.checked_rem(offered.len())?;
    offered.get(chosen).map(|name| (*name).clone())
}
