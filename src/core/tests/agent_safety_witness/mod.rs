//! What must hold of every step, written from the promises: the witness shares no judgement with the decision.

pub(crate) mod events;

use std::time::Duration;

use trunkline_core::cluster::{ClusterView, Lock};
use trunkline_core::ha::{Action, Decision, Job, Mode, Outcome, PeerWord, Snapshot, Write};
use trunkline_core::lease::Renewal;
use trunkline_core::postgres::{ControlState, DataDirectory, Database, Postmaster};
use trunkline_core::wire::config::SynchronousMode;
use trunkline_core::{Lsn, MemberName, Moment, Observed};

/// A promise of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    A1,
    A2,
    A4,
    A5,
    A7,
}

/// What was seen that has to be remembered to judge.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    /// When the request that is in the failover key was first seen by a leader.
    asked: Option<Moment>,
    /// Since when PostgreSQL is stopped for a switchover.
    stopped: Option<Moment>,
    /// Whether this process made the cluster it is making.
    making: bool,
    /// Whether the lock was won in this cycle: what a renewal was told before that is over.
    won: bool,
}

type Verdict = Result<(), String>;

impl Witness {
    /// Holds a step against these promises.
    pub(crate) fn attest(
        &mut self,
        s: &Snapshot,
        d: &Decision,
        outcome: &Outcome,
        of: &[Promise],
    ) -> Verdict {
        self.remember(s, d, outcome);
        self.won &= s.renewal.is_some();
        for promise in of {
            let verdict = match promise {
                Promise::A1 => self.a1(s, d),
                Promise::A2 => self.a2(s, d),
                Promise::A4 => self.a4(s, d),
                Promise::A5 => a5(s, d, self.making),
                Promise::A7 => a7(s, d, self.won),
            };
            verdict.map_err(|why| {
                format!("{promise:?}: {why}\n{:?}: {}\n{s:#?}", d.action, d.reason)
            })?;
        }
        self.won |= d.action == Action::Acquire && *outcome == Outcome::Done;
        Ok(())
    }

    fn remember(&mut self, s: &Snapshot, d: &Decision, outcome: &Outcome) {
        let request = s.view.fresh().and_then(|(view, _)| view.failover.as_ref());
        match request {
            Some(_) => self.asked = self.asked.or(Some(s.now)),
            None => self.asked = None,
        }
        match &d.action {
            Action::Begin(Job::Stop(stop)) => {
                self.stopped = (stop.checkpoint && *outcome == Outcome::Done).then_some(s.now);
            }
            Action::Begin(Job::Start(..)) => self.stopped = None,
            Action::Write(Write::ClaimInitialize) => self.making = true,
            Action::Begin(Job::Bootstrap) => self.making = true,
            _ => {}
        }
    }

    /// While PostgreSQL may write and the lock is known to be lost, or its lease may have ended, nothing is done but
    /// stopping it at once; and it is never begun to write without a lock that is certain.
    fn a1(&self, s: &Snapshot, d: &Decision) -> Verdict {
        if is_paused(s) || self.making {
            return Ok(());
        }
        let certain = s.held.is_some_and(|held| s.now < held.ends());
        let stopping = matches!(&s.job, Some(flight) if matches!(flight.job, Job::Stop(stop) if stop.immediate));
        let stops = matches!(d.action, Action::Begin(Job::Stop(stop)) if stop.immediate && stop.deadline.is_some());
        if accepts_writes(s)
            && (known_lost(s, self.won) || (s.held.is_some() && !certain))
            && !stopping
            && !stops
        {
            return Err(
                "PostgreSQL accepts writes, the lock is gone, and something else is done first"
                    .to_owned(),
            );
        }
        let to_write = matches!(
            d.action,
            Action::Begin(Job::Promote | Job::Start(Mode::Primary, _))
        );
        if to_write && (!certain || known_lost(s, self.won)) {
            return Err("PostgreSQL is to accept writes without a lock that is certain".to_owned());
        }
        // Once it has ended nobody stops PostgreSQL when the lease does.
        let leaves = matches!(d.action, Action::Exit(_)) && !s.ending && !is_paused(s);
        if leaves && certain && accepts_writes(s) {
            return Err("the agent ends beside a primary that has the lock".to_owned());
        }
        // A lock that cannot be confirmed: the stop has begun when there is only the time for it left.
        if let Some(held) = s.held.filter(|_| certain && accepts_writes(s)) {
            let gives_way = matches!(
                &d.action,
                Action::Begin(Job::Stop(_)) | Action::Renew { .. }
            ) || matches!(&s.job, Some(flight) if bounded(&flight.job, held.ends()));
            let left = held.ends().since(s.now);
            if left < Duration::from_millis(500) && !gives_way {
                return Err(format!(
                    "{left:?} are left and PostgreSQL is not being stopped"
                ));
            }
            if let Action::Renew { by } = d.action
                && by.after(Duration::from_millis(400)) > held.ends()
            {
                return Err("a renewal is waited for until the lease ends".to_owned());
            }
        }
        Ok(())
    }

