//! The pools of listeners that go by the decision on the primary.
//!
//! It decides nothing on the primary itself.

use super::{New, Primary};
use crate::config::router::Listener;
use crate::probe::{Accepts, Says};
use crate::proof::P2_CARRIES;
use crate::route::reason::{Because, Out, Row};
use crate::route::table::{Place, Pool, Residence, Verdict};
use crate::route::{Ledger, Snapshot, readers, silence};
use crate::{MemberName, Moment};

impl Primary {
    /// The pool of a listener that routes to the primary.
    pub(in crate::route) fn pool(
        &self,
        listener: &Listener,
        ledger: &Ledger,
        s: &Snapshot<'_>,
    ) -> Pool {
        let verdict = match self.new {
            New::Route => Verdict::Route,
            New::Hold => Verdict::Hold(self.because()),
            New::Refuse => Verdict::Refuse(self.because()),
        };
        self.leader_pool(listener, verdict, ledger, s)
    }

    /// The pool of a listener that routes to a standby cluster's leader.
    pub(in crate::route) fn standby_pool(
        &self,
        listener: &Listener,
        ledger: &Ledger,
        s: &Snapshot<'_>,
    ) -> Pool {
        let says = self
            .member
            .as_ref()
            .map_or(Says::Nothing, |member| ledger.says(member, s));
        let standby = s
            .view
            .value()
            .is_some_and(|view| view.config.is_standby_cluster());
        // Nobody is ever proven here: what ends sessions is the member's own word or another holder of the lock.
        let sessions = match says {
            Says::StandbyLeader => Residence::Stay,
            Says::InRecovery | Says::NotRunning | Says::Nothing if standby => Residence::Stay,
            Says::Primary { .. } | Says::InRecovery | Says::NotRunning | Says::Nothing => {
                self.sessions
            }
        };
        let pool = Self {
            sessions,
            ..self.clone()
        };
        if self.row == Row::StandbyCluster && matches!(says, Says::StandbyLeader | Says::InRecovery)
        {
            let asked = self
                .member
                .as_ref()
                .and_then(|member| s.probes.get(member)?.rest.asked());
            let routing = pool.route(asked.unwrap_or(s.now).after(P2_CARRIES));
            let routing = routing.leader_pool(listener, Verdict::Route, ledger, s);
            // Whether it accepts is not asked of a standby's leader: nobody waits for that.
            return Pool {
                evidence: None,
                ..routing
            };
        }
        pool.leader_pool(listener, Verdict::Hold(self.because()), ledger, s)
    }

    fn leader_pool(
        &self,
        listener: &Listener,
        verdict: Verdict,
        ledger: &Ledger,
        s: &Snapshot<'_>,
    ) -> Pool {
        let target = self.target(s);
        let dead = self
            .member
            .as_ref()
            .filter(|name| silence::is_dead(name, s));
        let (verdict, sessions) = match (verdict, dead) {
            (Verdict::Hold(_), Some(name)) => {
                (Verdict::Hold(Because::Dead(name.clone())), Residence::End)
            }
            (verdict, _) => (verdict, self.sessions),
        };
        let mut pool = Pool {
            listener: listener.name.clone(),
            verdict,
            targets: Vec::new(),
            places: ledger
                .members()
                .keys()
                .map(|name| (name.clone(), Place::Out(Out::NotLeader)))
                .collect(),
            residents: target
                .iter()
                .map(|target| (target.clone(), sessions))
                .collect(),
            valid_until: self.valid_until,
            evidence: self
                .member
                .as_ref()
                .map(|member| last_seen_accepting(member, ledger, s)),
        };
        let Some(member) = &self.member else {
            return pool;
        };
        let place = match target {
            None => Place::Out(Out::NoAddress),
            Some(_) if pool.verdict != Verdict::Route => Place::Out(Out::NotProven),
            Some(_) if !readers::has_tags(member, &listener.tags, ledger) => {
                Place::Out(Out::TagMissing)
            }
            Some(target) => {
                pool.targets.push(target);
                Place::In
            }
        };
        pool.places.insert(member.clone(), place);
        if pool.targets.is_empty() && pool.verdict == Verdict::Route {
            pool.verdict = Verdict::Hold(Because::EmptyPool);
        }
        pool
    }
}

/// When `member` was last asked and found accepting: by its PostgreSQL, or by its REST API where PostgreSQL itself
/// has not answered. A doubt has both asked; the one that answers sooner does not speak for the other.
fn last_seen_accepting(member: &MemberName, ledger: &Ledger, s: &Snapshot<'_>) -> Moment {
    let Some(probe) = s.probes.get(member) else {
        return Moment::BOOT;
    };
    match (probe.postgres.fresh(), ledger.says(member, s)) {
        (Some((Accepts::Yes, asked)), _) => asked,
        (None, Says::Primary { asked, .. }) => asked.min(probe.pinged.unwrap_or(Moment::BOOT)),
        (Some((Accepts::NotNow, _)), _)
        | (None, Says::InRecovery | Says::StandbyLeader | Says::NotRunning | Says::Nothing) => {
            Moment::BOOT
        }
    }
}
