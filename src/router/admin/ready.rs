//! Whether a listener routes now, for whoever stands before it: a load balancer, a virtual address, a test.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use trunkline_core::Moment;
use trunkline_core::route::{Pool, Verdict};
use trunkline_io::clock;

use super::{Admin, Shown};
use crate::door::Door;

/// What a listener does with a client that comes now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It goes to one of the targets.
    Routing,
    /// It waits, for this reason.
    Holding(String),
    /// It is told to go away, for this reason.
    Refusing(String),
}

impl Standing {
    /// What `door` does at `now` by `pool`. While the program drains nobody is let in, whatever was decided.
    pub(super) fn of(door: &Door, pool: &Pool, now: Moment) -> Self {
        if door.tasks.draining().is_cancelled() {
            return Self::Refusing("the router is draining".to_owned());
        }
        if door.leaving {
            let why = "it was taken out of the configuration; its sessions go on until they end";
            return Self::Refusing(why.to_owned());
        }
        Self::by(pool, now)
    }

    /// What was decided, at `now`: a decision that is too old routes nobody, as in a session.
    fn by(pool: &Pool, now: Moment) -> Self {
        match &pool.verdict {
            Verdict::Route if now > pool.valid_until => {
                Self::Holding("the last decision is too old to route by".to_owned())
            }
            Verdict::Route => Self::Routing,
            Verdict::Hold(because) => Self::Holding(because.to_string()),
            Verdict::Refuse(because) => Self::Refusing(because.to_string()),
        }
    }

    /// The state's word.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Routing => "routing",
            Self::Holding(_) => "holding",
            Self::Refusing(_) => "refusing",
        }
    }
}

/// The answer to who asks whether a listener is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It is, and routes there.
    Ready(String),
    /// It is not, for this reason.
    NotReady(String),
    /// It is not known which is meant; these there are.
    NoSuchListener(String),
}

/// Looks up `named`, which is `LISTENER` or `CLUSTER/LISTENER` as it stands in a path.
pub(super) fn of(named: &str, admin: &Admin) -> Readiness {
    let shown = admin.shown();
    match find(named, &shown.doors).as_slice() {
        [door] => readiness(door),
        [] => Readiness::NoSuchListener(format!("there is no such listener; {}", listed(&shown))),
        _ => Readiness::NoSuchListener(format!(
            "several clusters have such a listener; {}",
            listed(&shown)
        )),
    }
}

fn readiness(door: &Door) -> Readiness {
    let snapshot = door.snapshot();
    let Some(lane) = snapshot.lane(&door.config.name) else {
        return Readiness::NotReady("nothing was decided yet".to_owned());
    };
    match Standing::of(door, &lane.pool, clock::now()) {
        Standing::Routing => {
            let targets = lane.pool.targets.iter();
            let lines = targets.map(|target| format!("{} {}", target.member, target.address));
            Readiness::Ready(lines.collect::<Vec<_>>().join("\n"))
        }
        Standing::Holding(why) => Readiness::NotReady(format!("holding: {why}")),
        Standing::Refusing(why) => Readiness::NotReady(format!("refusing: {why}")),
    }
}

/// The listeners that `named` may mean. A name may hold a slash: it is encoded in a path.
fn find<'d>(named: &str, doors: &'d [Arc<Door>]) -> Vec<&'d Door> {
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
    let (cluster, listener) = match named.split_once('/') {
        Some((cluster, listener)) => (Some(decoded(cluster)), decoded(listener)),
        None => (None, decoded(named)),
    };
    let is_meant = |door: &&Door| {
        door.config.name == listener && cluster.as_ref().is_none_or(|name| door.cluster == *name)
    };
    doors.iter().map(AsRef::as_ref).filter(is_meant).collect()
}

fn listed(shown: &Shown) -> String {
    let names: Vec<String> = shown
        .doors
        .iter()
        .map(|door| match shown.clusters.as_slice() {
            [_] => format!("/ready/{}", door.config.name),
            _ => format!("/ready/{}/{}", door.cluster, door.config.name),
        })
        .collect();
    format!("there is {}", names.join(", "))
}
