//! A witness beside each router: its own record of the evidence, and what the specification allows on it.
//!
//! It is written from the specification (proofs P1 to P3, the write table), not from the code. Of the router it
//! takes two claims, which the other half of it ([`truth`]) holds against the world: what etcd said last, and when
//! that was asked.

use std::collections::BTreeMap;
use std::time::Duration;

use trunkline_core::cluster::{ClusterView, Lock, Tenure};
use trunkline_core::config::router::WhenUnproven;
use trunkline_core::probe::Accepts;
use trunkline_core::route::change::Change;
use trunkline_core::route::{Residence, Row, Table, Verdict};
use trunkline_core::wire::failover::Failover;
use trunkline_core::{MemberName, Moment, StoreNumber};

use crate::node::Heard;
use crate::router::Router;

pub(crate) mod agents;
mod carries;
pub(crate) mod terms;
pub(crate) mod truth;
mod word;

use word::{Word, word};

const TWO: Duration = Duration::from_secs(2);
const THREE: Duration = Duration::from_secs(3);

/// What was last heard of a member.
#[derive(Clone, Debug, Default)]
struct Member {
    /// The last answer, if the last question had one that counts.
    word: Option<Word>,
    /// The last answer that counted, whatever came of later questions.
    last: Option<Word>,
    /// When its PostgreSQL was asked that said last that it accepts, if that was its last answer.
    accepts: Option<Moment>,
    /// When either was asked that answered anything of its own.
    heard: Option<Moment>,
}

/// A reading of the lock that counts: whose, asked when, and D.
#[derive(Clone, Debug)]
struct Proof {
    tenure: Tenure,
    asked: Moment,
    deadline: Moment,
    granted: Duration,
    paused: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Witness {
    members: BTreeMap<MemberName, Member>,
    tenure: Option<(Tenure, Moment)>,
    gone: Option<Moment>,
    proof: Option<Proof>,
    /// L, in the tenure it was proven in, and until when its last 200 as a running primary carries.
    proven: Option<(Tenure, Option<Moment>)>,
    target: Option<(MemberName, Option<Tenure>)>,
    /// An operator's request for another leader, and since when it is known.
    handover: Option<(Failover, Moment)>,
    /// Whether the system identifier was ever read from etcd: from then on it is known.
    identified: bool,
}

impl Witness {
    /// A member answered a question sent at `asked`, or did not.
    pub(crate) fn hears(&mut self, name: &MemberName, rest: bool, asked: Moment, heard: &Heard) {
        let member = self.members.entry(name.clone()).or_default();
        match heard {
            Heard::Rest(code, body) => {
                member.word = word(*code, body, name.as_str(), asked, self.identified);
                if member.word.is_some() {
                    member.last.clone_from(&member.word);
                    member.heard = Some(asked);
                }
            }
            Heard::Postgres(accepts) => {
                member.accepts = (*accepts == Accepts::Yes).then_some(asked);
                member.heard = Some(asked);
            }
            Heard::Nothing(_) if rest => member.word = None,
            Heard::Nothing(_) => member.accepts = None,
        }
    }

    /// The router has looked: its decision is held against the record.
    pub(crate) fn attest(
        &mut self,
        r: &Router,
        change: &Change,
        now: Moment,
    ) -> Result<(), String> {
        let Some(table) = &r.table else {
            return Ok(());
        };
        self.record(r, now);
        let view = r.feed.follow.view().value();
        let pool = &table.pools[0];
        match (&pool.verdict, &pool.targets[..]) {
            (Verdict::Route, [target]) => {
                self.may_route(&target.member, table, now)?;
                self.no_handover(&target.member, now)?;
            }
            (Verdict::Hold(_) | Verdict::Refuse(_), []) => {}
            (_, targets) => return Err(format!("{:?} with {targets:?}", pool.verdict)),
        }
        self.sessions_may_live(r, table, now)?;
        self.may_hold(view, table, now)?;
        for end in change.ends.iter().filter(|end| end.listener == "write") {
            self.may_end(&end.target.member, view, r, now)?;
        }
        Ok(())
    }

