//! Why: the closed lists of reasons, and how each reads to an operator and to a client.

use std::fmt;
use std::time::Duration;

use super::primary::Primary;
use super::{Ledger, Snapshot};
use crate::cluster::ClusterView;
use crate::probe::{Foreign, NoAnswer};
use crate::{MemberName, StoreNumber};

/// How long an alarm tells of a rebuilt store: long enough to be seen by who comes to look.
const REBUILT_SHOWN: Duration = Duration::from_secs(600);

/// How many keys that cannot be understood are told of.
const UNREADABLE_SHOWN: usize = 8;

/// Defines an enum without data together with the list of all its values, which coverage tests need.
macro_rules! closed {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every value there is.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
        }
    };
}

closed! {
    /// The row of the write table that applied: what etcd says, what the leader's REST API says, in one word.
    ///
    /// `L` in the descriptions is the member that was proven last.
    Row {
        /// etcd was never listed since the start.
        NothingKnown,
        /// There is no key under the prefix.
        NoCluster,
        /// There is no leader key and nobody was ever proven.
        NoLeader,
        /// Another member than L holds the lock and is not proven yet.
        OtherHolds,
        /// The leader key names no member, or is garbage.
        Garbage,
        /// L holds the lock, and a due request takes it away from L.
        Handover,
        /// The cluster is a standby of another one: nobody is writable in it.
        StandbyCluster,
        /// Somebody contradicts etcd; it is being asked again.
        Contradicted,
        /// The holder's lock and role are proven.
        Proven,
        /// The holder runs, but its lease is not proven: just taken, or about to end.
        LeaseNotProven,
        /// The holder went into recovery after it was proven.
        InRecovery,
        /// The holder is not running, or not primary yet.
        NotRunning,
        /// The holder was proven; its REST API is silent, its PostgreSQL decides.
        SilentProven,
        /// The holder was never proven and its REST API is silent.
        SilentUnproven,
        /// etcd cannot be asked or has no leader key, and two members say that they hold the lock.
        SplitBrain,
        /// The cluster is paused and its lock gone or unknown: only a contradiction ends anything.
        Paused,
        /// The key is gone, and L says that it runs and holds on (failsafe mode, or a blip).
        GoneRetained,
        /// The key is gone; L runs as primary but says that it lost the lock.
        GoneWithoutLock,
        /// The key is gone and L is in recovery.
        GoneInRecovery,
        /// The key is gone and nothing is known for L.
        Gone,
        /// etcd cannot be asked; L says that it holds the lock.
        BlindConfirmed,
        /// etcd cannot be asked; L says that it does not hold the lock.
        BlindContradicted,
        /// etcd cannot be asked and L says nothing that helps.
        Blind,
    }
}

closed! {
    /// Why a member is not among a pool's targets.
    Out {
        /// Its address is not known: not published, or its name does not resolve.
        NoAddress,
        /// Another member has the same address; only the holder of the lock is served there.
        SharedAddress,
        /// It is the leader, and this pool is for replicas.
        IsLeader,
        /// It is not the leader, and this pool is for the leader.
        NotLeader,
        /// It holds the lock but nothing proves that it is writable.
        NotProven,
        /// It was not asked often enough yet to count as up.
        NotAskedYet,
        /// Its REST API does not answer.
        NoAnswer,
        /// Neither its REST API nor its PostgreSQL answers.
        Dead,
        /// Somebody else answers at its REST address.
        Foreign,
        /// Its PostgreSQL is not running.
        NotRunning,
        /// It runs as a primary without the lock.
        StrayPrimary,
        /// Its tag `noloadbalance` is set.
        NoLoadBalance,
        /// It lacks a tag this listener asks for.
        TagMissing,
        /// It is further behind than `max_lag`.
        Lagging,
        /// How far it is behind has not been known for longer than the grace.
        LagUnknown,
        /// It is no synchronous standby.
        NotSync,
        /// It is a backup, and others serve.
        Backup,
        /// It lacks a preferred tag, and others have it.
        NotPreferred,
    }
}

