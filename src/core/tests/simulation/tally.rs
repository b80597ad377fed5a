//! What a run met, counted: a simulation that no longer meets something tests less than it says.

use std::collections::BTreeMap;

use trunkline_core::ha::reason::{Demotion, Refusal};
use trunkline_core::ha::{Action, Decision, Job, Mode, Reason, Write};
use trunkline_core::route::{Row, Table};

const fn written(write: &Write) -> &'static str {
    match write {
        Write::Member(_) => "write: member",
        Write::ClaimInitialize => "write: a claim",
        Write::Initialize(..) => "write: initialize",
        Write::UnclaimInitialize => "write: a claim given up",
        Write::Config(..) => "write: config",
        Write::Status(_) => "write: status",
        Write::OptimeLeader(_) => "write: optime",
        Write::History(_) => "write: history",
        Write::Failsafe(_) => "write: failsafe",
        Write::ClearFailover(_) => "write: failover cleared",
    }
}

const fn refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::OtherLeader => "switchover refused: another leads",
        Refusal::Already => "switchover refused: it leads already",
        Refusal::Paused => "switchover refused: paused",
        Refusal::Stale => "switchover refused: too late",
        Refusal::NoCandidate => "switchover refused: nobody there",
        Refusal::NotStreaming => "switchover refused: nobody streams",
        Refusal::NotPromotable => "switchover refused: nobody may lead",
        Refusal::NobodyCaughtUp => "switchover refused: nobody had everything",
    }
}

const fn demoted(demotion: &Demotion) -> &'static str {
    match demotion {
        Demotion::LeaseEnded => "demoted: the lease ended",
        Demotion::UpdateRefused => "demoted: the renewal was refused",
        Demotion::NoLock => "demoted: another has the lock",
        Demotion::LostWhileStarting => "demoted: lost while starting",
        Demotion::LostDuring(_) => "demoted: lost during a job",
        Demotion::EtcdSilent => "demoted: etcd is silent",
    }
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    met: BTreeMap<&'static str, u64>,
    rows: BTreeMap<Row, u64>,
    /// What failed, where a run goes on all the same.
    problems: Vec<String>,
    /// The row before: staying in one is not meeting it again.
    row: Option<Row>,
}

impl Tally {
    pub(crate) fn hit(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    pub(crate) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    pub(crate) fn decided(&mut self, table: &Table) {
        let row = table.primary.row;
        if self.row.replace(row) != Some(row) {
            *self.rows.entry(row).or_default() += 1;
        }
    }

    /// An agent of ours decided.
    pub(crate) fn acted(&mut self, decision: &Decision) {
        self.hit(match &decision.action {
            Action::Rest => "action: rest",
            Action::KeepLease => "action: keep the lease",
            Action::Renew { .. } => "action: renew",
            Action::Acquire => "action: acquire",
            Action::Release { .. } => "action: release",
            Action::Revoke => "action: revoke",
            Action::Write(write) => written(write),
            Action::Ask(_) => "action: ask",
            Action::Begin(_) => "action: begin a job",
            Action::Cancel => "action: cancel",
            Action::Exit(_) => "action: exit",
        });
        if let Reason::Refused(refusal) = &decision.reason {
            self.hit(refused(*refusal));
        }
        if let Reason::Demoting(demotion) = &decision.reason {
            self.hit(demoted(demotion));
        }
        if decision.reason == Reason::TakingBack {
            self.hit("switchover: the lead is taken back");
        }
        if decision.reason == Reason::HandingOver {
            self.hit("switchover: the lock is let go");
        }
    }

    /// An agent of ours began a job.
    pub(crate) fn job(&mut self, job: &Job) {
        self.hit(match job {
            Job::Bootstrap => "job: bootstrap",
            Job::PutAside => "job: put aside",
            Job::Clone(_) => "job: clone",
            Job::Start(Mode::Primary, _) => "job: start as primary",
            Job::Start(Mode::Standby(_), _) => "job: start as standby",
            Job::Stop(stop) if stop.immediate => "job: stop at once",
            Job::Stop(stop) if stop.deadline.is_some() => "job: stop by a deadline",
            Job::Stop(_) => "job: stop",
            Job::Promote => "job: promote",
            Job::Follow(_) => "job: follow",
            Job::CheckRewind(_) => "job: compare timelines",
            Job::Rewind(_) => "job: rewind",
            Job::CrashRecovery => "job: recover after a crash",
            Job::Wipe => "job: wipe",
            Job::Checkpoint => "job: checkpoint",
            Job::Reload => "job: reload",
            Job::Slots(_) => "job: slots",
        });
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.problems.extend(other.problems.iter().cloned());
        for (what, times) in &other.met {
            *self.met.entry(what).or_default() += times;
        }
        for (row, times) in &other.rows {
            *self.rows.entry(*row).or_default() += times;
        }
    }

    /// What was met less often than it should be.
    pub(crate) fn missing(&self, met: &[(&str, u64)], rows: &[(Row, u64)]) -> Vec<String> {
        let times = |what: &str| self.met.get(what).copied().unwrap_or(0);
        let short = |what: String, had: u64, least: u64| {
            (had < least).then(|| format!("{what}: {had} times, not {least}"))
        };
        let met = met
            .iter()
            .filter_map(|(what, least)| short((*what).to_owned(), times(what), *least));
        let rows = rows.iter().filter_map(|(row, least)| {
            let had = self.rows.get(row).copied().unwrap_or(0);
            short(format!("row {row:?}"), had, *least)
        });
        met.chain(rows).collect()
    }

    /// Everything with how often it was met.
    pub(crate) fn report(&self) -> String {
        let rows = self
            .rows
            .iter()
            .map(|(row, times)| format!("{times:>9} row {row:?}"));
        let met = self
            .met
            .iter()
            .map(|(what, times)| format!("{times:>9} {what}"));
        let problems = self.problems.iter().cloned();
        rows.chain(met)
            .chain(problems)
            .collect::<Vec<_>>()
            .join("\n")
    }
}