    fn record(&mut self, r: &Router, now: Moment) {
        let view = r.feed.follow.view().value();
        self.identified |= view.is_some_and(|view| view.system_id.is_some());
        let asked = view.and_then(|view| view.failover.clone());
        let asked = asked.filter(|asked| asked.scheduled_at.is_none());
        if asked.is_none() || asked.as_ref() != self.handover.as_ref().map(|(had, _)| had) {
            self.handover = asked.map(|asked| (asked, now));
        }
        match view.map(|view| &view.lock) {
            Some(Lock::Held { tenure, .. }) => {
                self.gone = None;
                let known = self.tenure.as_ref();
                if known.is_none_or(|(known, _)| known != tenure) {
                    self.tenure = Some((tenure.clone(), now));
                }
            }
            Some(Lock::Vacant | Lock::Garbage { .. }) => {
                self.gone.get_or_insert(now);
            }
            None => {}
        }
        let paused = view.is_some_and(|view| view.config.pause);
        if let Some((reading, asked)) = r.feed.follow.reading().fresh()
            && let Lock::Held { tenure, lease } = Lock::of(reading.leader.as_ref(), reading.store)
            && let Some(left) = reading.lease.filter(|left| Some(left.lease) == lease)
            && left.left > 0
            && left.left <= left.granted
        {
            let promised = u64::try_from(left.left * 990 - 1_000).unwrap_or(0);
            self.proof = Some(Proof {
                tenure,
                asked,
                deadline: asked.after(Duration::from_millis(promised)),
                granted: Duration::from_secs(left.granted.unsigned_abs()),
                paused,
            });
        }
        // Who is only remembered is believed when it says itself that it holds the lock.
        let is_proven = |tenure: &Tenure| match self.primary(&tenure.holder, now) {
            Some((_, code)) if tenure.store == StoreNumber::REMEMBERED => code == 200,
            Some(_) => self.is_live(tenure, now),
            None => false,
        };
        if let Some(tenure) = self.holder().cloned()
            && is_proven(&tenure)
            && self
                .proven
                .as_ref()
                .is_none_or(|(known, _)| *known != tenure)
        {
            self.proven = Some((tenure, None));
        }
        if let Some((tenure, _)) = &self.proven
            && let Some((asked, 200)) = self.primary(&tenure.holder, now)
        {
            let says = self.word(&tenure.holder, now).and_then(|word| word.until);
            let end = says.unwrap_or(asked.after(THREE));
            if let Some((_, carried)) = &mut self.proven {
                *carried = Some(end);
            }
        }
    }

    /// R1: the lock and the role, each with a proof that lives; or what the table allows where one is missing.
    fn may_route(&mut self, member: &MemberName, table: &Table, now: Moment) -> Result<(), String> {
        let tenure = self.tenure.as_ref().map(|(tenure, _)| tenure.clone());
        if self.holder().is_some_and(|tenure| tenure.holder != *member) {
            return Err(format!(
                "R1: routes to {member} while another holds the lock"
            ));
        }
        let proven = self.proven.as_ref();
        let proven = proven.ok_or("R1: routes before anybody was proven")?;
        if proven.0.holder != *member {
            return Err(format!("R1: routes to {member}, who was not proven last"));
        }
        let p1 = self.holder().filter(|tenure| self.is_live(tenure, now));
        let p2 = self.primary(member, now);
        let p3 = self.accepts(member, now);
        let since = |at: Moment| at.after(THREE);
        let proof = self.proof.as_ref();
        let lock = proof.map(|proof| since(proof.asked).min(proof.deadline));
        let in_tenure = p1 == Some(&proven.0);
        let end = match (p1, p2, p3) {
            (Some(_), Some((asked, _)), _) => lock.map(|lock| lock.min(since(asked))),
            (Some(_), None, Some(asked)) if in_tenure && !self.speaks(member, now) => {
                lock.map(|lock| lock.min(since(asked)))
            }
            // etcd cannot be asked, or the key is gone: the leader's own word.
            (None, Some((asked, 200)), _)
                if self.gone.is_none_or(|gone| asked >= gone)
                    && !self.another_claims(member, now) =>
            {
                Some(since(asked))
            }
            (None, _, Some(asked))
                if self.pause_carries(now) && !self.another_claims(member, now) =>
            {
                Some(since(asked))
            }
            _ => None,
        };
        let end =
            end.ok_or_else(|| format!("R1: routes to {member} without proof: {p2:?} {p3:?}"))?;
        let valid = table.pools[0].valid_until;
        if valid <= now || valid > end {
            return Err(format!(
                "R1: valid until {valid}, with evidence until {end}"
            ));
        }
        match self.target.replace((member.clone(), tenure.clone())) {
            Some((before, had)) if before != *member && had == tenure => {
                Err(format!("R1: from {before} to {member} in one tenure"))
            }
            _ => Ok(()),
        }
    }