impl fmt::Display for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAddress => "no address known",
            Self::SharedAddress => "shares its address with another member",
            Self::IsLeader => "is the leader",
            Self::NotLeader => "is not the leader",
            Self::NotProven => "holds the lock, not proven writable",
            Self::NotAskedYet => "not asked often enough yet",
            Self::NoAnswer => "REST API does not answer",
            Self::Dead => "neither its REST API nor its PostgreSQL answers",
            Self::Foreign => "somebody else answers at its REST address",
            Self::NotRunning => "PostgreSQL is not running",
            Self::StrayPrimary => "runs as primary without the lock",
            Self::NoLoadBalance => "tag noloadbalance",
            Self::TagMissing => "lacks a tag this listener asks for",
            Self::Lagging => "lags more than max_lag",
            Self::LagUnknown => "lag unknown for too long",
            Self::NotSync => "is no synchronous standby",
            Self::Backup => "backup, others serve",
            Self::NotPreferred => "not preferred, others serve",
        })
    }
}

/// Why a listener has no target to give, in one value the log, the page and the client's error all read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// By the write table.
    Row {
        /// Its row.
        row: Row,
        /// The member it is about.
        member: Option<MemberName>,
    },
    /// No member of the pool can be used; each has its own reason.
    EmptyPool,
    /// This member was found dead.
    Dead(MemberName),
    /// This member belongs no more into the pool, for this reason.
    LeftOut(MemberName, Out),
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row { row, member } => sentence(*row, member.as_ref(), f),
            Self::EmptyPool => f.write_str("no member of the pool can be used now"),
            Self::LeftOut(member, why) => write!(f, "{member} left the pool: {why}"),
            Self::Dead(member) => write!(
                f,
                "{member} is dead: neither its REST API nor its PostgreSQL answers"
            ),
        }
    }
}

/// The row as a sentence about `member`.
fn sentence(row: Row, member: Option<&MemberName>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let m = member.map_or("the leader", MemberName::as_str);
    match row {
        Row::NothingKnown => f.write_str("etcd has not answered since the start"),
        Row::NoCluster => f.write_str("etcd holds no such cluster: check scope and namespace"),
        Row::NoLeader => f.write_str("the cluster has no leader"),
        Row::OtherHolds => write!(f, "{m} took the lock and is not proven writable yet"),
        Row::Garbage => f.write_str("the leader key names no member of the cluster"),
        Row::Handover => write!(f, "a switchover away from {m} is under way"),
        Row::StandbyCluster => f.write_str("this is a standby cluster: no member accepts writes"),
        Row::Contradicted => write!(f, "the lock of {m} is contradicted and being read again"),
        Row::Proven => write!(f, "{m} holds the lock and runs as primary"),
        Row::LeaseNotProven => write!(f, "{m} holds the lock, but its lease is not proven"),
        Row::InRecovery => write!(f, "{m} holds the lock but went into recovery"),
        Row::NotRunning => write!(f, "{m} holds the lock but does not run as primary yet"),
        Row::SilentProven => write!(f, "{m} holds the lock; its REST API is silent"),
        Row::SilentUnproven => write!(
            f,
            "{m} holds the lock but has not answered for itself since it took it"
        ),
        Row::SplitBrain => write!(
            f,
            "etcd knows of no leader and another member than {m} claims the lock too"
        ),
        Row::Paused => write!(
            f,
            "the cluster is paused and the lock of {m} cannot be seen"
        ),
        Row::GoneRetained => write!(f, "the leader key is gone but {m} says it holds on"),
        Row::GoneWithoutLock => write!(f, "{m} runs but has lost the lock"),
        Row::GoneInRecovery => write!(f, "the leader key is gone and {m} is in recovery"),
        Row::Gone => write!(f, "the leader key is gone; {m} was the last to hold it"),
        Row::BlindConfirmed => write!(f, "etcd cannot be asked; {m} says it holds the lock"),
        Row::BlindContradicted => write!(f, "etcd cannot be asked; {m} says it lost the lock"),
        Row::Blind => write!(f, "etcd cannot be asked and nothing else proves {m}"),
    }
}