    /// The lock is taken, and PostgreSQL promoted, by the rules of 5.5 only.
    fn a2(&self, s: &Snapshot, d: &Decision) -> Verdict {
        let view = s.view.fresh().map(|(view, _)| view);
        match &d.action {
            Action::Begin(Job::Promote) => {
                let mine = s.held.is_some_and(|held| s.now < held.ends());
                (mine && !is_paused(s))
                    .then_some(())
                    .ok_or("promoted without the lock".to_owned())
            }
            Action::Acquire => {
                let view = view.ok_or("the lock is taken without a view")?;
                // etcd may have said to a renewal what the view does not show yet.
                let told = matches!(s.renewal, Some(Renewal::Lost { holder: None }));
                // Its own letting go is as good: the view may show the lock of that tenure for a while.
                let let_go = matches!((&view.lock, s.memory.let_go), (Lock::Held { tenure, .. }, Some((began, _)))
                    if tenure.holder == s.me.name && tenure.began == began);
                if view.lock != Lock::Vacant && !told && !let_go {
                    return Err("a lock that is not free is taken".to_owned());
                }
                self.may_lead(s, view)
            }
            _ => Ok(()),
        }
    }

    fn may_lead(&self, s: &Snapshot, view: &ClusterView) -> Verdict {
        let no = |why: &str| Err(why.to_owned());
        let config = &view.config;
        let led = self.making && !s.memory.joined;
        if led {
            // What was switched on while the cluster was being made is as if it was while it is led.
        } else if config.synchronous_mode != SynchronousMode::Off
            || config.is_standby_cluster()
            || s.me.watchdog_required
        {
            return no("a mode that this release cannot do is in force");
        }
        let Observed::Fresh {
            value: database, ..
        } = &s.database
        else {
            return no("PostgreSQL does not answer");
        };
        if let (Some(cluster), Some(own)) = (&view.system_id, &s.system_id)
            && cluster != own
        {
            return no("the data is another cluster's");
        }
        if !database.in_recovery {
            let reached = view
                .history
                .as_ref()
                .map(trunkline_core::wire::history::History::timeline);
            return match reached {
                Some(reached)
                    if !is_paused(s) && !self.making && database.timeline < Some(reached) =>
                {
                    no("an old primary takes the lock")
                }
                _ => Ok(()),
            };
        }
        if s.me.tags.nofailover() || config.pause {
            return no("it must not lead");
        }
        if let Some((name, at)) = &s.memory.pinged
            && config.failsafe_mode
            && *name != s.me.name
            && s.now.since(*at) < config.ttl
        {
            return no("a leader without etcd pings");
        }
        nobody_goes_before(s, view, database)
    }

