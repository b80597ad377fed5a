//! A request in the failover key while nobody holds the lock: who goes, and who stands back (contract 5.7).

use std::collections::BTreeSet;

use super::race;
use super::snapshot::{PeerWord, Snapshot};
use super::standing::Server;
use crate::election::{self, Obstacle, Verdict};

/// What the request makes of this standby; `None` where there is no request. A scheduled one counts before its time
/// too: whoever was to lead then leads now (contract, appendix L).
pub(super) fn candidate(s: &Snapshot) -> Option<Verdict> {
    let request = s.request()?;
    let Server::Standby(database) = s.server() else {
        return None;
    };
    if let Some(candidate) = &request.candidate {
        if *candidate == s.me.name {
            return Some(Verdict::Stands);
        }
        let known = race::electorate(s);
        let reachable = known
            .get(candidate)
            .is_some_and(|member| member.api.is_some() && !member.tags.nofailover());
        match s.peers.get(candidate) {
            // The others are asked with it: should it be silent, nobody has to be waited for again.
            None if reachable => {
                let contest = race::contest(s, database, false);
                let mut whom = match election::judge(&contest) {
                    Verdict::Ask(whom) => whom,
                    Verdict::Stands | Verdict::Defers(_) => BTreeSet::new(),
                };
                whom.insert(candidate.clone());
                return Some(Verdict::Ask(whom));
            }
            Some(PeerWord::Says(document)) if election::promotable(document).is_some() => {
                return Some(Verdict::Defers(Obstacle::Candidate(candidate.clone())));
            }
            Some(PeerWord::Says(_) | PeerWord::Silent(_)) | None => {}
        }
    }
    let mut contest = race::contest(s, database, false);
    if request.leader.as_ref() != Some(&s.me.name) {
        return Some(election::judge(&contest));
    }
    // The old leader goes only if nobody else can: whoever answers and could be promoted goes before it.
    contest.others.remove(&s.me.name);
    let verdict = election::judge(&contest);
    let able = contest.others.keys().find(|name| match s.peers.get(*name) {
        Some(PeerWord::Says(document)) => {
            let lags =
                |position| contest.position.ahead_of(position) > s.config().maximum_lag_on_failover;
            election::promotable(document).is_some_and(|it| !lags(it.position))
        }
        Some(PeerWord::Silent(_)) | None => false,
    });
    Some(match able {
        Some(name) => Verdict::Defers(Obstacle::Candidate(name.clone())),
        None => verdict,
    })
}