    /// Nobody new goes to a leader that was asked to hand over, for ten seconds.
    fn no_handover(&self, member: &MemberName, now: Moment) -> Result<(), String> {
        let asked = self.handover.as_ref().filter(|(asked, since)| {
            let names = asked.leader.as_ref() == Some(member);
            names && now.since(*since) < Duration::from_secs(10)
        });
        let p1 = self.holder().filter(|tenure| self.is_live(tenure, now));
        let p1 = p1.filter(|tenure| tenure.holder == *member);
        match (asked, p1) {
            (Some((_, since)), Some(_)) => Err(format!(
                "R4: routes to {member}, asked to hand over at {since}"
            )),
            (_, _) => Ok(()),
        }
    }

    /// R3 and R5: sessions live on L alone, as long as nobody else has the lock and some proof or bound carries.
    fn sessions_may_live(&self, r: &Router, table: &Table, now: Moment) -> Result<(), String> {
        for (target, residence) in &table.pools[0].residents {
            let member = &target.member;
            let until = match residence {
                Residence::End => continue,
                Residence::Stay => Moment::NEVER,
                Residence::Until(until) => *until,
            };
            if until <= now {
                return Err(format!("sessions on {member} until {until}"));
            }
            if self.holder().is_some_and(|tenure| tenure.holder != *member) {
                return Err(format!(
                    "R3: sessions live on {member}, another holds the lock"
                ));
            }
            let word = self.proven.as_ref().and_then(|(_, word)| *word);
            let word = word.unwrap_or(Moment::BOOT);
            let proof = self.proof.as_ref();
            let deadline = proof.map_or(Moment::BOOT, |proof| proof.deadline);
            let paused = proof.is_some_and(|proof| proof.paused);
            let keeps = r.cluster.when_unproven == WhenUnproven::Keep;
            let holds_on = self
                .gone
                .is_some_and(|gone| self.holds_on(member, gone, now));
            let limit = match (self.gone, table.primary.row) {
                _ if self.speaks_against_itself(member, r, now) => Moment::BOOT,
                _ if paused || holds_on => Moment::NEVER,
                // A running primary may take a vacant lock again within two seconds, or say that it holds on.
                (Some(gone), _) => gone.after(TWO),
                (None, Row::SplitBrain) => deadline,
                (None, _) if self.can_be_asked(now) => self.lease_may_end(word),
                (None, Row::Blind) if keeps => Moment::NEVER,
                (None, _) => deadline.max(word),
            };
            if until > limit {
                return Err(format!(
                    "R5: sessions on {member} until {until}, beyond {limit}"
                ));
            }
        }
        Ok(())
    }

