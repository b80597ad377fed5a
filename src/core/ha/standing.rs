//! What a snapshot amounts to: who holds the lock, what PostgreSQL here is doing, and the words for both that go
//! into the member key and the REST API.

use std::time::Duration;

use super::action::{Action, Job, JobOutcome};
use super::snapshot::{InFlight, Snapshot};
use crate::cluster::{ClusterView, Initialize, Lock};
use crate::keys::Key;
use crate::lease::{Held, Renewal, stop_budget};
use crate::postgres::{
    ControlData, ControlState, DataDirectory, Database, Postmaster, Silence, Upstream,
};
use crate::wire::config::{DynamicConfig, SynchronousMode};
use crate::wire::failover::Failover;
use crate::wire::member::{Member, Tags};
use crate::{Lsn, MemberName, Moment, Revision, Timeline, slots};

/// Who holds the lock, for all that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This agent; proven if [`Snapshot::held`] says so.
    Me,
    /// Another member, or one that leads without etcd and says so over POST /failsafe.
    Other(MemberName),
    /// Nobody.
    Nobody,
    /// The leader key names nobody: it is somebody's all the same.
    Garbled,
    /// etcd cannot be asked.
    Unknown,
}

/// Who claims to be making the cluster, as `initialize` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody, or the cluster was made.
    None,
    /// This agent: the claim hangs on its lease.
    Mine,
    /// Somebody else.
    Another,
}

