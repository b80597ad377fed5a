//! What is remembered from one look to the next: tenures and since when they are known, who was proven last, the
//! members that outlive their keys.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Snapshot;
use super::contradiction::{Claim, Contradictions, What};
use super::silence;
use super::table::Table;
use crate::cluster::{ClusterView, Lock, Tenure};
use crate::health::{Health, Patience};
use crate::probe::{Answer, Probe, Says};
use crate::proof::LockProof;
use crate::wire::failover::Failover;
use crate::wire::member::{Member, Role, State};
use crate::{Lsn, MemberName, Moment, Observed, StoreNumber};

/// The shortest time a member stays known after its key went.
const OUTLIVES_ITS_KEY: Duration = Duration::from_secs(60);

/// The memory of a cluster's looks.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    members: BTreeMap<MemberName, Known>,
    /// The present tenure, or the last one, and since when this router knows of it.
    tenure: Option<(Tenure, Moment)>,
    /// Since when the leader key has been gone.
    gone: Option<Moment>,
    /// The last P1.
    lock: Option<LockProof>,
    /// Whether the cluster was paused at the last P1.
    paused: bool,
    proven: Option<Proven>,
    handover: Option<(Failover, Moment)>,
    /// Since when the write table has not routed.
    holding: Option<Moment>,
    contradictions: Contradictions,
    /// The store that was read last.
    store: Option<StoreNumber>,
    /// When it turned out to be another one than before.
    rebuilt: Option<Moment>,
}

/// A member, with or without a key.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it published last.
    pub published: Member,
    /// When its key was seen to be gone; `None` while it is there.
    pub keyless: Option<Moment>,
    /// Whether its probe is failing.
    pub health: Health,
    /// Since when its lag has not been known.
    pub lag_unknown: Option<Moment>,
    /// Whether it has ever counted as up: only then is it kept when nobody answers any more.
    pub was_up: bool,
    looked: Option<Moment>,
}

/// L: the member that was proven last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// In which tenure.
    pub tenure: Tenure,
    /// Since when.
    pub since: Moment,
    /// When it was last asked and said that it runs as primary and holds the lock.
    pub word: Option<Moment>,
    /// Until when its own agent lets it run, where it says so (`leader_until_ms`).
    pub word_until: Option<Moment>,
}

impl Ledger {
    /// Every known member.
    #[must_use]
    pub const fn members(&self) -> &BTreeMap<MemberName, Known> {
        &self.members
    }

    /// L.
    #[must_use]
    pub const fn proven(&self) -> Option<&Proven> {
        self.proven.as_ref()
    }

    /// The last P1, live or not.
    #[must_use]
    pub const fn lock(&self) -> Option<&LockProof> {
        self.lock.as_ref()
    }

    /// The present tenure (or the last, while the key is gone) and since when it is known.
    #[must_use]
    pub const fn tenure(&self) -> Option<&(Tenure, Moment)> {
        self.tenure.as_ref()
    }

    /// Since when the leader key has been gone.
    #[must_use]
    pub const fn gone(&self) -> Option<Moment> {
        self.gone
    }

    /// Whether the cluster was paused when the lock was last proven.
    #[must_use]
    pub const fn was_paused(&self) -> bool {
        self.paused
    }

    /// Since when a due request has asked L to hand over.
    #[must_use]
    pub fn handover_since(&self) -> Option<Moment> {
        self.handover.as_ref().map(|(_, since)| *since)
    }

    /// Since when the write table has not routed.
    #[must_use]
    pub const fn holding_since(&self) -> Option<Moment> {
        self.holding
    }

    /// Since when the present leader has been known to lead.
    #[must_use]
    pub fn leader_since(&self) -> Option<Moment> {
        self.tenure
            .as_ref()
            .filter(|_| self.gone.is_none())
            .map(|(_, since)| *since)
    }

    /// Whether somebody contradicts the lock and it was not read again since.
    #[must_use]
    pub fn is_contradicted(&self) -> bool {
        self.contradictions.are_open()
    }

    /// When the store of etcd last turned out to be another one than before.
    #[must_use]
    pub(super) const fn rebuilt(&self) -> Option<Moment> {
        self.rebuilt
    }

    /// The members found dead.
    pub(super) fn dead(&self, s: &Snapshot<'_>) -> BTreeSet<MemberName> {
        let dead = |name: &&MemberName| silence::is_dead(name, s);
        self.members.keys().filter(dead).cloned().collect()
    }

    /// The holder of the lock and another member that runs as primary too.
    #[must_use]
    pub(super) fn two_primaries(&self, s: &Snapshot<'_>) -> Option<(MemberName, MemberName)> {
        let holder = self
            .proven
            .as_ref()
            .map(|proven| proven.tenure.holder.clone())?;
        let is_primary = |name: &MemberName| matches!(self.says(name, s), Says::Primary { .. });
        let other = self
            .members
            .keys()
            .find(|name| **name != holder && is_primary(name))?;
        is_primary(&holder).then(|| (holder.clone(), other.clone()))
    }

