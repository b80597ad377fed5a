//! Everything there is to tell of the router, as one document: `/stats.json`, and what the page is drawn from.
//!
//! The shape is stable: fields are added, never renamed or taken away. Times are RFC 3339 in UTC, durations
//! seconds, sizes bytes. What is not known is `null`, with its cause beside it wherever there is one.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use trunkline_core::MemberName;

use crate::traffic::Bytes;

mod cluster;
mod listener;
mod member;

/// `/stats.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// The router's version.
    pub version: &'static str,
    /// When this was told.
    pub at: String,
    /// How long the router has been running.
    pub uptime_seconds: f64,
    /// Whether it takes no new clients because it is stopping.
    pub draining: bool,
    /// What became of its configuration.
    pub configuration: ConfigurationStats,
    /// The clusters, as they are configured.
    pub clusters: Vec<ClusterStats>,
    /// What each listener counted since the start, by cluster and name, those that were taken out among them.
    #[serde(skip)]
    pub tallies: BTreeMap<(String, String), Tally>,
}

/// What a listener counted since the start, read once for the whole document: a sum in it is the sum of what stands
/// beside it.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Its clients.
    pub counters: CounterStats,
    /// The bytes they exchanged with members, by member; those of sessions that run now are in it.
    pub bytes: BTreeMap<MemberName, Bytes>,
}

/// What became of the configuration.
#[derive(Clone, Debug, Serialize)]
pub struct ConfigurationStats {
    /// The file, or what it was given by.
    pub file: String,
    /// Since when the one in force is.
    pub loaded_at: String,
    /// How long that is.
    pub loaded_seconds_ago: f64,
    /// How often another one was applied since the start.
    pub reloads: u64,
    /// How often one was refused.
    pub refusals: u64,
    /// When the last one was refused; `null` where it is in force.
    pub refused_at: Option<String>,
    /// Why: every problem, a line each.
    pub refused_because: Option<String>,
}

/// One cluster.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterStats {
    /// What it is called in the router's configuration.
    pub name: String,
    /// What Patroni calls it.
    pub scope: String,
    /// Who holds the leader lock, as far as etcd's last word goes.
    pub leader: Option<String>,
    /// Since when, as far as this router saw it: no earlier than the router's own start.
    pub leader_since: Option<String>,
    /// How long that is.
    pub leader_for_seconds: Option<f64>,
    /// The leader's timeline.
    pub timeline: Option<u32>,
    /// What was decided on the primary.
    pub decision: DecisionStats,
    /// Whether an operator has paused the cluster (`patronictl pause`).
    pub paused: bool,
    /// The names in `/sync`: who may take over without losing a commit. Empty while nobody may.
    pub sync: Vec<String>,
    /// Where the lock is read.
    pub etcd: EtcdStats,
    /// What somebody may be needed for, a sentence each.
    pub alarms: Vec<String>,
    /// Every known member, by name.
    pub members: Vec<MemberStats>,
    /// The listeners, as they are configured.
    pub listeners: Vec<ListenerStats>,
}

/// A decision on the primary.
#[derive(Clone, Debug, Serialize)]
pub struct DecisionStats {
    /// The row of the write table that applied, by its name in the code (`trunkline_core::route::Row`).
    pub row: String,
    /// The same for people.
    pub sentence: String,
}

/// How etcd answers.
#[derive(Clone, Debug, Serialize)]
pub struct EtcdStats {
    /// `ok`, or `cannot be asked`.
    pub state: &'static str,
    /// Why it cannot.
    pub cause: Option<String>,
    /// Which endpoint is asked.
    pub endpoint: String,
    /// How long ago the last proof of the lock was asked for.
    pub proof_age_seconds: Option<f64>,
    /// How long the lock is certain by that proof; negative once that is over.
    pub proof_ends_in_seconds: Option<f64>,
}

