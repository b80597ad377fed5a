//! What etcd says of the cluster, parsed, as one value.
//!
//! The view is made from the raw keys in one go; whatever cannot be understood is kept beside what can, with
//! its cause. It knows no time: how old it is stands in the [`crate::Observed`] around it.

use std::collections::BTreeMap;
use std::fmt;

use crate::keys::{Key, Prefix};
use crate::wire::config::DynamicConfig;
use crate::wire::failover::Failover;
use crate::wire::failsafe::Failsafe;
use crate::wire::history::History;
use crate::wire::member::Member;
use crate::wire::status::Status;
use crate::wire::sync::Sync;
use crate::wire::{self, Invalid};
use crate::{LeaseId, MemberName, Revision, StoreNumber, SystemId};

/// One key of etcd with its value, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The whole key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision that created it.
    pub created: Revision,
    /// The revision that changed it last.
    pub modified: Revision,
    /// The lease it hangs on.
    pub lease: Option<LeaseId>,
}

/// One term of office: a holder's name under the revision that created the leader key.
///
/// The lease only dates a tenure. The same member under a new revision is a new tenure, and so is any member in
/// a store that was rebuilt: a snapshot put back brings the leader key of its day, revision and all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenure {
    /// Who holds the lock.
    pub holder: MemberName,
    /// In which store.
    pub store: StoreNumber,
    /// The create revision of the leader key.
    pub began: Revision,
}

impl fmt::Display for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} since revision {}", self.holder, self.began)
    }
}

/// The leader key.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Lock {
    /// There is no leader key.
    #[default]
    Vacant,
    /// A member holds it.
    Held {
        /// Who, since which revision.
        tenure: Tenure,
        /// The lease that keeps it. Patroni always sets one; a person with etcdctl may not have.
        lease: Option<LeaseId>,
    },
    /// There is a leader key that names nobody.
    Garbage {
        /// What is wrong with it.
        cause: Invalid,
    },
}

impl Lock {
    /// Reads the leader key of a store.
    #[must_use]
    pub fn of(leader: Option<&KeyValue>, store: StoreNumber) -> Self {
        let Some(kv) = leader else {
            return Self::Vacant;
        };
        match wire::leader::parse(&kv.value) {
            Ok(holder) => Self::Held {
                tenure: Tenure {
                    holder,
                    store,
                    began: kv.created,
                },
                lease: kv.lease,
            },
            Err(cause) => Self::Garbage { cause },
        }
    }

    /// The tenure, where somebody holds the lock.
    #[must_use]
    pub const fn tenure(&self) -> Option<&Tenure> {
        match self {
            Self::Held { tenure, .. } => Some(tenure),
            Self::Vacant | Self::Garbage { .. } => None,
        }
    }
}

/// The initialize key.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Initialize {
    /// There is none.
    #[default]
    Missing,
    /// Somebody is bootstrapping.
    Claimed,
    /// It is the database with this identifier.
    Done(SystemId),
    /// It is neither empty nor an identifier.
    Garbage,
}

/// When a key was changed last, and what keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// At which revision.
    pub modified: Revision,
    /// The lease it hangs on.
    pub lease: Option<LeaseId>,
}

/// What the keys that say most held when they were parsed last, and what was understood.
#[derive(Clone, Debug, Default)]
pub struct Understood {
    members: BTreeMap<MemberName, Read<Member>>,
    config: Option<Read<DynamicConfig>>,
}

/// A value and what it says.
#[derive(Clone, Debug)]
struct Read<T> {
    value: Vec<u8>,
    says: Result<T, Invalid>,
}

impl Understood {
    fn member(&mut self, name: &MemberName, value: &[u8]) -> Result<Member, Invalid> {
        match self.members.get(name) {
            Some(known) if known.value == value => known.says.clone(),
            Some(_) | None => {
                let says = Member::parse(value);
                let read = Read::new(value, says.clone());
                self.members.insert(name.clone(), read);
                says
            }
        }
    }

    fn config(&mut self, value: &[u8]) -> Result<DynamicConfig, Invalid> {
        match &self.config {
            Some(known) if known.value == value => known.says.clone(),
            Some(_) | None => {
                let read = Read::new(value, DynamicConfig::parse(value));
                self.config.insert(read).says.clone()
            }
        }
    }
}

impl<T> Read<T> {
    fn new(value: &[u8], says: Result<T, Invalid>) -> Self {
        let value = value.to_vec();
        Self { value, says }
    }
}

/// What is believed from etcd.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ClusterView {
    /// The store it was read from.
    pub store: StoreNumber,
    /// Who holds the lock.
    pub lock: Lock,
    /// The members that have a key, by name.
    pub members: BTreeMap<MemberName, Member>,
    /// The system identifier of the cluster's databases, once it is initialized.
    pub system_id: Option<SystemId>,
    /// The dynamic configuration; the last one that could be read if the present one cannot.
    pub config: DynamicConfig,
    /// The leader's last word on positions and slots.
    pub status: Status,
    /// Who may be trusted with synchronous commits.
    pub sync: Option<Sync>,
    /// The operator's request for a switchover or failover, where there is one.
    pub failover: Option<Failover>,
    /// The timelines that ended, as the leader wrote them down.
    pub history: Option<History>,
    /// Whom a leader must reach to go on without etcd.
    pub failsafe: Option<Failsafe>,
    /// Whether the cluster is initialized, or somebody is at it.
    pub initialize: Initialize,
    /// When each key was changed last and the lease it hangs on: what a write is made conditional on.
    pub written: BTreeMap<Key, Written>,
    /// Whether the prefix holds any key at all.
    pub exists: bool,
    /// Keys whose value could not be understood.
    pub invalid: Vec<(String, Invalid)>,
    /// Whether the dynamic configuration is among them.
    pub config_unreadable: bool,
}

