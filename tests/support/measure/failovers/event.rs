//! What is measured: the list, the settings each is measured with, and how often.

use anyhow::Result;
use clap::ValueEnum;
use trunkline_support::patroni::Settings;

use super::bench::{Bench, System};
use super::table::Run;
use super::{faults, rest, young};

/// What happens to a cluster. In this order a cluster can go on from one to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Event {
    /// A switchover while the replicas are hardly made.
    Young,
    /// Three empty directories.
    Bootstrap,
    /// Nothing happens: what that costs.
    Idle,
    /// A planned switchover.
    Switchover,
    /// SIGKILL to the primary's postmaster.
    PostgresqlKilled,
    /// SIGKILL to the leader's agent, which is started again.
    AgentKilled,
    /// SIGKILL to the leader's agent and to its postmaster.
    NodeKilled,
    /// Packets to and from the leader's machine are dropped; the etcd member on it follows.
    Vanished,
    /// The same, and the etcd member on it leads.
    VanishedWithEtcd,
}

impl Event {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied()
    }

    /// What the table calls it.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Young => {
                "switchover seconds after the start, to a replica that may not stream yet"
            }
            Self::Bootstrap => "three nodes from nothing: until both replicas stream",
            Self::Idle => "an agent's memory, threads and processor time at rest",
            Self::Switchover => "planned switchover",
            Self::PostgresqlKilled => "primary's PostgreSQL SIGKILLed",
            Self::AgentKilled => "leader's agent SIGKILLed, back after a second",
            Self::NodeKilled => "leader's agent and PostgreSQL SIGKILLed",
            Self::Vanished => {
                "leader's machine vanishes, its etcd member follows; ttl 5, Patroni's 20 (its least)"
            }
            Self::VanishedWithEtcd => "the same, its etcd member leads",
        }
    }

    /// What ours is to reach.
    pub(super) const fn goal(self) -> &'static str {
        match self {
            Self::Young => "0 lost (waited for, or refused)",
            Self::Bootstrap => "≤ 6 s",
            Self::Idle => "≤ 12 MB, ≤ 6 threads",
            Self::Switchover => "≤ 1 s, 0 refused, 0 lost",
            Self::PostgresqlKilled => "≤ 2 s",
            Self::AgentKilled => "nobody notices",
            Self::NodeKilled => "≤ lease left + 1 s",
            Self::Vanished => "≤ 7 s",
            Self::VanishedWithEtcd => "≤ 7 s + etcd's election + ttl",
        }
    }

    /// Patroni's usual lease, or the shortest that each allows.
    pub(super) fn settings(self, system: System) -> Settings {
        match (self, system) {
            (Self::Vanished | Self::VanishedWithEtcd, System::Ours) => Settings {
                ttl: 5,
                loop_wait: 1,
                retry_timeout: 1,
                ..Settings::default()
            },
            (Self::Vanished | Self::VanishedWithEtcd, System::Patroni) => Settings {
                ttl: 20,
                loop_wait: 1,
                retry_timeout: 3,
                ..Settings::default()
            },
            (
                Self::Young
                | Self::Bootstrap
                | Self::Idle
                | Self::Switchover
                | Self::PostgresqlKilled
                | Self::AgentKilled
                | Self::NodeKilled,
                System::Ours | System::Patroni,
            ) => Settings::default(),
        }
    }

    /// How often: what waits for a long lease once.
    pub(super) const fn runs(self, system: System, short: usize) -> usize {
        match (self, system) {
            (Self::Idle | Self::NodeKilled, System::Ours | System::Patroni)
            | (Self::Vanished | Self::VanishedWithEtcd, System::Patroni) => 1,
            (
                Self::Young
                | Self::Bootstrap
                | Self::Switchover
                | Self::PostgresqlKilled
                | Self::AgentKilled
                | Self::Vanished
                | Self::VanishedWithEtcd,
                System::Ours | System::Patroni,
            ) => short,
        }
    }

    /// Whether it happens to empty directories.
    pub(super) const fn needs_a_fresh_cluster(self) -> bool {
        match self {
            Self::Young | Self::Bootstrap => true,
            Self::Idle
            | Self::Switchover
            | Self::PostgresqlKilled
            | Self::AgentKilled
            | Self::NodeKilled
            | Self::Vanished
            | Self::VanishedWithEtcd => false,
        }
    }

    /// Lets it happen, and says what it cost.
    pub(super) async fn happen(self, bench: &mut Bench, name: &str) -> Result<Run> {
        match self {
            Self::Young => young::switchover(bench).await,
            Self::Bootstrap => young::from_nothing(bench).await,
            Self::Idle => rest::look(bench).await,
            Self::Switchover => faults::switchover(bench, name).await,
            Self::PostgresqlKilled => faults::postgresql_killed(bench, name).await,
            Self::AgentKilled => faults::agent_killed(bench, name).await,
            Self::NodeKilled => faults::node_killed(bench, name).await,
            Self::Vanished => faults::vanished(bench, name, false).await,
            Self::VanishedWithEtcd => faults::vanished(bench, name, true).await,
        }
    }
}