    /// Whether L itself says what ends its sessions at once: it is in recovery, or, while etcd cannot be asked, it
    /// lost the lock.
    fn speaks_against_itself(&self, member: &MemberName, r: &Router, now: Moment) -> bool {
        let Some(word) = self.word(member, now) else {
            return false;
        };
        if self.gone.is_some_and(|gone| word.asked < gone) {
            return false;
        }
        let etcd_answers = self.gone.is_some() || self.can_be_asked(now);
        let demoted = word.is_demoted();
        if !etcd_answers {
            let paused = self.proof.as_ref().is_some_and(|proof| proof.paused);
            let lost = word.runs && word.role == "primary" && word.code != 200;
            return demoted || (lost && !paused);
        }
        // A holder has to have been proven first, and one that was asked to hand over is waited for.
        let view = r.feed.follow.view().value();
        let handover = view.is_some_and(|view| view.failover.is_some());
        let proven = self.proven.as_ref().map(|(tenure, _)| tenure);
        let counts = self.gone.is_some() || (proven == self.holder() && !handover);
        demoted && counts
    }

    /// R4 and R6: nobody is held while the holder is proven, unless the table says why; and held, not refused.
    fn may_hold(
        &self,
        view: Option<&ClusterView>,
        table: &Table,
        now: Moment,
    ) -> Result<(), String> {
        let standby = view.is_some_and(|view| view.config.is_standby_cluster())
            || table.primary.row == Row::StandbyCluster;
        if matches!(table.pools[0].verdict, Verdict::Route) || standby {
            return Ok(());
        }
        if matches!(table.pools[0].verdict, Verdict::Refuse(_)) {
            return Err("R4: refuses, and this is no standby cluster".into());
        }
        let Some(tenure) = self.holder().filter(|tenure| self.is_live(tenure, now)) else {
            return Ok(());
        };
        let handover = view.is_some_and(|view| view.failover.is_some());
        let known = view.is_some_and(|view| view.members.contains_key(&tenure.holder));
        let timeline = |name: &MemberName| self.word(name, now)?.timeline;
        let contradicted = self.members.keys().any(|name| {
            let ahead = timeline(name) > timeline(&tenure.holder);
            *name != tenure.holder
                && (self.primary(name, now).is_some_and(|(_, code)| code == 200) || ahead)
        });
        let proven = self.primary(&tenure.holder, now).is_some();
        if proven && known && !handover && !contradicted {
            let row = table.primary.row;
            return Err(format!("R4: holds although {tenure} is proven: {row:?}"));
        }
        Ok(())
    }

    /// R5: no session ends while a proof of its target is fresh and nothing contradicts it.
    fn may_end(
        &self,
        member: &MemberName,
        view: Option<&ClusterView>,
        r: &Router,
        now: Moment,
    ) -> Result<(), String> {
        let Some((tenure, _)) = &self.proven else {
            return Ok(());
        };
        let standby = view.is_some_and(|view| view.config.is_standby_cluster());
        let contradicts = self.word(member, now).is_some_and(Word::is_demoted);
        let dead = self.silent_for(member, now) >= THREE;
        let known = view.is_some_and(|view| view.members.contains_key(member));
        if tenure.holder != *member || standby || contradicts || dead {
            return Ok(());
        }
        let proof = self.proof.as_ref();
        let deadline = proof.map_or(Moment::BOOT, |proof| proof.deadline);
        let says = self.primary(member, now);
        let reason = match (self.holder(), self.gone) {
            (Some(holder), _) if holder.holder != *member => return Ok(()),
            (Some(holder), _) if self.is_live(holder, now) && known => "its lock is proven",
            (Some(_), _) if known && now < deadline && !matches!(says, Some((_, 503))) => {
                "D is not reached"
            }
            (Some(_), _)
                if matches!(says, Some((_, 200)))
                    && self
                        .proven
                        .as_ref()
                        .is_some_and(|(_, word)| word.is_some_and(|end| now < end))
                    && known
                    && !self.another_claims(member, now) =>
            {
                "it says that it leads"
            }
            (None, Some(gone))
                if self.holds_on(member, gone, now) && !self.another_claims(member, now) =>
            {
                "it holds on without its key"
            }
            (None, Some(gone))
                if says.is_some_and(|(asked, _)| asked >= gone)
                    && now < gone.after(TWO)
                    && !self.another_claims(member, now) =>
            {
                "it runs, and its key is gone for less than two seconds"
            }
            (_, _) => return Ok(()),
        };
        let row = r.table.as_ref().map(|table| table.primary.row);
        Err(format!(
            "R5: sessions on {member} end although {reason}: {row:?}"
        ))
    }