    /// Whether a look at `member` has come to an end since the present tenure is known.
    #[must_use]
    pub(super) fn was_looked_at(&self, member: &MemberName, s: &Snapshot<'_>) -> bool {
        let looked = s.probes.get(member).and_then(|probe| probe.looked);
        let since = self
            .tenure
            .as_ref()
            .map_or(Moment::BOOT, |(_, first)| *first);
        looked.is_some_and(|looked| looked >= since)
    }

    /// What `member` says of itself; an answer from before the present tenure was known does not count.
    #[must_use]
    pub(super) fn says(&self, member: &MemberName, s: &Snapshot<'_>) -> Says {
        let since = self
            .tenure
            .as_ref()
            .map_or(Moment::BOOT, |(_, first)| *first);
        self.says_since(member, since, s)
    }

    /// What `member` said when it was asked at or after `since`.
    #[must_use]
    pub(super) fn says_since(&self, member: &MemberName, since: Moment, s: &Snapshot<'_>) -> Says {
        s.probes
            .get(member)
            .map_or(Says::Nothing, |probe| Says::of(&probe.rest, since, s.now))
    }

    /// Whether the last that `member` said in the present tenure, however long ago, was that it is no primary.
    #[must_use]
    pub(super) fn last_word_denies(&self, member: &MemberName, s: &Snapshot<'_>) -> bool {
        let since = self
            .tenure
            .as_ref()
            .map_or(Moment::BOOT, |(_, first)| *first);
        s.probes.get(member).is_some_and(|probe| {
            let asked = probe.rest.asked().is_some_and(|asked| asked >= since);
            let denies = |answer: &Answer| answer.document.role != Role::Primary;
            asked && probe.rest.value().is_some_and(denies)
        })
    }

    /// Notes what is new.
    pub(super) fn note(&mut self, s: &Snapshot<'_>) {
        if let Some(view) = s.view.value() {
            let had = self.store.replace(view.store);
            if had.is_some_and(|had| had != view.store && had != StoreNumber::REMEMBERED) {
                self.rebuilt = Some(s.now);
            }
            self.note_lock(view, s);
            self.note_members(view, s);
        }
        self.note_probes(s);
        self.note_proof(s);
        self.note_handover(s);
        let claims = self.claims(s);
        self.contradictions
            .note(claims, self.lock.as_ref().map(|lock| lock.asked), s.now);
    }

    fn note_lock(&mut self, view: &ClusterView, s: &Snapshot<'_>) {
        match &view.lock {
            Lock::Held { tenure, .. } => {
                self.gone = None;
                if self
                    .tenure
                    .as_ref()
                    .is_none_or(|(known, _)| known != tenure)
                {
                    self.tenure = Some((tenure.clone(), s.now));
                    self.holding = self.holding.map(|_| s.now);
                }
            }
            Lock::Vacant | Lock::Garbage { .. } => {
                self.gone.get_or_insert(s.now);
            }
        }
    }

    /// Members outlive their keys: all of them hang on leases that an etcd outage lets run out at once.
    fn note_members(&mut self, view: &ClusterView, s: &Snapshot<'_>) {
        for (name, published) in &view.members {
            let known = self.members.entry(name.clone()).or_insert_with(|| Known {
                published: published.clone(),
                keyless: None,
                health: Health::new(s.now),
                lag_unknown: None,
                was_up: false,
                looked: None,
            });
            let had = std::mem::replace(&mut known.published, published.clone());
            // An address that cannot be read is not known to have changed.
            let now = &mut known.published;
            now.conn = now.conn.take().or(had.conn);
            now.api = now.api.take().or(had.api);
            now.proxy = now.proxy.take().or(had.proxy);
            known.keyless = None;
        }
        let kept_for = OUTLIVES_ITS_KEY.max(view.config.ttl * 2);
        self.members.retain(|name, known| {
            if view.members.contains_key(name) {
                return true;
            }
            let gone = *known.keyless.get_or_insert(s.now);
            let answers = s
                .probes
                .get(name)
                .is_some_and(|probe| probe.rest.fresh().is_some());
            answers || s.now.since(gone) < kept_for
        });
    }

    fn note_probes(&mut self, s: &Snapshot<'_>) {
        let probe = &s.cluster.probe;
        let patience = Patience {
            rise: probe.rise,
            fall: probe.fall,
        };
        for (name, known) in &mut self.members {
            let Some(probe) = s.probes.get(name) else {
                continue;
            };
            if known.looked < probe.looked {
                known.looked = probe.looked;
                known.health.look(is_running(probe), patience, s.now);
                known.was_up |= known.health.is_up();
            }
            if replayed(probe, known).is_some() {
                known.lag_unknown = None;
            } else {
                known.lag_unknown.get_or_insert(s.now);
            }
        }
    }

