//! A witness beside the router: it keeps its own record of the evidence and says what may be done on it.
//!
//! It is written from the specification, not from the code, and shares nothing with the ledger.

use std::time::Duration;

use trunkline_core::cluster::{Lock, Tenure};
use trunkline_core::probe::{Accepts, Answer};
use trunkline_core::proof::Reading;
use trunkline_core::route::{Residence, Row, Table, Verdict};
use trunkline_core::wire::member::{Role, State};
use trunkline_core::{MemberName, Moment};

use crate::world::World;

pub(crate) mod steps;

const THREE_SECONDS: Duration = Duration::from_secs(3);
const TWO_SECONDS: Duration = Duration::from_secs(2);

/// A reading of the lock that counts: whose, asked when, and D.
#[derive(Clone, Debug)]
struct Proof {
    tenure: Tenure,
    asked: Moment,
    deadline: Moment,
    granted: Duration,
    paused: bool,
}

/// The record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Witness {
    tenure: Option<(Tenure, Moment)>,
    gone: Option<Moment>,
    proof: Option<Proof>,
    /// L, in the tenure it was proven in, and when it last said 200 as a running primary.
    proven: Option<(Tenure, Option<Moment>)>,
    target: Option<(MemberName, Option<Tenure>)>,
}

impl Witness {
    /// The router has looked: its decision is held against the record.
    pub(crate) fn attest(&mut self, world: &World) -> Result<(), String> {
        self.record(world);
        let table = world.table.as_ref().ok_or("nothing was decided")?;
        let pool = &table.pools[0];
        match (&pool.verdict, &pool.targets[..]) {
            (Verdict::Route, [target]) => self.may_route(&target.member, table, world)?,
            (Verdict::Hold(_) | Verdict::Refuse(_), []) => {}
            (_, targets) => return Err(format!("{:?} with {targets:?}", pool.verdict)),
        }
        self.sessions_may_live(table, world)?;
        self.may_hold(table, world)
    }

    fn record(&mut self, world: &World) {
        let now = world.now;
        match world.view().value().map(|view| &view.lock) {
            Some(Lock::Held { tenure, .. }) => {
                self.gone = None;
                if self
                    .tenure
                    .as_ref()
                    .is_none_or(|(known, _)| known != tenure)
                {
                    self.tenure = Some((tenure.clone(), now));
                }
            }
            Some(Lock::Vacant | Lock::Garbage { .. }) => {
                self.gone.get_or_insert(now);
            }
            None => {}
        }
        let paused = world.view().value().is_some_and(|view| view.config.pause);
        if let Some((reading, _)) = world.reading().fresh()
            && let Some(proof) = proof(reading, paused)
        {
            self.proof = Some(proof);
        }
        if let Some(tenure) = self.holder().cloned()
            && self.is_live(&tenure, now)
            && self.primary(&tenure.holder, world).is_some()
            && self
                .proven
                .as_ref()
                .is_none_or(|(known, _)| *known != tenure)
        {
            self.proven = Some((tenure, None));
        }
        if let Some((tenure, _)) = &self.proven
            && let Some((asked, 200)) = self.primary(&tenure.holder, world)
            && let Some((_, word)) = &mut self.proven
        {
            *word = Some(asked);
        }
    }

