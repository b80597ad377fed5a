//! What each fault does to the world when it begins and when it ends.

use std::time::Duration;

use super::{Asked, Cut, Fault, Rest, Watches};
use crate::etcd::store::Op;
use crate::etcd::watch::Misbehaviour;
use crate::events::Event;
use crate::network::{ETCDS, Party};
use crate::node::postgres::{State, Then};
use crate::node::{RestIllness, SCOPE, SYSTEM_ID};
use crate::router::control::wall;
use crate::world::World;

impl World {
    pub(crate) fn fault_begins(&mut self, fault: &Fault) {
        self.tally.hit(fault.kind());
        self.begins_trace(fault);
        match *fault {
            Fault::AgentDies(n) => self.agent_dies(n),
            Fault::AgentFreezes(n) => self.freeze_node(n, true, false),
            Fault::AgentHangs(n) => self.hang_agent(n),
            Fault::AgentEnds(n) => self.agent_is_to_end(n),
            Fault::SlowDisk(n) => self.nodes[n].slow_disk = true,
            Fault::PostgresDies(n) => self.postgres_dies(n, true),
            Fault::PostgresRestarts(n) if self.nodes[n].postgres.state == State::Running => {
                let returns = self.nodes[n].postgres.primary;
                let then = if returns {
                    Then::Returns
                } else {
                    Then::Follows
                };
                self.stop_postgres(n, then);
            }
            Fault::PostgresRestarts(_) => {}
            Fault::PostgresFreezes(n) => self.freeze_node(n, false, true),
            Fault::PostmasterHangs(n) => self.hang_postmaster(n),
            Fault::NodeFreezes(n) => self.freeze_node(n, true, true),
            Fault::NodeVanishes(n) => self.node_vanishes(n),
            Fault::EtcdFreezes(e) => self.etcd.members[e].frozen = true,
            Fault::AllEtcdFreezes => {
                let all = self.etcd.members.iter_mut();
                all.for_each(|member| member.frozen = true);
            }
            Fault::EtcdDies(e) => self.stop_etcd(e),
            Fault::EtcdStarts(e) => self.start_etcd(e),
            Fault::EtcdStalls(e) => self.etcd.members[e].stalled = true,
            Fault::EtcdReadsStale(e) => {
                self.etcd.members[e].stalled = true;
                self.etcd.members[e].reads_stale = true;
                self.lies_begin();
            }
            Fault::Cut(cut) => {
                for (from, to) in self.links(cut) {
                    self.network.cut(from, to);
                }
            }
            Fault::Slow(one, other, slow, loss) => {
                self.network.worsen(one, other, slow, loss, self.now);
                self.network.worsen(other, one, slow, loss, self.now);
            }
            Fault::Switchover(asked) => self.ask_for_switchover(asked),
            Fault::LeaderDeleted => self.lock_by_hand(Op::Delete("leader".to_owned())),
            Fault::LeaderGarbage => {
                self.lock_by_hand(Op::Put("leader".to_owned(), "nobody".to_owned(), None));
            }
            Fault::Paused => self.configure(r#""pause":true"#),
            Fault::StandbyCluster => {
                self.configure(r#""standby_cluster":{"host":"10.1.1.1"}"#);
            }
            Fault::Watches(how) => self.watches_misbehave(how),
            Fault::WatchDies(r) => {
                let watches = self.etcd.watches.iter_mut();
                let his = watches.filter(|watch| watch.who == Party::Router(r));
                his.for_each(|watch| watch.silent = true);
            }
            Fault::Compaction => self.compact_etcd(),
            Fault::StoreWiped => self.begin_anew(None, false),
            Fault::StoreRestored(back, same) => {
                self.begin_anew(Some(self.etcd.log.len().saturating_sub(back)), same);
            }
            Fault::RouterFreezes(r) => self.freeze_router(r),
            Fault::RouterRestarts(r) => self.router_starts(r),
            Fault::Rest(n, illness) => self.rest_falls_ill(n, illness),
        }
    }

    pub(crate) fn fault_ends(&mut self, fault: &Fault) {
        self.trace(|| format!("fault: {fault:?} ends"));
        match *fault {
            Fault::AgentDies(n) => self.agent_starts(n),
            Fault::AgentEnds(n) => {
                if self.nodes[n].agent.alive {
                    self.agent_dies(n);
                }
                self.agent_starts(n);
            }
            Fault::SlowDisk(n) => self.nodes[n].slow_disk = false,
            Fault::AgentFreezes(n)
            | Fault::AgentHangs(n)
            | Fault::PostgresFreezes(n)
            | Fault::PostmasterHangs(n)
            | Fault::NodeFreezes(n) => {
                self.thaw_node(n);
            }
            Fault::NodeVanishes(n) => self.node_returns(n),
            Fault::EtcdFreezes(e) => self.thaw_etcd(e),
            Fault::AllEtcdFreezes => (0..ETCDS).for_each(|member| self.thaw_etcd(member)),
            Fault::EtcdDies(e) => self.start_etcd(e),
            Fault::EtcdStalls(e) => self.etcd.members[e].stalled = false,
            Fault::EtcdReadsStale(e) => {
                self.etcd.members[e].stalled = false;
                self.etcd.members[e].reads_stale = false;
                self.lies_end();
            }
            Fault::Cut(cut) => {
                for (from, to) in self.links(cut) {
                    self.network.mend(from, to, self.now);
                }
            }
            Fault::Slow(one, other, ..) => {
                self.network.worsen(one, other, 0, 0, self.now);
                self.network.worsen(other, one, 0, 0, self.now);
            }
            Fault::LeaderGarbage => self.lock_by_hand(Op::Delete("leader".to_owned())),
            Fault::Watches(_) => self.misbehaviour = Misbehaviour::default(),
            Fault::Paused | Fault::StandbyCluster => self.configure(""),
            Fault::RouterFreezes(r) => self.thaw_router(r),
            Fault::Rest(n, illness) => {
                self.nodes[n].rest = RestIllness::Well;
                if illness == Rest::Stale {
                    self.lies_end();
                }
            }
            Fault::PostgresDies(_)
            | Fault::PostgresRestarts(_)
            | Fault::EtcdStarts(_)
            | Fault::Switchover(_)
            | Fault::LeaderDeleted
            | Fault::WatchDies(_)
            | Fault::Compaction
            | Fault::StoreWiped
            | Fault::StoreRestored(..)
            | Fault::RouterRestarts(_) => {}
        }
    }

    /// All faults are over: what is left of them is cleared away, as soon as etcd takes it.
    pub(crate) fn all_is_well(&mut self) {
        let garbage = self.holder().is_none() && self.etcd.truth.get("leader").is_some();
        if self
            .etcd
            .leader
            .is_none_or(|leader| !self.has_quorum(leader))
        {
            return self.after(Duration::from_millis(500), Event::AllIsWell);
        }
        self.configure("");
        if garbage {
            self.truth.by_hand = Some(self.now);
            self.operator(Op::Delete("leader".to_owned()));
        }
        self.calm = Some(self.now);
    }

    /// The operator tells it to end (SIGTERM).
    fn agent_is_to_end(&mut self, number: usize) {
        if self.nodes[number].is_ours && self.nodes[number].agent.alive {
            self.ours_is_to_end(number);
        } else {
            self.agent_dies(number);
        }
    }

    fn lock_by_hand(&mut self, op: Op) {
        self.truth.by_hand = Some(self.now);
        self.operator(op);
    }

    /// Somebody with etcdctl; nothing happens where etcd takes no writes.
    fn operator(&mut self, op: Op) {
        if self
            .etcd
            .leader
            .is_some_and(|leader| self.has_quorum(leader))
        {
            let _ = self.commit(op);
        }
    }

    /// The dynamic configuration gets another field, or loses it.
    fn configure(&mut self, more: &str) {
        let plain = self.configuration.split(r#","pause"#).next();
        let plain = plain.and_then(|text| text.split(r#","standby"#).next());
        let plain = plain.unwrap_or_default().trim_end_matches('}').to_owned();
        let comma = if more.is_empty() { "" } else { "," };
        self.configuration = format!("{plain}{comma}{more}}}");
        let put = Op::Put("config".to_owned(), self.configuration.clone(), None);
        self.operator(put);
    }

    fn ask_for_switchover(&mut self, asked: Asked) {
        let Some(holder) = self.etcd.truth.text("leader") else {
            return self.tally.hit("nobody to be switched over from");
        };
        let request = match asked {
            Asked::InThreeSeconds => {
                let due = wall(self.now.after(Duration::from_secs(3)));
                format!(r#"{{"leader":"{holder}","scheduled_at":"{due}"}}"#)
            }
            Asked::LongAgo => {
                let due = wall(self.now.before(Duration::from_secs(30)));
                format!(r#"{{"leader":"{holder}","scheduled_at":"{due}"}}"#)
            }
            Asked::Now(Some(candidate)) => {
                let candidate = &self.nodes[candidate].name;
                format!(r#"{{"leader":"{holder}","member":"{candidate}"}}"#)
            }
            Asked::Failover(candidate) => {
                let candidate = &self.nodes[candidate].name;
                format!(r#"{{"member":"{candidate}"}}"#)
            }
            Asked::Now(None) => format!(r#"{{"leader":"{holder}"}}"#),
        };
        self.operator(Op::Put("failover".to_owned(), request, None));
        self.agents_notice();
    }

    fn begin_anew(&mut self, kept: Option<usize>, same_id: bool) {
        self.rebuild_etcd(kept, same_id);
        for member in 0..ETCDS {
            let takes = self.chance.millis(200, 2_000);
            self.after(takes, Event::Begins(Fault::EtcdStarts(member)));
        }
    }

    fn watches_misbehave(&mut self, how: Watches) {
        let ill = &mut self.misbehaviour;
        match how {
            Watches::Lose => ill.loses = 40,
            Watches::Repeat => ill.repeats = 60,
            Watches::Delay => ill.delays = 60,
            Watches::Reorder => (ill.reorders, ill.delays) = (60, 40),
        }
    }

    fn rest_falls_ill(&mut self, n: usize, illness: Rest) {
        let names = ["pg-1", "pg-2", "pg-3", "pg-4"];
        self.nodes[n].rest = match illness {
            Rest::Slow => RestIllness::Slow(self.chance.one_of(&[200, 900, 1_500])),
            Rest::Silent => RestIllness::Silent,
            Rest::Refuses => RestIllness::Refuses,
            Rest::OtherMember => {
                let other = names[usize::from(n == 0)];
                RestIllness::Foreign(Some(other), SCOPE, SYSTEM_ID)
            }
            Rest::OtherCluster => {
                RestIllness::Foreign(Some(names[n]), "other", "7710532611349547000")
            }
            Rest::OtherDatabase => RestIllness::Foreign(None, SCOPE, "7710532611349547001"),
            Rest::Stale => {
                let (code, body) = self.word(n).unwrap_or((503, String::new()));
                self.lies_begin();
                RestIllness::Stale(code, body)
            }
            Rest::Garbage => RestIllness::Garbage,
        };
    }

    /// The links a fault cuts, one direction each.
    fn links(&self, cut: Cut) -> Vec<(Party, Party)> {
        let both = |one: Party, others: Vec<Party>| {
            let pairs = others.into_iter().filter(|other| *other != one);
            pairs
                .flat_map(|other| [(one, other), (other, one)])
                .collect()
        };
        let etcds = || (0..ETCDS).map(Party::Etcd).collect();
        match cut {
            Cut::EtcdFromEtcd(e) => both(Party::Etcd(e), etcds()),
            Cut::Apart(one, other) => both(one, vec![other]),
            Cut::OneWay(from, to) if from != to => vec![(from, to)],
            Cut::OneWay(..) => Vec::new(),
            Cut::NodeFromEtcd(n) => both(Party::Node(n), etcds()),
            Cut::RouterFromEtcd(r) => both(Party::Router(r), etcds()),
            Cut::RouterFromNodes(r) => {
                let nodes = (0..self.nodes.len()).map(Party::Node);
                both(Party::Router(r), nodes.collect())
            }
        }
    }

    fn lies_begin(&mut self) {
        self.truth.lies += 1;
        self.truth.lies_until = trunkline_core::Moment::NEVER;
    }

    /// What was said while something lied counts for a while.
    fn lies_end(&mut self) {
        self.truth.lies -= 1;
        if self.truth.lies == 0 {
            self.truth.lies_until = self.now.after(Duration::from_secs(12));
        }
    }
}