    fn note_proof(&mut self, s: &Snapshot<'_>) {
        let newest = s
            .reading
            .fresh()
            .and_then(|(reading, _)| LockProof::of(reading));
        if let Some(proof) = newest
            && self
                .lock
                .as_ref()
                .is_none_or(|had| had.asked <= proof.asked)
        {
            self.lock = Some(proof);
            self.paused = s.view.value().is_some_and(|view| view.config.pause);
        }
        if let Some((tenure, first)) = &self.tenure
            && self.gone.is_none()
            && self.is_proven(tenure, *first, s)
            && self
                .proven
                .as_ref()
                .is_none_or(|proven| proven.tenure != *tenure)
        {
            let (tenure, since) = (tenure.clone(), s.now);
            self.proven = Some(Proven {
                tenure,
                since,
                word: None,
                word_until: None,
            });
        }
        if let Some(proven) = &self.proven
            && let Says::Primary { lock: true, asked } = self.says(&proven.tenure.holder, s)
        {
            let document = s
                .probes
                .get(&proven.tenure.holder)
                .and_then(|probe| probe.rest.value());
            let left = document.and_then(|answer| answer.document.leader_until_ms);
            let until = left.map(|left| asked.after(Duration::from_millis(left)));
            if let Some(proven) = &mut self.proven {
                proven.word = Some(asked);
                proven.word_until = until;
            }
        }
    }

    /// Whether the lock and the role of `tenure`'s holder are proven. Who is only remembered has no lock to prove,
    /// and is believed when it says itself that it holds it.
    fn is_proven(&self, tenure: &Tenure, first: Moment, s: &Snapshot<'_>) -> bool {
        let says = self.says_since(&tenure.holder, first, s);
        if tenure.store == StoreNumber::REMEMBERED {
            return matches!(says, Says::Primary { lock: true, .. });
        }
        let lock = self.lock.as_ref();
        lock.is_some_and(|lock| lock.is_live(tenure, s.now)) && matches!(says, Says::Primary { .. })
    }

    /// A switchover away from L: one that names it as leader, or a failover to somebody else.
    fn note_handover(&mut self, s: &Snapshot<'_>) {
        let request = s.view.value().and_then(|view| view.failover.as_ref());
        let due = request.filter(|request| request.scheduled_at.is_none_or(|at| at <= s.wall));
        let holder = self.tenure.as_ref().map(|(tenure, _)| &tenure.holder);
        let away = due.filter(|request| match (&request.leader, &request.candidate) {
            (Some(leader), _) => Some(leader) == holder,
            (None, candidate) => candidate.as_ref() != holder,
        });
        match away {
            None => self.handover = None,
            Some(request) => {
                if self.handover.as_ref().is_none_or(|(had, _)| had != request) {
                    self.handover = Some((request.clone(), s.now));
                }
            }
        }
    }

    /// Whatever members say now that speaks against the present tenure's holder.
    fn claims(&self, s: &Snapshot<'_>) -> Vec<Claim> {
        let Some((tenure, _)) = self.tenure.as_ref().filter(|_| self.gone.is_none()) else {
            return Vec::new();
        };
        let timeline = |name| {
            let (answer, _) = s.probes.get(name)?.rest.fresh()?;
            answer.document.timeline
        };
        let holder_says = self.says(&tenure.holder, s);
        let mut claims = Vec::new();
        let mut claim = |member: &MemberName, what| {
            claims.push(Claim {
                member: member.clone(),
                what,
                against: tenure.clone(),
            });
        };
        if holder_says == Says::InRecovery
            && self
                .proven
                .as_ref()
                .is_some_and(|proven| proven.tenure == *tenure)
        {
            claim(&tenure.holder, What::InRecovery);
        }
        for name in self.members.keys().filter(|name| **name != tenure.holder) {
            let says = self.says(name, s);
            if matches!(says, Says::Primary { lock: true, .. }) {
                claim(name, What::HoldsTheLock);
            }
            if matches!(holder_says, Says::Primary { .. })
                && says != Says::Nothing
                && timeline(name)
                    .zip(timeline(&tenure.holder))
                    .is_some_and(|(one, holder)| one > holder)
            {
                claim(name, What::HigherTimeline);
            }
        }
        claims
    }

    /// Notes what was decided.
    pub(super) fn remember(&mut self, table: &Table, now: Moment) {
        if table.primary.routes() {
            self.holding = None;
        } else {
            self.holding.get_or_insert(now);
        }
    }
}

/// Whether the last look at a member found its PostgreSQL running.
fn is_running(probe: &Probe) -> bool {
    probe
        .rest
        .fresh()
        .is_some_and(|(answer, _)| answer.document.state == State::Running)
}

/// How far a member has replayed: by its REST API, else by its key.
#[must_use]
pub fn replayed(probe: &Probe, known: &Known) -> Option<Lsn> {
    let told = |answer: &Answer| answer.document.xlog.replayed_location;
    match &probe.rest {
        Observed::Fresh { value, .. } => told(value),
        Observed::Stale { .. } | Observed::Unknown { .. } => known
            .keyless
            .is_none()
            .then_some(known.published.replay_lsn)
            .flatten(),
    }
}
