//! Replay has stopped since the primary has more of something than this standby (contract 5.8): PostgreSQL 14 and later
//! waits like that until somebody lets it go on, and then shuts down, so that it can be started with as much. It is stopped
//! in order instead: what is started next gets as much as the control file asks for. A pause of the operator's own is left
//! alone.

use super::action::{Action, Decision, Job, Stop};
use super::reason::Reason;
use super::snapshot::Snapshot;
use super::standing::Server;
use super::upkeep::rest;

/// Stops such a standby; `None` where there is none.
pub(super) fn decide(s: &Snapshot) -> Option<Decision> {
    let Server::Standby(database) = s.server() else {
        return None;
    };
    let (needed, _) = s.control.fresh()?;
    let limits = database.limits.filter(|_| database.replay_paused)?;
    if !limits.fall_short_of(needed) {
        return None;
    }
    let stop = Job::Stop(Stop {
        immediate: false,
        checkpoint: false,
        deadline: None,
    });
    Some(match s.backs_off(&stop).filter(|again| s.now < *again) {
        Some(again) => rest(s, Reason::TooFewForReplay).by(again),
        None => Decision::now(s, Action::Begin(stop), Reason::TooFewForReplay),
    })
}
