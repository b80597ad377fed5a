//! A job is in flight: the lock is kept, and it is waited for (contract 5.15).

use super::action::{Action, Decision, Job};
use super::reason::Reason;
use super::snapshot::Snapshot;
use super::standing::{Holder, Server};
use super::upkeep::rest;

/// Waits for the job in flight; `None` where there is none.
pub(super) fn decide(s: &Snapshot) -> Option<Decision> {
    let job = s.job_in_flight()?;
    let me = s.me.name.clone();
    let leads = s.certain().is_some() && s.holder() == Holder::Me;
    let standby = matches!(s.server(), Server::Standby(_));
    let urgent = is_light(job) && standby && !s.is_paused();
    // A free lock is not left to others because something small is being done, nor a promotion put off by it.
    if urgent && s.holder() == Holder::Nobody {
        return None;
    }
    if urgent && leads && s.job.as_ref().is_some_and(|flight| !flight.cancelled) {
        return Some(Decision::now(
            s,
            Action::Cancel,
            Reason::MakingWay(job.into()),
        ));
    }
    Some(rest(
        s,
        match (is_light(job), s.holder()) {
            (true, Holder::Me) if leads => Reason::Leading(me),
            (true, Holder::Other(leader)) => Reason::Following { me, leader },
            (_, Holder::Me) if leads => Reason::UpdatedLockDuring(job.into()),
            (
                _,
                Holder::Me | Holder::Other(_) | Holder::Nobody | Holder::Garbled | Holder::Unknown,
            ) => Reason::InProgress(job.into()),
        },
    ))
}

/// Whether PostgreSQL goes on as ever meanwhile.
const fn is_light(job: &Job) -> bool {
    match job {
        Job::Checkpoint | Job::Reload | Job::Slots(_) | Job::CheckRewind(_) => true,
        Job::Bootstrap
        | Job::PutAside
        | Job::Clone(_)
        | Job::Start(_, _)
        | Job::Stop(_)
        | Job::Promote
        | Job::Follow(_)
        | Job::Rewind(_)
        | Job::CrashRecovery
        | Job::Wipe => false,
    }
}
