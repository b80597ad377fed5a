//! The polls: one loop a member for its REST API and one for its PostgreSQL, at the pace core decides.

use std::collections::BTreeMap;

use trunkline_core::probe::{NoAnswer, Probe, judge};
use trunkline_core::route::Table;
use trunkline_core::route::table::Asks;
use trunkline_core::{MemberName, Moment, Scope, SystemId};

use crate::events::Event;
use crate::network::Party;
use crate::node::{Heard, SCOPE};
use crate::world::World;

/// A member that is asked.
#[derive(Clone, Debug)]
pub(crate) struct Polled {
    asks: Asks,
    system_id: Option<SystemId>,
    doubted: Moment,
    rest: Loop,
    postgres: Loop,
}

/// One of its loops.
#[derive(Clone, Debug, Default)]
struct Loop {
    last: Option<Moment>,
    asking: Option<u64>,
    system_id: Option<SystemId>,
}

impl World {
    /// Asks these members from now on, and no others.
    pub(crate) fn direct_polls(&mut self, number: usize, table: &Table, id: Option<&SystemId>) {
        let now = self.now;
        let router = &mut self.routers[number];
        router
            .polled
            .retain(|name, _| table.members.contains_key(name));
        router
            .probes
            .retain(|name, _| table.members.contains_key(name));
        for (name, asks) in &table.members {
            let probe = router.probes.entry(name.clone());
            probe.or_insert_with(|| Probe::new(now));
            let polled = router.polled.entry(name.clone());
            let polled = polled.or_insert_with(|| Polled {
                asks: *asks,
                system_id: None,
                doubted: Moment::BOOT,
                rest: Loop::default(),
                postgres: Loop::default(),
            });
            polled.asks = *asks;
            polled.system_id = id.cloned();
        }
        self.pump_polls(number);
    }

    /// A session found a member wanting.
    pub(crate) fn doubt_member(&mut self, number: usize, member: &MemberName) {
        let now = self.now;
        if let Some(polled) = self.routers[number].polled.get_mut(member) {
            polled.doubted = now;
        }
        self.pump_polls(number);
        // The report wakes whoever decides.
        self.look_soon(number);
    }

    pub(crate) fn poll_wakes(&mut self, number: usize, life: u64) {
        let router = &mut self.routers[number];
        if router.life == life && router.poll_at.is_some_and(|due| due <= self.now) {
            router.poll_at = None;
            self.pump_polls(number);
        }
    }

    /// Asks whoever is due, and sets the timer for the next.
    fn pump_polls(&mut self, number: usize) {
        let now = self.now;
        let mut next = Moment::NEVER;
        let mut due = Vec::new();
        for (name, polled) in &mut self.routers[number].polled {
            for of_rest in [true, false] {
                let (asks, doubted) = (polled.asks, polled.doubted);
                let one = if of_rest {
                    &mut polled.rest
                } else {
                    &mut polled.postgres
                };
                if one.asking.is_some() {
                    continue;
                }
                let at = asks.due(one.last, of_rest || asks.postgres, doubted, now);
                if at > now {
                    next = next.min(at);
                    continue;
                }
                one.last = Some(now);
                one.system_id = polled.system_id.clone();
                due.push((name.clone(), of_rest));
            }
        }
        for (name, of_rest) in due {
            self.ask_member(number, &name, of_rest);
        }
        let router = &mut self.routers[number];
        if next != Moment::NEVER && router.poll_at.is_none_or(|due| next < due) {
            router.poll_at = Some(next);
            let life = router.life;
            self.at(next, Event::Poll(number, life));
        }
    }

    fn ask_member(&mut self, number: usize, name: &MemberName, of_rest: bool) {
        let question = self.number();
        let timeout = self.routers[number].cluster.probe.timeout;
        if let Some(polled) = self.routers[number].polled.get_mut(name) {
            let one = if of_rest {
                &mut polled.rest
            } else {
                &mut polled.postgres
            };
            one.asking = Some(question);
        }
        self.after(timeout, Event::PollTimesOut(number, question));
        let node = self
            .nodes
            .iter()
            .position(|node| node.name == name.as_str());
        let Some(node) = node else { return };
        let event = if of_rest {
            Event::RestAsked(node, number, question)
        } else {
            Event::PostgresAsked(node, number, question)
        };
        self.send(Party::Router(number), Party::Node(node), event);
    }

    pub(crate) fn poll_times_out(&mut self, number: usize, question: u64) {
        self.poll_hears(number, question, Heard::Nothing(NoAnswer::TimedOut));
    }

    /// A member answered, or did not.
    pub(crate) fn poll_hears(&mut self, number: usize, question: u64, heard: Heard) {
        let now = self.now;
        let router = &mut self.routers[number];
        let found = find(&router.polled, question);
        let Some((name, of_rest)) = found else { return };
        let Some(polled) = router.polled.get_mut(&name) else {
            return;
        };
        let one = if of_rest {
            &mut polled.rest
        } else {
            &mut polled.postgres
        };
        one.asking = None;
        let asked = one.last.unwrap_or(now);
        let Some(probe) = router.probes.get_mut(&name) else {
            return;
        };
        router.witness.hears(&name, of_rest, asked, &heard);
        if of_rest {
            let answer = match heard {
                Heard::Rest(code, body) => judge(
                    code,
                    body.as_bytes(),
                    &name,
                    &Scope::from(SCOPE),
                    one.system_id.as_ref(),
                ),
                Heard::Nothing(cause) => Err(cause),
                Heard::Postgres(_) => return,
            };
            if let Err(NoAnswer::Foreign(_)) = &answer {
                self.tally.hit("a foreign answer");
            }
            match answer {
                Ok(answer) => probe.rest.answered(answer, asked),
                Err(cause) => probe.rest = probe.rest.clone().unanswered(cause, now),
            }
            probe.looked = Some(now);
        } else {
            match heard {
                Heard::Postgres(accepts) => probe.postgres.answered(accepts, asked),
                Heard::Nothing(cause) => probe.postgres_unanswered(cause, now),
                Heard::Rest(..) => return,
            }
            probe.pinged = Some(asked);
        }
        self.pump_polls(number);
        self.look_soon(number);
    }
}

/// Whose loop asked the question, and whether it is that of the REST API.
fn find(polled: &BTreeMap<MemberName, Polled>, question: u64) -> Option<(MemberName, bool)> {
    polled.iter().find_map(|(name, polled)| {
        let is = |one: &Loop| one.asking == Some(question);
        let found = is(&polled.rest) || is(&polled.postgres);
        found.then(|| (name.clone(), is(&polled.rest)))
    })
}
