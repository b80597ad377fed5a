//! Where new sessions go and which old ones may live: the router's decisions.
//!
//! [`look`] is the whole of it: what was observed goes in with `now`, a [`Table`] comes out, with a reason for
//! every member that is left out. What has to be remembered from one look to the next is the [`Ledger`].
//! [`change::between`] says what a new table ends, [`pick::pick`] chooses among targets.

pub mod address;
pub mod change;
pub mod ledger;
pub mod pick;
pub mod primary;
pub mod readers;
pub mod reason;
pub mod table;

mod asks;
mod contradiction;
mod silence;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::cluster::ClusterView;
use crate::config::router::{Cluster, Listener, To};
use crate::follow::Trouble;
use crate::probe::Probe;
use crate::proof::Reading;
use crate::{MemberName, Moment, Observed};

pub use address::Address;
pub use ledger::Ledger;
pub use reason::{Alarm, Because, Out, Row};
pub use table::{Place, Pool, Residence, Table, Target, Verdict};

/// A look this often does for all that has no moment of its own: members to forget, graces that end.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Everything a look is made from.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// What the router was told of the cluster.
    pub cluster: &'a Cluster,
    /// What etcd says.
    pub view: &'a Observed<ClusterView, Trouble>,
    /// The last proof read.
    pub reading: &'a Observed<Reading, Trouble>,
    /// What the members say.
    pub probes: &'a BTreeMap<MemberName, Probe>,
    /// Where the members' PostgreSQL can be reached, names resolved.
    pub addresses: &'a BTreeMap<MemberName, Address>,
    /// Now.
    pub now: Moment,
    /// Now, for people: scheduled switchovers are due by it.
    pub wall: Timestamp,
}

/// Looks at everything again: notes in `ledger` what is new and decides.
pub fn look(ledger: &mut Ledger, snapshot: &Snapshot<'_>) -> Table {
    ledger.note(snapshot);
    let table = decide(ledger, snapshot);
    ledger.remember(&table, snapshot.now);
    table
}

/// The decision: a pure reading of what was noted.
fn decide(ledger: &Ledger, s: &Snapshot<'_>) -> Table {
    let primary = primary::decide(ledger, s);
    let pools: Vec<Pool> = s
        .cluster
        .listeners
        .iter()
        .map(|listener| pool(listener, &primary, ledger, s))
        .collect();
    let asks = asks::decide(&primary, ledger, s);
    let again = pools
        .iter()
        .map(|pool| pool.valid_until)
        .min()
        .unwrap_or(Moment::NEVER);
    let again = again.min(primary.again).min(s.now.after(LOOK_AGAIN));
    // Whatever the evidence says, time passes between two looks.
    let again = again.max(s.now.after(Duration::from_millis(1)));
    Table {
        leader: s.view.value().and_then(|view| view.lock.tenure().cloned()),
        leader_since: ledger.leader_since(),
        alarms: reason::alarms(&primary, ledger, s),
        read_elsewhere: ledger.is_contradicted(),
        dead: ledger.dead(s),
        members: asks,
        again,
        primary,
        pools,
    }
}

fn pool(
    listener: &Listener,
    primary: &primary::Primary,
    ledger: &Ledger,
    s: &Snapshot<'_>,
) -> Pool {
    match listener.to {
        To::Primary => primary.pool(listener, ledger, s),
        To::StandbyLeader => primary.standby_pool(listener, ledger, s),
        To::Replicas | To::Sync | To::Any => readers::pool(listener, primary, ledger, s),
    }
}