/// A state somebody may be needed for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// The leader key names nobody.
    LeaderKeyGarbage,
    /// The holder of the lock never answered for itself.
    HolderSilent(MemberName),
    /// Two members run as primary.
    TwoPrimaries(MemberName, MemberName),
    /// A member's REST address belongs to somebody else.
    ForeignAnswer(MemberName, String),
    /// Two members have one address.
    SharedAddress(MemberName, MemberName),
    /// etcd has not answered since the start: the cluster is known from the router's last run.
    Remembered,
    /// The value of this key cannot be understood, for this cause.
    Unreadable(String, String),
    /// The prefix is empty.
    NoCluster,
    /// etcd's store is another one than before: rebuilt, or put back from a snapshot.
    StoreRebuilt,
    /// The prefix is empty, and the file says `etcd:`, which to Patroni means the store of etcd's v2 API.
    NoClusterInVersion3,
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeaderKeyGarbage => f.write_str("the leader key names no member of the cluster"),
            Self::HolderSilent(member) => {
                write!(
                    f,
                    "{member} holds the lock but its REST API has not answered since it took it"
                )
            }
            Self::TwoPrimaries(one, other) => {
                write!(
                    f,
                    "{one} and {other} both run as primary; only the holder of the lock is routed to"
                )
            }
            Self::ForeignAnswer(member, what) => write!(f, "REST address of {member}: {what}"),
            Self::SharedAddress(one, other) => write!(f, "{one} and {other} have the same address"),
            Self::StoreRebuilt => f.write_str(
                "etcd's store is another one than before, rebuilt or put back from a snapshot: \
                 what it held of the cluster may be old",
            ),
            Self::Remembered => f.write_str(
                "etcd has not answered since the start: the members are known from the router's last run, \
                 and the leader is routed to only while it says itself that it holds the lock",
            ),
            Self::Unreadable(key, cause) => write!(f, "etcd key {key} is left out: {cause}"),
            Self::NoCluster => f.write_str("etcd holds no key under this scope and namespace"),
            Self::NoClusterInVersion3 => f.write_str(
                "etcd's v3 store holds no key under this scope and namespace; the file has an etcd: section, \
                 with which Patroni uses the v2 store: have Patroni use etcd3:",
            ),
        }
    }
}

/// The alarms of a look.
pub(super) fn alarms(primary: &Primary, ledger: &Ledger, s: &Snapshot<'_>) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    match (primary.row, &primary.member) {
        (Row::Garbage, _) => alarms.push(Alarm::LeaderKeyGarbage),
        (Row::NoCluster, _) if s.cluster.etcd.version2_section => {
            alarms.push(Alarm::NoClusterInVersion3);
        }
        (Row::NoCluster, _) => alarms.push(Alarm::NoCluster),
        // A holder that was not asked yet is not silent.
        (Row::SilentUnproven, Some(member)) if ledger.was_looked_at(member, s) => {
            alarms.push(Alarm::HolderSilent(member.clone()));
        }
        _ => {}
    }
    let is_remembered = |view: &ClusterView| view.store == StoreNumber::REMEMBERED;
    if s.view.value().is_some_and(is_remembered) {
        alarms.push(Alarm::Remembered);
    }
    if ledger
        .rebuilt()
        .is_some_and(|at| s.now.since(at) < REBUILT_SHOWN)
    {
        alarms.push(Alarm::StoreRebuilt);
    }
    if let Some((one, other)) = ledger.two_primaries(s) {
        alarms.push(Alarm::TwoPrimaries(one, other));
    }
    for (name, probe) in s.probes {
        if let crate::Observed::Stale { cause, .. } | crate::Observed::Unknown { cause, .. } =
            &probe.rest
            && let NoAnswer::Foreign(Foreign::Name(_) | Foreign::Scope(_) | Foreign::SystemId(_)) =
                cause
        {
            alarms.push(Alarm::ForeignAnswer(name.clone(), cause.to_string()));
        }
    }
    let invalid = s.view.value().map_or(&[][..], |view| &view.invalid);
    for (key, cause) in invalid.iter().take(UNREADABLE_SHOWN) {
        alarms.push(Alarm::Unreadable(key.clone(), cause.to_string()));
    }
    for (one, other) in super::readers::shared_addresses(s) {
        alarms.push(Alarm::SharedAddress(one, other));
    }
    alarms
}