    /// PostgreSQL is stopped for a request only when a candidate streams and answers; the lock is let go for it only
    /// when PostgreSQL can write no more and a candidate has more than the beginning of the shutdown checkpoint.
    fn a4(&self, s: &Snapshot, d: &Decision) -> Verdict {
        let no = |why: &str| Err(why.to_owned());
        match &d.action {
            Action::Begin(Job::Stop(stop)) if stop.checkpoint => {
                let Some((view, _)) = s.view.fresh() else {
                    return no("stopped without a view");
                };
                let Some(request) = &view.failover else {
                    return no("stopped without a request");
                };
                let Observed::Fresh {
                    value: database, ..
                } = &s.database
                else {
                    return no("PostgreSQL does not answer");
                };
                let named =
                    |name: &MemberName| request.candidate.as_ref().is_none_or(|it| it == name);
                let able = s.peers.iter().any(|(name, word)| match word {
                    PeerWord::Says(word) => {
                        let streams =
                            database.standbys.iter().any(|it| {
                                it.application == name.as_str() && it.state == "streaming"
                            }) || word.replication_state.as_deref() == Some("streaming");
                        named(name) && streams && word.xlog.location.is_none()
                    }
                    PeerWord::Silent(_) => false,
                });
                if able {
                    Ok(())
                } else {
                    no("stopped, and nobody streams")
                }
            }
            // Data that is another cluster's, or that nobody can read any more, is as good as a leader that died.
            Action::Release { .. } if s.is_own_data() != Some(true) => Ok(()),
            Action::Release { .. } if self.stopped.is_some() && !s.ending => {
                let control = s
                    .control
                    .value()
                    .filter(|it| it.state == ControlState::ShutDown);
                let Some(control) = control else {
                    return no("let go before PostgreSQL was shut down");
                };
                if matches!(s.database, Observed::Fresh { .. }) && s.postmaster.is_up() {
                    return no("let go while PostgreSQL answers");
                }
                let has = s.peers.values().any(|word| match word {
                    PeerWord::Says(word) => {
                        word.xlog.received_location.max(word.xlog.replayed_location)
                            > Some(control.checkpoint)
                    }
                    PeerWord::Silent(_) => false,
                });
                // It could not be started again either: somebody else has to go on with what there is.
                let failed = s
                    .memory
                    .ended
                    .as_ref()
                    .is_some_and(|end| matches!(end.job, Job::Start(..)));
                if has || failed {
                    Ok(())
                } else {
                    no("let go, and nobody has the shutdown checkpoint")
                }
            }
            _ => Ok(()),
        }
    }
}

/// Everybody who might want the lock was asked, and nobody who answered has more right to it.
fn nobody_goes_before(s: &Snapshot, view: &ClusterView, database: &Database) -> Verdict {
    let no = |why: &str| Err(why.to_owned());
    let mine = database.received.max(database.replayed).unwrap_or(Lsn(0));
    let request = view.failover.as_ref();
    if request.is_some_and(|request| request.candidate.as_ref() == Some(&s.me.name)) {
        return Ok(());
    }
    let behind = view
        .status
        .optime
        .unwrap_or_default()
        .0
        .saturating_sub(mine.0);
    if request.is_none() && behind > view.config.maximum_lag_on_failover {
        return no("it is too far behind");
    }
    for (name, member) in s.memory.electorate.iter().chain(&view.members) {
        if *name == s.me.name || member.api.is_none() || member.tags.nofailover() {
            continue;
        }
        match s.peers.get(name) {
            None => return no("somebody was not asked"),
            Some(PeerWord::Silent(_)) => {}
            Some(PeerWord::Says(word)) => {
                if word.xlog.location.is_some() {
                    return no("a primary is alive");
                }
                if word.xlog.received_location.max(word.xlog.replayed_location) > Some(mine) {
                    return no("somebody is ahead");
                }
                if request.is_some_and(|request| request.candidate.as_ref() == Some(name)) {
                    return no("the candidate can be reached");
                }
            }
        }
    }
    Ok(())
}