    /// Who holds the lock by etcd's last word.
    fn holder(&self) -> Option<&Tenure> {
        let tenure = self.tenure.as_ref().map(|(tenure, _)| tenure);
        tenure.filter(|_| self.gone.is_none())
    }

    fn is_live(&self, tenure: &Tenure, now: Moment) -> bool {
        self.proof.as_ref().is_some_and(|proof| {
            let lately = now < proof.asked.after(THREE);
            proof.tenure == *tenure && lately && now < proof.deadline
        })
    }

    fn can_be_asked(&self, now: Moment) -> bool {
        let lately = |at: Moment| now < at.after(THREE);
        let Some((tenure, first)) = &self.tenure else {
            return false;
        };
        let proven = self.proof.as_ref().filter(|proof| proof.tenure == *tenure);
        lately(*first) || proven.is_some_and(|proof| lately(proof.asked))
    }

    /// When `member` was asked and said that it runs as a primary, and its code; since the tenure was known.
    fn primary(&self, member: &MemberName, now: Moment) -> Option<(Moment, u16)> {
        let word = self.word(member, now)?;
        (word.runs && word.role == "primary").then_some((word.asked, word.code))
    }

    fn speaks(&self, member: &MemberName, now: Moment) -> bool {
        self.word(member, now).is_some()
    }

    fn word(&self, member: &MemberName, now: Moment) -> Option<&Word> {
        let word = self.members.get(member)?.word.as_ref()?;
        let tenure = self.tenure.as_ref();
        let since = tenure.map_or(Moment::BOOT, |(_, first)| *first);
        (word.asked >= since && now < word.asked.after(THREE)).then_some(word)
    }

    /// When the PostgreSQL of `member` accepted (P3). A standby accepts too: nothing is made of that after the member
    /// has said in this tenure that it is none who is written to, until it says otherwise.
    fn accepts(&self, member: &MemberName, now: Moment) -> Option<Moment> {
        let tenure = self.tenure.as_ref();
        let since = tenure.map_or(Moment::BOOT, |(_, first)| *first);
        let member = self.members.get(member)?;
        let last = member.last.as_ref().filter(|last| last.asked >= since);
        if last.is_some_and(|last| last.role != "primary") {
            return None;
        }
        let asked = member.accepts?;
        (now < asked.after(THREE)).then_some(asked)
    }

    fn silent_for(&self, member: &MemberName, now: Moment) -> Duration {
        let heard = self.members.get(member).and_then(|member| member.heard);
        heard.map_or(Duration::ZERO, |heard| now.since(heard))
    }

    fn holds_on(&self, member: &MemberName, gone: Moment, now: Moment) -> bool {
        let says = self.primary(member, now);
        says.is_some_and(|(asked, code)| code == 200 && asked >= gone)
    }

    fn another_claims(&self, member: &MemberName, now: Moment) -> bool {
        let claims = |name: &&MemberName| matches!(self.primary(name, now), Some((_, 200)));
        let mut others = self.members.keys().filter(|name| *name != member);
        others.any(|name| claims(&name))
    }

    /// In pause, a lock that was proven less than ttl ago and a PostgreSQL that accepts carry.
    fn pause_carries(&self, now: Moment) -> bool {
        self.proof
            .as_ref()
            .is_some_and(|proof| proof.paused && now <= proof.asked.after(proof.granted))
    }
}
