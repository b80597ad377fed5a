//! The decision: its top-level cases, in the order in which they go before each other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::action::{Action, Decision};
use super::reason::Reason;
use super::snapshot::{PeerWord, Snapshot};
use super::standing::{Holder, Server};
use super::upkeep::rest;
use super::{
    bootstrap, crash, dcs_lost, ending, follower, identity, job, leader, lost, pause, race,
    starved, switchover, upkeep,
};
use crate::MemberName;

/// Decides what to do now: one action and why.
pub fn decide(s: &Snapshot) -> Decision {
    lost::decide(s)
        .or_else(|| ending::decide(s))
        .or_else(|| upkeep::decide(s))
        .or_else(|| dcs_lost::decide(s))
        .or_else(|| bootstrap::under_way(s))
        .or_else(|| switchover::decide(s))
        .or_else(|| job::decide(s))
        .or_else(|| identity::decide(s))
        .or_else(|| pause::decide(s))
        .or_else(|| starved::decide(s))
        .unwrap_or_else(|| by_role(s))
}

/// Everything is as usual: what this member does depends on who holds the lock.
fn by_role(s: &Snapshot) -> Decision {
    match (s.server(), s.holder()) {
        (Server::Empty, holder) => bootstrap::nothing_here(s, &holder),
        (Server::Unusable(words), holder) => bootstrap::unusable(s, &holder, words),
        (_, Holder::Me) if s.certain().is_none() => rest(s, Reason::EtcdSilent),
        (_, Holder::Me) => leader::decide(s),
        (_, Holder::Other(leader)) => follower::decide(s, &leader),
        (_, Holder::Nobody) => race::decide(s),
        // Nobody can be followed, and whoever reads need not wait for the operator.
        (Server::Down(_), Holder::Garbled) => crash::follower(s, None),
        (_, Holder::Garbled) => rest(s, Reason::GarbledLock),
        (_, Holder::Unknown) => rest(s, Reason::EtcdSilent),
    }
}

/// Whoever has no key any more was not heard of for a whole lease; its REST API gets so long to prove otherwise.
const PRESUMED_DEAD: Duration = Duration::from_millis(500);

/// Whether these answers already decide, `waited` after everybody was asked: then the silent ones need not be
/// waited for. `snapshot` is the one the question was decided from.
#[must_use]
pub fn settled(
    snapshot: &Snapshot,
    answers: &BTreeMap<MemberName, PeerWord>,
    waited: Duration,
) -> bool {
    let Action::Ask(asked) = decide(snapshot).action else {
        return true;
    };
    let mut then = snapshot.clone();
    then.peers.extend(
        answers
            .iter()
            .map(|(name, word)| (name.clone(), word.clone())),
    );
    if waited >= PRESUMED_DEAD {
        let view = snapshot.fresh();
        let gone = |name: &&MemberName| view.is_some_and(|view| !view.members.contains_key(*name));
        for name in asked.iter().filter(gone) {
            let silent = || PeerWord::Silent("no answer yet, and its key is gone".to_owned());
            then.peers.entry(name.clone()).or_insert_with(silent);
        }
    }
    !matches!(decide(&then).action, Action::Ask(_))
}
