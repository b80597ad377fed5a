//! The fault table: what each fault cost the clients of a router, one record a fault test.
//!
//! A test keeps its record in a folder that `make test` empties first and prints last; a fault without a
//! record is a line too, so that a test that was not run, or did not come to its end, can be seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::writer::Report;

mod table;
pub use table::Table;

/// Defines the faults together with the list of all of them and the words each is known by.
macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident = $words:literal,)*) => {
        /// A fault that some test of the real cluster causes under load.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $($(#[$doc])* $variant,)* }

        impl Fault {
            /// Every fault, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// What the table calls it, in at most 42 characters.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)* }
            }
        }
    };
}

faults! {
    /// `patronictl switchover`.
    Switchover = "planned switchover",
    /// The same, then SIGKILL to the leading member, of an etcd that asks for certificates as REST does.
    SwitchoverTls = "switchover, etcd dies; certificates needed",
    /// SIGKILL to the primary's postmaster.
    PostgresqlKilled = "primary's PostgreSQL killed",
    /// `systemctl stop patroni` on the leader.
    PatroniStopped = "leader's Patroni stopped",
    /// SIGKILL to the member of etcd that leads.
    EtcdLeaderDies = "etcd leader dies",
    /// SIGKILL to two of three members of etcd, both started again later.
    QuorumLost = "etcd quorum lost and regained",
    /// The same with Patroni's `failsafe_mode`.
    QuorumLostFailsafe = "etcd quorum lost and regained, failsafe on",
    /// SIGSTOP to all of etcd for longer than any lease, with Patroni's `failsafe_mode`.
    EtcdFrozen = "etcd frozen until keys expire, failsafe on",
    /// All of etcd's data deleted while the cluster is paused.
    EtcdRebuilt = "etcd wiped and rebuilt, cluster paused",
    /// `pg_ctl restart` of a paused cluster's primary.
    RestartedInPause = "primary restarted, cluster paused",
    /// `patronictl restart` of the leader.
    Restarted = "PostgreSQL restarted by its Patroni",
    /// `patronictl demote-cluster`, and `promote-cluster` a while later.
    StandbyCluster = "cluster becomes a standby cluster",
    /// SIGSTOP to the router, a switchover, SIGCONT.
    RouterFrozen = "router frozen across a switchover",
    /// SIGKILL to Patroni and PostgreSQL of the leader at once.
    NodeKilled = "leader's agent and PostgreSQL killed",
    /// Packets to and from the leader's machine are dropped.
    NodeVanishes = "leader's machine vanishes",
    /// SIGSTOP to everything on the leader's machine, SIGCONT after the failover.
    NodeFrozen = "leader's machine frozen, then thawed",
    /// The router reaches the members and not etcd, for longer than a lease.
    RouterWithoutEtcd = "router cut off from etcd",
    /// The router reaches etcd and the replicas and not the leader.
    RouterWithoutLeader = "router cut off from the leader",
    /// The router reaches its clients only.
    RouterWithoutBoth = "router cut off from etcd and all members",
    /// A member comes back at another address and leads.
    AddressChanged = "member moves to another address and leads",
    /// Another cluster's node runs where a member was.
    AddressRecycled = "another cluster at the leader's address",
    /// SIGKILL to one of two routers.
    RouterKilled = "one of two routers killed",
    /// A switchover of a cluster of our agents.
    OursSwitchover = "ours: planned switchover",
    /// SIGKILL to the primary's postmaster, minded by our agent.
    OursPostgresqlKilled = "ours: primary's PostgreSQL killed",
    /// SIGKILL to our leading agent, which is started again within its lease.
    OursAgentKilled = "ours: leading agent killed, back in time",
    /// SIGKILL to our leading agent and its PostgreSQL at once.
    OursNodeKilled = "ours: leader's agent and PostgreSQL killed",
    /// SIGTERM to our leading agent.
    OursStopped = "ours: leading agent stopped",
    /// Packets to and from the machine of our leading agent are dropped.
    OursNodeVanishes = "ours: leader's machine vanishes",
    /// SIGSTOP to all of etcd until the leader has given up, and SIGCONT.
    OursEtcdFrozen = "ours: etcd frozen for longer than a lease",
    /// A switchover from Patroni to our agent, and back.
    MixedSwitchovers = "Patroni to ours and back, switched over",
}

