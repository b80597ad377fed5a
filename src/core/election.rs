//! Who may take a vacant lock: the comparison with everybody else that can be reached (contract 5.5 and 5.7).
//!
//! Sans-IO: it says whom to ask, and decides from the answers. What it compares is what members say of themselves
//! over their REST API; a member that does not answer is as if it were not there. Knows no agent and no PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::cluster::ClusterView;
use crate::wire::member::{ApiUrl, Member, Role};
use crate::wire::rest::{StatusDocument, Xlog};
use crate::{Lsn, MemberName, Timeline};

/// What asking another member's REST API gave.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerWord {
    /// Its status document.
    Says(Box<StatusDocument>),
    /// No answer, or not one of this member's; the cause.
    Silent(String),
}

/// What a member that wants the lock is, and whom it is compared with.
#[derive(Clone, Debug)]
pub struct Contest<'a> {
    /// Its name.
    pub me: &'a MemberName,
    /// How far its log reaches: the greater of received and replayed.
    pub position: Lsn,
    /// Its timeline.
    pub timeline: Option<Timeline>,
    /// Its `failover_priority`.
    pub priority: i64,
    /// Who else may want it.
    pub others: BTreeMap<MemberName, Member>,
    /// What they said.
    pub peers: &'a BTreeMap<MemberName, PeerWord>,
    /// The most it may be behind the leader's last word, in bytes, and that word; `None`: no matter how far.
    pub limit: Option<(u64, Lsn)>,
    /// The timeline it must have reached (`check_timeline`).
    pub least_timeline: Option<Timeline>,
    /// Who led last: where it is as far, its priority does not count.
    pub former: Option<MemberName>,
}

/// What comes of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Nobody has more right to the lock.
    Stands,
    /// These have to be asked first.
    Ask(BTreeSet<MemberName>),
    /// Somebody or something is in the way.
    Defers(Obstacle),
}

/// What keeps a member from taking a vacant lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It is too far behind what the leader last said.
    TooFarBehind,
    /// It is on an older timeline than the cluster, or on none that is known.
    OldTimeline,
    /// Somebody runs as primary.
    PrimaryAlive(MemberName),
    /// Somebody has more of the log.
    Ahead(MemberName),
    /// Somebody was asked for, and can be reached.
    Candidate(MemberName),
    /// Somebody has as much of the log, and is preferred.
    Preferred {
        /// Who.
        other: MemberName,
        /// Its priority.
        theirs: i64,
        /// This member's.
        mine: i64,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFarBehind => f.write_str("My wal position exceeds maximum replication lag"),
            Self::OldTimeline => {
                f.write_str("my timeline is behind the cluster's, or it is not known")
            }
            Self::PrimaryAlive(other) => write!(f, "Primary ({other}) is still alive"),
            Self::Ahead(other) => {
                write!(f, "Wal position of {other} is ahead of my wal position")
            }
            Self::Candidate(other) => write!(f, "{other} is to take over and can be reached"),
            Self::Preferred {
                other,
                theirs,
                mine,
            } => write!(
                f,
                "{other} has equally tolerable WAL position and priority {theirs}, while this node has priority {mine}"
            ),
        }
    }
}

/// Whether the member may take the lock.
pub fn judge(contest: &Contest<'_>) -> Verdict {
    if let Some((most, last)) = contest.limit
        && last.ahead_of(contest.position) > most
    {
        return Verdict::Defers(Obstacle::TooFarBehind);
    }
    if contest
        .least_timeline
        .is_some_and(|least| contest.timeline.is_none_or(|mine| mine < least))
    {
        return Verdict::Defers(Obstacle::OldTimeline);
    }
    let rivals = contest.others.iter().filter(|(name, member)| {
        *name != contest.me && member.api.is_some() && !member.tags.nofailover()
    });
    let mut unasked = BTreeSet::new();
    for (name, _) in rivals {
        match contest.peers.get(name) {
            None => {
                unasked.insert(name.clone());
            }
            Some(PeerWord::Silent(_)) => {}
            Some(PeerWord::Says(document)) => {
                if let Some(obstacle) = compare(contest, name, document) {
                    return Verdict::Defers(obstacle);
                }
            }
        }
    }
    if unasked.is_empty() {
        Verdict::Stands
    } else {
        Verdict::Ask(unasked)
    }
}

/// What this answer puts in the way.
fn compare(
    contest: &Contest<'_>,
    name: &MemberName,
    document: &StatusDocument,
) -> Option<Obstacle> {
    let theirs = promotable(document)?;
    if theirs.is_primary {
        return Some(Obstacle::PrimaryAlive(name.clone()));
    }
    // Where timelines are checked, who is on an older one does not lead either: to wait for it is to wait for ever. One
    // that has not replayed all that it received may be on a newer one than it says.
    let log = &document.xlog;
    let too_old = log.replayed_location >= log.received_location
        && document
            .timeline
            .is_some_and(|theirs| contest.least_timeline.is_some_and(|least| theirs < least));
    if too_old {
        return None;
    }
    if theirs.position > contest.position {
        return Some(Obstacle::Ahead(name.clone()));
    }
    let priority = document.tags.failover_priority();
    let equal = theirs.position == contest.position && contest.former.as_ref() != Some(name);
    (equal && priority > contest.priority).then(|| Obstacle::Preferred {
        other: name.clone(),
        theirs: priority,
        mine: contest.priority,
    })
}

/// Where a member that could be promoted is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The greater of what it received and replayed; zero of a primary.
    pub position: Lsn,
    /// Whether it runs as primary.
    pub is_primary: bool,
}

/// Where a member is that answered so, if it could be promoted: it says where it is in the log, is not excluded and
/// has no watchdog missing (contract 5.5 and L).
#[must_use]
pub fn promotable(document: &StatusDocument) -> Option<Reached> {
    let usable = document.xlog != Xlog::default()
        && !document.tags.nofailover()
        && !document.watchdog_failed;
    let written = document
        .xlog
        .location
        .is_some_and(|location| location.0 > 0);
    usable.then(|| Reached {
        position: document
            .xlog
            .received_location
            .max(document.xlog.replayed_location)
            .unwrap_or_default(),
        is_primary: written || document.role == Role::Primary,
    })
}

/// Everybody who may want the lock: the members of the last view with a leader, those of the present one, and in
/// failsafe mode those the last leader listed.
#[must_use]
pub fn electorate(
    remembered: &BTreeMap<MemberName, Member>,
    view: &ClusterView,
) -> BTreeMap<MemberName, Member> {
    let mut all = remembered.clone();
    all.extend(
        view.members
            .iter()
            .map(|(name, member)| (name.clone(), member.clone())),
    );
    let listed = view.failsafe.iter().filter(|_| view.config.failsafe_mode);
    for (name, url) in listed.flat_map(|failsafe| &failsafe.0) {
        let member = all.entry(name.clone()).or_default();
        if member.api.is_none() {
            member.api = ApiUrl::parse(url).ok();
        }
    }
    all
}
