//! A decision's whole input.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::action::{Action, Job};
use super::me::Me;
use super::memory::Memory;
use crate::cluster::ClusterView;
pub use crate::election::PeerWord;
use crate::follow::Trouble;
use crate::lease::{Held, Lease, Renewal};
use crate::postgres::{ControlData, DataDirectory, Database, HistoryFile, Postmaster, Silence};
use crate::{MemberName, Moment, Observed, SystemId};

/// Everything a decision is made from.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Now.
    pub now: Moment,
    /// Now, for what people schedule.
    pub wall: Timestamp,
    /// Who decides.
    pub me: Me,
    /// What etcd says.
    pub view: Observed<ClusterView, Trouble>,
    /// The lease of this agent, if it ever had one.
    pub lease: Option<Lease>,
    /// The lock as it was last proven to be this agent's; `None` once it is known to be lost or was let go.
    pub held: Option<Held>,
    /// What came of renewing the lock in this cycle.
    pub renewal: Option<Renewal>,
    /// Actions of this cycle that etcd refused (another was faster) or did not answer, [`Action::Renew`] aside:
    /// not to be tried again in it.
    pub refused: Vec<Action>,
    /// The data directory.
    pub data: DataDirectory,
    /// The system identifier in the data directory, where it could be read.
    pub system_id: Option<SystemId>,
    /// The history file of the timeline PostgreSQL is on, of a primary on a later timeline than the first.
    pub history_file: Option<HistoryFile>,
    /// Whether the configuration in force differs from what the files and the running PostgreSQL were last given.
    pub reload_due: bool,
    /// The control file; asked for when PostgreSQL does not answer queries.
    pub control: Observed<ControlData, String>,
    /// The postmaster.
    pub postmaster: Postmaster,
    /// What PostgreSQL says.
    pub database: Observed<Database, Silence>,
    /// The job in flight.
    pub job: Option<InFlight>,
    /// Answers of other members' REST APIs in this cycle, and the lack of them.
    pub peers: BTreeMap<MemberName, PeerWord>,
    /// Whether the operator told the agent to end (SIGTERM).
    pub ending: bool,
    /// What earlier decisions left behind.
    pub memory: Memory,
}

/// A job in flight.
#[derive(Clone, Debug, PartialEq)]
pub struct InFlight {
    /// Which.
    pub job: Job,
    /// Since when.
    pub since: Moment,
    /// Whether it was told to give up.
    pub cancelled: bool,
}

/// Members to ask: all of them at once; the answer may come early when enough is known.
pub type Asked = BTreeSet<MemberName>;