impl Fault {
    /// The words as a name for files and for the writers' rows.
    #[must_use]
    pub fn name(self) -> String {
        let dash = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        };
        self.words().chars().map(dash).collect()
    }
}

/// What a fault cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The words of the fault.
    pub fault: String,
    /// Writes refused by a session that stood, by the error's text.
    pub writes_refused: BTreeMap<String, u64>,
    /// Logins refused, by the error's text.
    pub logins_refused: BTreeMap<String, u64>,
    /// Logins that took longer than 200 ms.
    pub logins_held: u64,
    /// The longest login, in ms.
    pub longest_login_ms: f64,
    /// Sessions that ended without their client's wish, by what the client read.
    pub cut: BTreeMap<String, u64>,
    /// Why, in the router's words: the reasons its log gives for sessions that no client ended.
    pub why: BTreeMap<String, u64>,
    /// Sessions on a node that was not, or no longer, the one that takes writes; each as a sentence.
    pub wrong_sessions: Vec<String>,
    /// Writes that only two nodes taking writes at once can explain; each as a sentence.
    pub two_timelines: Vec<String>,
    /// Who acknowledged rows, on which timeline.
    pub nodes: BTreeSet<String>,
    /// Rows acknowledged and not there afterwards.
    pub lost: u64,
    /// Rows acknowledged.
    pub rows: u64,
    /// The longest time without an acknowledged row, in ms.
    pub outage_ms: f64,
    /// What else was measured, a sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Record {
    /// What `fault` cost by the clients' `report` and the whole log of the router they went through.
    pub fn new(fault: Fault, report: &Report, lost: usize, router_log: &str) -> Result<Self> {
        Ok(Self {
            fault: fault.words().to_owned(),
            writes_refused: report.errors.clone(),
            logins_refused: report.refusals.clone(),
            logins_held: report.logins_held,
            longest_login_ms: report.longest_login_ms,
            cut: report.breaks.clone(),
            why: reasons(router_log),
            wrong_sessions: report.wrong_sessions(),
            two_timelines: report.two_timelines(),
            nodes: report.nodes(),
            lost: u64::try_from(lost)?,
            rows: u64::try_from(report.acknowledged())?,
            outage_ms: report.outage_ms,
            notes: Vec::new(),
        })
    }

    /// Sessions that ended without their client's wish.
    #[must_use]
    pub fn sessions_cut(&self) -> u64 {
        self.cut.values().sum()
    }

    /// Writes it to `folder`, for the table.
    pub fn keep(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let name: String = self
            .fault
            .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let path = folder.join(format!("{name}.json"));
        std::fs::write(&path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("writing {}", path.display()))
    }
}

/// Logins refused and writes refused are the clients' to count; here are sessions that were under way.
fn reasons(router_log: &str) -> BTreeMap<String, u64> {
    const NO_CUT: [&str; 4] = [
        "the client closed",
        "the client left before",
        "a cancel request",
        "refused",
    ];
    let mut reasons = BTreeMap::new();
    for line in router_log
        .lines()
        .filter(|line| line.contains(" listener=\"write\" "))
    {
        let ending = line.split_once("session ended: ");
        let reason = ending.and_then(|(_, rest)| rest.split_once(" listener="));
        if let Some((reason, _)) = reason
            && !NO_CUT.iter().any(|start| reason.starts_with(start))
        {
            *reasons.entry(reason.to_owned()).or_default() += 1;
        }
    }
    reasons
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_words_of_its_own_that_fit_the_table() {
        let mut words: Vec<_> = Fault::ALL.iter().map(|fault| fault.words()).collect();
        assert!(
            words
                .iter()
                .all(|words| words.is_ascii() && words.len() <= 42)
        );
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Fault::ALL.len());
    }

    #[test]
    fn only_sessions_that_no_client_ended_count_as_cut() {
        let line = |reason: &str, listener: &str| {
            format!("INFO session ended: {reason} listener=\"{listener}\" client=\"1\"\n")
        };
        let log = [
            line("the client closed", "write"),
            line("refused after the hold: the cluster has no leader", "write"),
            line("killed: pg-2 took the lock", "write"),
            line("killed: pg-2 took the lock", "write"),
            line("the server closed", "read"),
        ]
        .concat();
        let expected = BTreeMap::from([("killed: pg-2 took the lock".to_owned(), 2)]);
        assert_eq!(reasons(&log), expected);
    }
}