/// A member of a cluster.
#[derive(Clone, Debug, Serialize)]
pub struct MemberStats {
    /// Its name.
    pub name: String,
    /// Where its PostgreSQL is reached, names resolved.
    pub address: Option<String>,
    /// Its role, in Patroni's words.
    pub role: Option<String>,
    /// What its PostgreSQL is doing, in Patroni's words.
    pub state: Option<String>,
    /// The timeline it is on.
    pub timeline: Option<u32>,
    /// Who says so of role, state and timeline: `rest` where its last REST answer is at hand, else `key`.
    pub said_by: &'static str,
    /// How far it is behind the leader; `null` for the leader, and where that cannot be told.
    pub lag_bytes: Option<u64>,
    /// How its REST API answers.
    pub rest: RestStats,
    /// Its tags, as published.
    pub tags: BTreeMap<String, Value>,
    /// `present`, or `gone`: the key in etcd. Members outlive their keys for a while.
    pub key: &'static str,
    /// Sessions on it, by all listeners of this router.
    pub sessions: u32,
    /// Their bytes so far, and those of all sessions before them.
    #[serde(flatten)]
    pub bytes: Bytes,
}

/// How a member's REST API answers.
#[derive(Clone, Debug, Serialize)]
pub struct RestStats {
    /// Whether the last question was answered.
    pub ok: bool,
    /// Why it was not.
    pub cause: Option<String>,
    /// How long ago the last question that was answered was sent.
    pub age_seconds: Option<f64>,
}

/// A listener.
#[derive(Clone, Debug, Serialize)]
pub struct ListenerStats {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub bind: Vec<String>,
    /// Which members it routes to: `primary`, `replicas`, `sync`, `any`, `standby-leader`.
    pub to: &'static str,
    /// Whether it was taken out of the configuration and goes once its last session has ended.
    pub leaving: bool,
    /// What it does with a client that comes now: `routing`, `holding`, `refusing`.
    pub state: &'static str,
    /// Why, as a sentence.
    pub because: String,
    /// Clients that are connected, held ones included.
    pub clients: u32,
    /// Clients that wait for a target.
    pub held: u32,
    /// Sessions on members, those being connected included.
    pub sessions: u32,
    /// Their bytes so far, and those of all sessions before them, also on members that are known no more.
    #[serde(flatten)]
    pub bytes: Bytes,
    /// Where a client that comes now may be sent.
    pub targets: Vec<TargetStats>,
    /// Every known member, by name, and why it is in or out.
    pub members: Vec<PlaceStats>,
    /// What was counted since the start.
    pub counters: CounterStats,
}

/// A member that new sessions may be sent to.
#[derive(Clone, Debug, Serialize)]
pub struct TargetStats {
    /// Its name.
    pub member: String,
    /// Where its PostgreSQL listens.
    pub address: String,
    /// This listener's sessions on it.
    pub sessions: u32,
}

/// Where a member stands with a listener.
#[derive(Clone, Debug, Serialize)]
pub struct PlaceStats {
    /// Its name.
    pub member: String,
    /// Whether it is among the targets.
    #[serde(rename = "in")]
    pub is_in: bool,
    /// Why, as a sentence.
    pub why: String,
    /// This listener's sessions on it; there may be some on a member that is out.
    pub sessions: u32,
    /// Their bytes so far, and those of this listener's sessions before them.
    #[serde(flatten)]
    pub bytes: Bytes,
    /// How the page colours it.
    #[serde(skip)]
    pub tone: Tone,
}

/// What a listener counted of its clients since the start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CounterStats {
    /// Clients that came.
    pub accepted: u64,
    /// Clients that had to wait for a target.
    pub held_total: u64,
    /// Clients that were told to go away.
    pub refused: u64,
    /// Sessions that were ended because routing said so.
    pub killed: u64,
}

/// Whether something is as it should be. Colours say this and nothing else: a replica that is not in the write
/// pool is where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// It serves.
    Serves,
    /// It does not, and that is expected.
    Expected,
    /// It is on the way, or not as good as it should be.
    Waiting,
    /// Somebody may be needed.
    Alarm,
}

impl Tone {
    /// The class on the page.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serves => "serves",
            Self::Expected => "expected",
            Self::Waiting => "waiting",
            Self::Alarm => "alarm",
        }
    }
}
