//! The leader's PostgreSQL was started and does not answer yet (contract 5.10).

use super::action::{Action, Decision, Job, Stop};
use super::handover::{self, Takers};
use super::reason::Reason;
use super::snapshot::Snapshot;
use super::upkeep::rest;
use crate::postgres::Postmaster;

/// How long it is waited for, and what then.
pub(super) fn leader(s: &Snapshot) -> Decision {
    let since = match s.postmaster {
        Postmaster::Up { since, .. } | Postmaster::Down { since } => since,
    };
    let until = since.after(s.me.primary_start_timeout);
    if s.now < until {
        let left = until.since(s.now).as_secs();
        return rest(s, Reason::StartingUp(Some(left))).by(until);
    }
    match handover::takers(s) {
        Takers::Ask(whom) => Decision::now(s, Action::Ask(whom), Reason::AskingPeers),
        Takers::Some => {
            let stop = Job::Stop(Stop::at_once(s.now));
            Decision::now(s, Action::Begin(stop), Reason::StartTimeout)
        }
        Takers::None => rest(s, Reason::StartTimeoutAlone),
    }
}
