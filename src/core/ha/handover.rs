//! Whom a leader could hand over to: who may be asked, who could be promoted, and who has everything (A4).

use std::collections::BTreeSet;

use super::snapshot::{PeerWord, Snapshot};
use super::standing::Server;
use crate::election;
use crate::postgres::Database;
use crate::wire::rest::StatusDocument;
use crate::{Lsn, MemberName, Observed};

/// Whether somebody else could take over now.
pub(super) enum Takers {
    /// These have to be asked.
    Ask(BTreeSet<MemberName>),
    /// Somebody could.
    Some,
    /// Nobody could.
    None,
}

/// Whether anybody could take over now, as far as their answers say.
pub(super) fn takers(s: &Snapshot) -> Takers {
    let all = candidates(s, None);
    let able = |name: &&MemberName| answer(s, name).is_some_and(|document| is_able(s, document));
    if all.iter().any(|name| able(&name)) {
        return Takers::Some;
    }
    let unasked = unasked(s, &all);
    if unasked.is_empty() {
        Takers::None
    } else {
        Takers::Ask(unasked)
    }
}

/// The members that could be handed over to: this one if one was named, else everybody.
pub(super) fn candidates(s: &Snapshot, only: Option<&MemberName>) -> BTreeSet<MemberName> {
    let Some(view) = s.view.value() else {
        return BTreeSet::new();
    };
    let may = |name: &&MemberName| {
        let member = view.members.get(*name);
        **name != s.me.name
            && only.is_none_or(|only| only == *name)
            && member.is_some_and(|member| member.api.is_some() && !member.tags.nofailover())
    };
    view.members.keys().filter(may).cloned().collect()
}

/// Those of them that were not asked in this cycle.
pub(super) fn unasked(s: &Snapshot, of: &BTreeSet<MemberName>) -> BTreeSet<MemberName> {
    of.iter()
        .filter(|name| !s.peers.contains_key(*name))
        .cloned()
        .collect()
}

/// What a member answered in this cycle.
pub(super) fn answer<'s>(s: &'s Snapshot, name: &MemberName) -> Option<&'s StatusDocument> {
    match s.peers.get(name)? {
        PeerWord::Says(document) => Some(document),
        PeerWord::Silent(_) => None,
    }
}

/// Whether a member could be promoted: it says so, it is near enough, and on the timeline it has to be on.
pub(super) fn is_able(s: &Snapshot, document: &StatusDocument) -> bool {
    let known = match &s.database {
        Observed::Fresh { value, .. } | Observed::Stale { value, .. } => Database::position(value),
        Observed::Unknown { .. } => s.view.value().and_then(|view| view.status.optime),
    };
    let most = s.config().maximum_lag_on_failover;
    let mine = match s.server() {
        Server::Primary(database) => database.timeline,
        Server::Empty
        | Server::Unusable(_)
        | Server::Down(_)
        | Server::Starting
        | Server::Standby(_)
        | Server::ShuttingDown
        | Server::Silent(_) => None,
    };
    let old = s.me.check_timeline && mine.is_some() && document.timeline < mine;
    election::promotable(document).is_some_and(|there| {
        let lag = known.unwrap_or_default().ahead_of(there.position);
        !there.is_primary && lag <= most && !old
    })
}

/// Whether nothing that was ever acknowledged is lost where the lock goes to one of these: somebody who could be promoted
/// has received more of the log than where the shutdown checkpoint begins, and nobody comes as far with another log, who
/// would win by that. So all of them are asked first.
///
/// Who says that it is on an older timeline has, as far as it goes, another log.
pub(super) fn has_it_all(s: &Snapshot, of: &BTreeSet<MemberName>, checkpoint: Lsn) -> bool {
    if !unasked(s, of).is_empty() {
        return false;
    }
    let mine = s.control.value().map(|control| control.timeline);
    let (mut heir, mut stranger) = (None, None);
    for document in of.iter().filter_map(|name| answer(s, name)) {
        let same_log = document.timeline.is_none() || document.timeline >= mine;
        let there = election::promotable(document).filter(|there| !there.is_primary);
        let furthest = if same_log { &mut heir } else { &mut stranger };
        *furthest = (*furthest).max(there.map(|there| there.position));
    }
    let stranger = stranger.filter(|_| !s.me.check_timeline);
    heir > Some(checkpoint) && heir > stranger
}

/// Whether nobody of these answered in this cycle.
pub(super) fn all_silent(s: &Snapshot, of: &BTreeSet<MemberName>) -> bool {
    !of.iter().any(|name| answer(s, name).is_some())
}