    /// R1: the lock and the role, each with a proof that lives; or what the table allows where one is missing.
    fn may_route(
        &mut self,
        member: &MemberName,
        table: &Table,
        world: &World,
    ) -> Result<(), String> {
        let now = world.now;
        let tenure = self.tenure.as_ref().map(|(tenure, _)| tenure.clone());
        if self.holder().is_some_and(|tenure| tenure.holder != *member) {
            return Err(format!("routes to {member} while another holds the lock"));
        }
        let proven = self
            .proven
            .as_ref()
            .ok_or("routes before anybody was proven")?;
        if proven.0.holder != *member {
            return Err(format!("routes to {member}, who was not proven last"));
        }
        let p1 = self
            .holder()
            .filter(|tenure| self.is_live(tenure, now))
            .cloned();
        let p2 = self.primary(member, world);
        let p3 = accepts(member, world);
        let since = |at: Moment| at.after(THREE_SECONDS);
        let lock = self
            .proof
            .as_ref()
            .map(|proof| since(proof.asked).min(proof.deadline));
        let in_tenure = p1.as_ref() == Some(&proven.0);
        let end = match (p1, p2, p3) {
            (Some(_), Some((asked, _)), _) => lock.map(|lock| lock.min(since(asked))),
            (Some(_), None, Some(asked)) if in_tenure && !self.speaks(member, world) => {
                lock.map(|lock| lock.min(since(asked)))
            }
            // etcd cannot be asked, or the key is gone: the leader's own word.
            (None, Some((asked, 200)), _) if self.gone.is_none_or(|gone| asked >= gone) => {
                Some(since(asked))
            }
            (None, _, Some(asked)) if self.pause_carries(now) => Some(since(asked)),
            _ => None,
        };
        let end = end.ok_or_else(|| format!("routes to {member} without proof: {p2:?} {p3:?}"))?;
        let valid = table.pools[0].valid_until;
        if valid <= now || valid > end {
            return Err(format!(
                "valid until {valid}, at {now}, with evidence until {end}"
            ));
        }
        match self.target.replace((member.clone(), tenure.clone())) {
            Some((before, had)) if before != *member && had == tenure => {
                Err(format!("from {before} to {member} in one tenure"))
            }
            _ => Ok(()),
        }
    }

    /// R3 and R5: sessions live on L alone, as long as nobody else has the lock and some proof or bound carries.
    fn sessions_may_live(&self, table: &Table, world: &World) -> Result<(), String> {
        let now = world.now;
        for (target, residence) in &table.pools[0].residents {
            let member = &target.member;
            let until = match residence {
                Residence::End => continue,
                Residence::Stay => Moment::NEVER,
                Residence::Until(until) => *until,
            };
            if until <= now {
                return Err(format!(
                    "sessions on {member} until {until}, and it is {now}"
                ));
            }
            if self.holder().is_some_and(|tenure| tenure.holder != *member) {
                return Err(format!(
                    "sessions live on {member} while another holds the lock"
                ));
            }
            let word = self.proven.as_ref().and_then(|(_, word)| *word);
            let word = word.map_or(Moment::BOOT, |asked| asked.after(THREE_SECONDS));
            let deadline = self
                .proof
                .as_ref()
                .map_or(Moment::BOOT, |proof| proof.deadline);
            let paused = self.proof.as_ref().is_some_and(|proof| proof.paused);
            let limit = match (self.gone, table.primary.row) {
                _ if paused => Moment::NEVER,
                // A running primary may take a vacant lock again within two seconds, or say that it holds on.
                (Some(gone), _) if self.holds_on(member, gone, world) => Moment::NEVER,
                (Some(gone), _) => gone.after(TWO_SECONDS),
                (None, Row::SplitBrain) => deadline,
                (None, _) if self.can_be_asked(now) => Moment::NEVER,
                (None, _) => deadline.max(word),
            };
            if until > limit {
                return Err(format!(
                    "sessions on {member} until {until}, beyond {limit}"
                ));
            }
        }
        Ok(())
    }

    /// R4 and R6: nobody is held while the holder is proven, unless the table says why; and held, not refused.
    fn may_hold(&self, table: &Table, world: &World) -> Result<(), String> {
        let view = world.view().value();
        let standby = view.is_some_and(|view| view.config.is_standby_cluster())
            || table.primary.row == Row::StandbyCluster;
        if matches!(table.pools[0].verdict, Verdict::Route) || standby {
            return Ok(());
        }
        if matches!(table.pools[0].verdict, Verdict::Refuse(_)) {
            return Err("refuses, and this is no standby cluster".into());
        }
        let Some(tenure) = self
            .holder()
            .filter(|tenure| self.is_live(tenure, world.now))
        else {
            return Ok(());
        };
        let handover = view.is_some_and(|view| view.failover.is_some());
        let known = view.is_some_and(|view| view.members.contains_key(&tenure.holder));
        let contradicted = world.nodes.keys().any(|name| {
            *name != tenure.holder && self.primary(name, world).is_some_and(|(_, c)| c == 200)
        });
        let proven = self.primary(&tenure.holder, world).is_some();
        if proven && known && !handover && !contradicted {
            return Err(format!(
                "holds although {tenure} is proven: {:?}",
                table.primary.row
            ));
        }
        Ok(())
    }