impl ClusterView {
    /// Parses `keys`, everything there is under `prefix` in `store`.
    ///
    /// `config` is the dynamic configuration that was in force: an unreadable one leaves it so (contract 1.2,
    /// config).
    #[must_use]
    pub fn parse<'a>(
        prefix: &Prefix,
        store: StoreNumber,
        keys: impl IntoIterator<Item = &'a KeyValue>,
        config: &DynamicConfig,
    ) -> Self {
        Self::parse_again(prefix, store, keys, config, &mut Understood::default())
    }

    /// The same, where `understood` is what was understood of the last ones: what did not change is not parsed again. Some
    /// member changes every second, and each says a lot.
    #[must_use]
    pub fn parse_again<'a>(
        prefix: &Prefix,
        store: StoreNumber,
        keys: impl IntoIterator<Item = &'a KeyValue>,
        config: &DynamicConfig,
        understood: &mut Understood,
    ) -> Self {
        let mut view = Self {
            store,
            config: config.clone(),
            ..Self::default()
        };
        for kv in keys {
            view.exists = true;
            if let Err(cause) = view.take(prefix, kv, understood) {
                view.invalid
                    .push((String::from_utf8_lossy(&kv.key).into_owned(), cause));
            }
        }
        understood
            .members
            .retain(|name, _| view.members.contains_key(name));
        view
    }

    /// Whether what changed since `before` is for `me` to look at now: the lock, the requests and rules of the
    /// cluster, and, for whoever does not lead, the leader's word (contract 1.6, wake-ups, and two more keys: those
    /// a switchover waits for). What members say of themselves every cycle is not.
    #[must_use]
    pub fn concerns(&self, me: &MemberName, before: &Self) -> bool {
        let changed = |key: &Key| self.written.get(key) != before.written.get(key);
        let rules = [
            Key::Leader,
            Key::Config,
            Key::Failover,
            Key::Sync,
            Key::Initialize,
        ];
        if self.store != before.store || self.lock != before.lock || rules.iter().any(changed) {
            return true;
        }
        let Some(leader) = self.lock.tenure().map(|tenure| &tenure.holder) else {
            return false;
        };
        // Where to follow it, and whether it can be copied or rewound from: not its position.
        let standing = |view: &Self| {
            let member = view.members.get(leader)?;
            Some((
                member.conn.clone(),
                member.role.clone(),
                member.state.clone(),
                member.checkpoint_after_promote,
            ))
        };
        leader != me
            && (changed(&Key::Status)
                || changed(&Key::OptimeLeader)
                || standing(self) != standing(before))
    }

    fn take(
        &mut self,
        prefix: &Prefix,
        kv: &KeyValue,
        understood: &mut Understood,
    ) -> Result<(), Invalid> {
        let key = prefix.parse(&kv.key);
        if key != Key::Other {
            let written = Written {
                modified: kv.modified,
                lease: kv.lease,
            };
            self.written.insert(key.clone(), written);
        }
        match key {
            Key::Leader => {
                self.lock = Lock::of(Some(kv), self.store);
                if let Lock::Garbage { cause } = &self.lock {
                    return Err(cause.clone());
                }
            }
            Key::Member(name) => {
                // A member whose value is garbage is still a member: its name may hold the lock.
                let (member, trouble) = match understood.member(&name, &kv.value) {
                    Ok(member) => (member, Ok(())),
                    Err(cause) => (Member::default(), Err(cause)),
                };
                self.members.insert(name, member);
                return trouble;
            }
            Key::Initialize => {
                self.initialize = Initialize::Garbage;
                self.system_id = wire::initialize::parse(&kv.value)?;
                self.initialize = match &self.system_id {
                    None => Initialize::Claimed,
                    Some(system_id) => Initialize::Done(system_id.clone()),
                };
            }
            Key::Config => {
                let config = understood.config(&kv.value);
                self.config_unreadable = config.is_err();
                self.config = config?;
            }
            Key::Status => self.status = Status::parse(&kv.value)?,
            Key::OptimeLeader => {
                let legacy = Status::parse(&kv.value)?;
                self.status.optime = self.status.optime.or(legacy.optime);
            }
            Key::Sync => self.sync = Some(Sync::parse(&kv.value)?).filter(|sync| !sync.is_empty()),
            Key::Failover => {
                self.failover = Some(Failover::parse(&kv.value)?).filter(Failover::is_requested);
            }
            Key::History => self.history = Some(History::parse(&kv.value)?),
            Key::Failsafe => self.failsafe = Some(Failsafe::parse(&kv.value)?),
            Key::Other => {}
        }
        Ok(())
    }
}