/// Nothing is copied over data, nothing wiped unless told so and proven to be the cluster's, and nothing foreign is
/// started, rewound or recovered.
fn a5(s: &Snapshot, d: &Decision, making: bool) -> Verdict {
    let Action::Begin(job) = &d.action else {
        return Ok(());
    };
    let cluster = s.view.value().and_then(|view| view.system_id.clone());
    let own = cluster.is_some() && s.system_id == cluster;
    let foreign = match (&cluster, &s.system_id) {
        (Some(cluster), Some(here)) => cluster != here,
        _ => false,
    };
    let good = match job {
        Job::Clone(_) | Job::Bootstrap => s.data == DataDirectory::Empty,
        Job::Wipe => own && (s.me.wipe_on_divergence || s.me.wipe_on_rewind_failure),
        Job::PutAside => making,
        Job::Rewind(_) => own && s.me.may_rewind,
        Job::Start(..) => !foreign && s.system_id.is_some(),
        Job::CrashRecovery | Job::Promote => !foreign,
        _ => true,
    };
    if good {
        Ok(())
    } else {
        Err("data is touched that must not be".to_owned())
    }
}

/// A primary whose lock is certain is stopped for etcd's silence only when it has to: at the contract's moment, or when
/// the time that a stop takes is all that is left.
fn a7(s: &Snapshot, d: &Decision, won: bool) -> Verdict {
    let Action::Begin(Job::Stop(stop)) = &d.action else {
        return Ok(());
    };
    let Some(held) = s.held.filter(|held| s.now < held.ends()) else {
        return Ok(());
    };
    let asked = stop.checkpoint || s.ending;
    let too_slow = matches!(s.postmaster, Postmaster::Up { since, .. } if s.now >= since.after(s.me.primary_start_timeout));
    let foreign = s.is_own_data() == Some(false);
    if asked || foreign || known_lost(s, won) || (stop.immediate && too_slow) || !accepts_writes(s)
    {
        return Ok(());
    }
    let config = s
        .view
        .value()
        .map(|view| view.config.clone())
        .unwrap_or_default();
    let contract = held
        .confirmed
        .after(config.loop_wait + config.retry_timeout);
    let left = held.ends().since(s.now);
    if s.now >= contract || left <= Duration::from_secs(5) {
        return Ok(());
    }
    Err(format!("stopped {left:?} before the lease could end"))
}

fn is_paused(s: &Snapshot) -> bool {
    s.view.value().is_some_and(|view| view.config.pause)
}

/// Somebody else has the lock, or etcd said that this agent has not and it has not won it since.
fn known_lost(s: &Snapshot, won: bool) -> bool {
    if let Some(Renewal::Lost { .. }) = s.renewal
        && !won
    {
        return true;
    }
    match s.view.fresh().map(|(view, _)| &view.lock) {
        Some(Lock::Held { tenure, .. }) => {
            tenure.holder != s.me.name
                && s.held
                    .is_none_or(|held| held.began < tenure.began || s.now >= held.ends())
        }
        _ => false,
    }
}

/// It answers as a primary, or was one when it was heard last and runs still.
fn accepts_writes(s: &Snapshot) -> bool {
    let DataDirectory::Present { signal, .. } = s.data else {
        return false;
    };
    let Postmaster::Up { .. } = s.postmaster else {
        return false;
    };
    match &s.database {
        Observed::Fresh { value, .. } => !value.in_recovery,
        Observed::Stale { .. } | Observed::Unknown { .. } => !signal && !is_shut_down(s),
    }
}

/// The control file says so, read since the stop that is under way began.
fn is_shut_down(s: &Snapshot) -> bool {
    let Observed::Fresh { value, asked } = &s.control else {
        return false;
    };
    let since = s
        .job
        .as_ref()
        .filter(|flight| matches!(flight.job, Job::Stop(_)))
        .map(|flight| flight.since);
    value.state == ControlState::ShutDown && since.is_some_and(|since| *asked >= since)
}

/// A stop that is over before that moment.
fn bounded(job: &Job, end: Moment) -> bool {
    matches!(job, Job::Stop(stop) if stop.immediate || stop.deadline.is_some_and(|deadline| deadline <= end))
}