/// What PostgreSQL here is doing.
#[derive(Clone, Copy, Debug)]
pub enum Server<'a> {
    /// There is no data directory.
    Empty,
    /// There is one that cannot be used; in the system's words.
    Unusable(&'a str),
    /// It does not run; what the control file says, if it can be read.
    Down(Option<&'a ControlData>),
    /// It was started and does not answer yet.
    Starting,
    /// It takes writes.
    Primary(&'a Database),
    /// It is in recovery.
    Standby(&'a Database),
    /// It is shutting down.
    ShuttingDown,
    /// It runs and does not answer.
    Silent(&'a Silence),
}

/// What this release cannot do yet, and the cluster asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbuilt {
    /// `synchronous_mode`.
    Synchronous,
    /// `standby_cluster`.
    StandbyCluster,
    /// `watchdog.mode: required`.
    Watchdog,
}

impl Snapshot {
    /// The view, if it is up to date.
    #[must_use]
    pub fn fresh(&self) -> Option<&ClusterView> {
        self.view.fresh().map(|(view, _)| view)
    }

    /// The dynamic configuration in force; before etcd has answered, the one that was last known here: an agent that
    /// starts beside a running primary without etcd has to go by the cluster's times, not by the usual ones.
    #[must_use]
    pub fn config(&self) -> DynamicConfig {
        match self.view.value() {
            Some(view) => view.config.clone(),
            None => DynamicConfig::parse(self.me.initial_config.as_bytes()).unwrap_or_default(),
        }
    }

    /// Whether the cluster is paused, as far as is known.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.view.value().is_some_and(|view| view.config.pause)
    }

    /// The lock while it is certain to be this agent's.
    #[must_use]
    pub fn certain(&self) -> Option<Held> {
        self.held.filter(|held| self.now < held.ends())
    }

    /// Who holds the lock.
    #[must_use]
    pub fn holder(&self) -> Holder {
        // A lock that was won since it was lost in this cycle is proven again.
        let lost = self.renewal.as_ref().filter(|_| self.certain().is_none());
        if let Some(Renewal::Lost { holder }) = lost {
            return match holder {
                Some(name) if *name != self.me.name => Holder::Other(name.clone()),
                Some(_) | None => Holder::Nobody,
            };
        }
        let lock = self.fresh().map(|view| &view.lock);
        if let Some(held) = self.certain() {
            // A later tenure than the one that was proven contradicts the proof; an earlier one is an old view.
            return match lock {
                Some(Lock::Held { tenure, .. })
                    if tenure.holder != self.me.name && tenure.began > held.began =>
                {
                    Holder::Other(tenure.holder.clone())
                }
                Some(Lock::Held { .. } | Lock::Vacant | Lock::Garbage { .. }) | None => Holder::Me,
            };
        }
        match lock {
            None => Holder::Unknown,
            Some(Lock::Garbage { .. }) => Holder::Garbled,
            Some(Lock::Vacant) => self.pinging().map_or(Holder::Nobody, Holder::Other),
            Some(Lock::Held { tenure, .. }) if tenure.holder != self.me.name => {
                Holder::Other(tenure.holder.clone())
            }
            Some(Lock::Held { tenure, .. }) => match self.memory.let_go {
                Some((began, _)) if began == tenure.began => Holder::Nobody,
                Some(_) | None => Holder::Me,
            },
        }
    }

    /// The leader that goes on without etcd and said so less than a time to live ago (contract 5.13).
    fn pinging(&self) -> Option<MemberName> {
        let (name, at) = self.memory.pinged.as_ref()?;
        let view = self.view.value()?;
        let fresh = self.now.since(*at) < view.config.ttl;
        (view.config.failsafe_mode && fresh && *name != self.me.name).then(|| name.clone())
    }

    /// The tenure of this agent, proven or as the view has it.
    #[must_use]
    pub fn tenure(&self) -> Option<Revision> {
        let seen = || match &self.fresh()?.lock {
            Lock::Held { tenure, .. } if tenure.holder == self.me.name => Some(tenure.began),
            Lock::Held { .. } | Lock::Vacant | Lock::Garbage { .. } => None,
        };
        self.held.map(|held| held.began).or_else(seen)
    }

    /// Whether the view shows the lock as it was proven.
    #[must_use]
    pub fn view_agrees(&self, held: &Held) -> bool {
        self.fresh().is_none_or(|view| {
            view.lock
                .tenure()
                .is_some_and(|tenure| tenure.began == held.began && tenure.holder == self.me.name)
        })
    }

    /// What PostgreSQL is doing.
    #[must_use]
    pub fn server(&self) -> Server<'_> {
        if let Postmaster::Down { .. } = self.postmaster {
            return match &self.data {
                DataDirectory::Empty => Server::Empty,
                DataDirectory::Unusable(words) => Server::Unusable(words),
                DataDirectory::Present { .. } => Server::Down(self.control.value()),
            };
        }
        match &self.database {
            crate::Observed::Fresh { value, .. } if value.in_recovery => Server::Standby(value),
            crate::Observed::Fresh { value, .. } => Server::Primary(value),
            crate::Observed::Stale { cause, .. } | crate::Observed::Unknown { cause, .. } => {
                match cause {
                    Silence::NotAsked | Silence::Starting => Server::Starting,
                    Silence::ShuttingDown => Server::ShuttingDown,
                    Silence::Unreachable(_) | Silence::TimedOut | Silence::Failed(_) => {
                        Server::Silent(cause)
                    }
                }
            }
        }
    }

    /// Whether PostgreSQL may be accepting writes, or be about to.
    #[must_use]
    pub fn may_write(&self) -> bool {
        if matches!(
            self.job_in_flight(),
            Some(Job::Promote | Job::Start(super::Mode::Primary, _))
        ) {
            return true;
        }
        if !self.postmaster.is_up() || self.shutdown_checkpoint().is_some() {
            return false;
        }
        match self.server() {
            // Its own word goes before any file: somebody may have put a signal file beside a running primary.
            Server::Primary(_) => true,
            Server::Standby(_) => false,
            // A signal file stands until recovery is over; only then are writes accepted.
            Server::Empty
            | Server::Unusable(_)
            | Server::Down(_)
            | Server::Starting
            | Server::ShuttingDown
            | Server::Silent(_) => {
                !matches!(self.data, DataDirectory::Present { signal: true, .. })
            }
        }
    }

    /// Where the shutdown checkpoint begins, if the control file says that a primary is shut down: nothing is
    /// written to the log after it, whether the postmaster is gone or still waits for its archiver.
    ///
    /// While a postmaster runs that counts only of one that is being stopped, as read since: one that was just
    /// started has not touched the control file yet.
    #[must_use]
    pub fn shutdown_checkpoint(&self) -> Option<Lsn> {
        let (control, asked) = self.control.fresh()?;
        let since = match (self.postmaster, &self.job) {
            (Postmaster::Down { since }, _) => since,
            (
                Postmaster::Up { .. },
                Some(InFlight {
                    job: Job::Stop(_),
                    since,
                    ..
                }),
            ) => *since,
            (Postmaster::Up { .. }, _) => return None,
        };
        (control.state == ControlState::ShutDown && asked >= since).then_some(control.checkpoint)
    }

    /// The job in flight.
    #[must_use]
    pub fn job_in_flight(&self) -> Option<&Job> {
        self.job.as_ref().map(|flight| &flight.job)
    }

    /// Whether this action was not yet refused or left unanswered in this cycle, nor carried out a moment ago: a
    /// view that does not show what was done must not have it done again and again.
    #[must_use]
    pub fn untried(&self, action: &Action) -> bool {
        !self.refused.contains(action) && !self.memory.did_just_now(action, self.now)
    }

    /// Whether etcd can be asked, as far as this cycle knows.
    #[must_use]
    pub fn reaches_etcd(&self) -> bool {
        self.fresh().is_some() && !matches!(self.renewal, Some(Renewal::Unreachable(_)))
    }

    /// Whether a job of this kind may be begun: not while the last one of it failed a moment ago.
    #[must_use]
    pub fn may_begin(&self, job: &Job) -> bool {
        self.backs_off(job).is_none_or(|until| self.now >= until)
    }

    /// Until when no job of this kind is begun because the last one failed.
    #[must_use]
    pub fn backs_off(&self, job: &Job) -> Option<Moment> {
        let end = self.memory.ended.as_ref()?;
        let same = std::mem::discriminant(job) == std::mem::discriminant(&end.job);
        // What was still starting then and is to be started now has died since.
        let failed = matches!(
            end.outcome,
            JobOutcome::Failed(_) | JobOutcome::StillStarting
        );
        let pause = self
            .config()
            .loop_wait
            .clamp(Duration::from_secs(1), Duration::from_secs(5));
        (same && failed).then(|| end.ended.after(pause))
    }

    /// The operator's request that is in the failover key.
    #[must_use]
    pub fn request(&self) -> Option<&Failover> {
        self.fresh()?.failover.as_ref()
    }

    /// Whether a request is for now: not scheduled, or its time has come.
    #[must_use]
    pub fn is_due(&self, request: &Failover) -> bool {
        request.scheduled_at.is_none_or(|at| at <= self.wall)
    }

    /// What the cluster asks for that this release cannot do.
    #[must_use]
    pub fn unbuilt(&self) -> Option<Unbuilt> {
        if self.me.watchdog_required {
            return Some(Unbuilt::Watchdog);
        }
        let view = self.view.value()?;
        // A cluster that is yet to be made gets the configuration that this member brings.
        let initial = (!view.written.contains_key(&Key::Config))
            .then(|| DynamicConfig::parse(self.me.initial_config.as_bytes()).ok())
            .flatten();
        let config = initial.as_ref().unwrap_or(&view.config);
        if config.synchronous_mode != SynchronousMode::Off {
            Some(Unbuilt::Synchronous)
        } else if config.is_standby_cluster() {
            Some(Unbuilt::StandbyCluster)
        } else {
            None
        }
    }

    /// The tags in effect: as configured, and nothing that this release cannot do is asked of this member.
    #[must_use]
    pub fn tags(&self) -> Tags {
        let mut tags = self.me.tags.clone();
        if self.unbuilt().is_some() {
            tags.0.insert("nosync".to_owned(), true.into());
            tags.0.insert("nofailover".to_owned(), true.into());
        }
        tags
    }

    /// A member by its name: as it stands in the view, or did when there last was a leader.
    #[must_use]
    pub fn member(&self, name: &MemberName) -> Option<&Member> {
        let seen = self.view.value().and_then(|view| view.members.get(name));
        seen.or_else(|| self.memory.electorate.get(name))
    }

    /// The timeline the leader says it is on.
    #[must_use]
    pub fn leaders_timeline(&self) -> Option<Timeline> {
        match self.holder() {
            Holder::Other(leader) => self.member(&leader)?.timeline,
            Holder::Me | Holder::Nobody | Holder::Garbled | Holder::Unknown => None,
        }
    }

    /// How to stream from a member.
    #[must_use]
    pub fn upstream(&self, name: &MemberName) -> Option<Upstream> {
        let conn = self.member(name)?.conn.as_ref()?;
        Some(Upstream {
            name: Some(name.clone()),
            host: conn.host.to_string(),
            port: conn.port,
            slot: self.me.use_slots.then(|| slots::name_of(&self.me.name)),
        })
    }

    /// Whom to follow while this member leads: whom the tags name, else the leader; nobody for `nostream`.
    #[must_use]
    pub fn to_follow(&self, leader: &MemberName) -> Option<Upstream> {
        if self.me.tags.nostream() {
            return None;
        }
        let preferred = self
            .me
            .tags
            .get("replicatefrom")
            .map(|name| MemberName::from(&*name));
        let preferred = preferred.filter(|name| *name != self.me.name && self.is_member(name));
        preferred
            .and_then(|name| self.upstream(&name))
            .or_else(|| self.upstream(leader))
    }

    /// Whom a standby here followed last: better than nobody while it is not known whom to follow.
    #[must_use]
    pub fn followed(&self) -> Option<Upstream> {
        match &self.data {
            DataDirectory::Present {
                signal: true,
                follows,
                ..
            } => follows.clone(),
            DataDirectory::Present { .. } | DataDirectory::Empty | DataDirectory::Unusable(_) => {
                None
            }
        }
    }

    fn is_member(&self, name: &MemberName) -> bool {
        self.view
            .value()
            .is_some_and(|view| view.members.contains_key(name))
    }

    /// Whether the data here is of the cluster in etcd: `None` where one of both is not known.
    #[must_use]
    pub fn is_own_data(&self) -> Option<bool> {
        let cluster = self.view.value()?.system_id.as_ref()?;
        Some(self.system_id.as_ref()? == cluster)
    }

    /// Whether the cluster in etcd has no valid system identifier.
    #[must_use]
    pub fn is_uninitialized(&self) -> bool {
        self.fresh()
            .is_some_and(|view| !matches!(view.initialize, Initialize::Done(_)))
    }

    /// Who claims to be making the cluster.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let claimed = |view: &&ClusterView| view.initialize == Initialize::Claimed;
        let Some(view) = self.fresh().filter(claimed) else {
            return Claim::None;
        };
        let lease = view
            .written
            .get(&Key::Initialize)
            .and_then(|written| written.lease);
        if lease.is_some() && lease == self.lease.map(|lease| lease.id) {
            Claim::Mine
        } else {
            Claim::Another
        }
    }

    /// How often the lease and what changes all the time is renewed: twice within a wait or a third of the time
    /// to live, whichever is shorter, so that one renewal may be late; but at most twice a second, since cycles
    /// may come as fast as events do.
    #[must_use]
    pub fn pace(&self) -> Duration {
        let config = self.config();
        let ttl = self
            .held
            .map_or(config.ttl, |held| held.granted.min(config.ttl));
        (config.loop_wait.min(ttl / 3) / 2).max(Duration::from_millis(500))
    }

    /// By when the stop of a primary whose lock cannot be confirmed must be over.
    #[must_use]
    pub fn stopped_by(&self) -> Moment {
        match self.held {
            Some(held) => held.ends().before(stop_budget(held.granted) / 10),
            None => self.now.after(stop_budget(self.config().ttl)),
        }
    }
}