    /// Who holds the lock by etcd's last word.
    fn holder(&self) -> Option<&Tenure> {
        self.tenure
            .as_ref()
            .map(|(tenure, _)| tenure)
            .filter(|_| self.gone.is_none())
    }

    fn is_live(&self, tenure: &Tenure, now: Moment) -> bool {
        self.proof.as_ref().is_some_and(|proof| {
            proof.tenure == *tenure
                && now < proof.asked.after(THREE_SECONDS)
                && now < proof.deadline
        })
    }

    fn can_be_asked(&self, now: Moment) -> bool {
        let lately = |at: Moment| now < at.after(THREE_SECONDS);
        let Some((tenure, first)) = &self.tenure else {
            return false;
        };
        let proven = self.proof.as_ref().filter(|proof| proof.tenure == *tenure);
        lately(*first) || proven.is_some_and(|proof| lately(proof.asked))
    }

    /// When `member` was asked and said that it runs as a primary, and its code; since the tenure was known.
    fn primary(&self, member: &MemberName, world: &World) -> Option<(Moment, u16)> {
        let (answer, asked) = self.answer(member, world)?;
        let runs = answer.document.state == State::Running && answer.document.role == Role::Primary;
        runs.then_some((asked, answer.code))
    }

    /// Whether its REST API says anything that counts.
    fn speaks(&self, member: &MemberName, world: &World) -> bool {
        self.answer(member, world).is_some()
    }

    fn answer<'w>(&self, member: &MemberName, world: &'w World) -> Option<(&'w Answer, Moment)> {
        let (answer, asked) = world.probe(member)?.rest.fresh()?;
        let since = self
            .tenure
            .as_ref()
            .map_or(Moment::BOOT, |(_, first)| *first);
        (asked >= since && world.now < asked.after(THREE_SECONDS)).then_some((answer, asked))
    }

    fn holds_on(&self, member: &MemberName, gone: Moment, world: &World) -> bool {
        self.primary(member, world)
            .is_some_and(|(asked, code)| code == 200 && asked >= gone)
    }

    /// In pause, a lock that was proven less than ttl ago and a PostgreSQL that accepts carry.
    fn pause_carries(&self, now: Moment) -> bool {
        self.proof
            .as_ref()
            .is_some_and(|proof| proof.paused && now <= proof.asked.after(proof.granted))
    }
}

fn accepts(member: &MemberName, world: &World) -> Option<Moment> {
    let (accepts, asked) = world.probe(member)?.postgres.fresh()?;
    (*accepts == Accepts::Yes && world.now < asked.after(THREE_SECONDS)).then_some(asked)
}

/// D by the book: sent + TTL - (1 s + 1 %), if the lease lives and is the key's.
fn proof(reading: &Reading, paused: bool) -> Option<Proof> {
    let Lock::Held { tenure, lease } = Lock::of(reading.leader.as_ref(), reading.store) else {
        return None;
    };
    let left = reading.lease.filter(|left| Some(left.lease) == lease)?;
    if left.left <= 0 || left.left > left.granted {
        return None;
    }
    let milliseconds = u64::try_from(left.left * 990 - 1_000).unwrap_or(0);
    Some(Proof {
        tenure,
        asked: reading.asked,
        deadline: reading.asked.after(Duration::from_millis(milliseconds)),
        granted: Duration::from_secs(left.granted.unsigned_abs()),
        paused,
    })
}
