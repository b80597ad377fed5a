//! The agent's etcd: the view, the lease, the lock, and the writes of one cycle.
//!
//! Nothing here decides: every operation does one thing within a deadline and says what came of it. The lease is
//! kept alive by the cycle's own calls alone. A stamp of what is proven is when the question was *sent*.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use trunkline_core::cluster::{ClusterView, KeyValue};
use trunkline_core::follow::{Header, Trouble};
use trunkline_core::ha::Write;
use trunkline_core::keys::{Key, Prefix};
use trunkline_core::lease::{self, Acquisition, Held, Keeping, Lease, Renewal, Written};
use trunkline_core::wire::config::DynamicConfig;
use trunkline_core::wire::status::Status;
use trunkline_core::{Lsn, MemberName, Moment, Observed, RaftTerm, Revision};
use trunkline_io::clock;
use trunkline_io::etcd::{Access, Attached, Missing, Proof, Put, When};
use trunkline_io::shutdown::Tasks;

mod asker;
mod feed;
mod question;

use asker::Asker;
pub use feed::Seen;
use question::{Change, KeepLease, Make, ProveLock, ReleaseLock, Revoke, TakeLock};

/// A lease confirmed this long ago is asked after before the lock is taken on it.
const RECENT: Duration = Duration::from_secs(1);
/// So often in one question etcd may turn out to have elected another leader, or the lease to be gone.
const ELECTIONS: usize = 4;
const ELECTING: &str = "etcd elects one leader after the other: the lease is not confirmed";

/// The agent's etcd. Owned by the cycle.
#[derive(Debug)]
pub struct Dcs {
    prefix: Prefix,
    me: MemberName,
    asker: Asker,
    lease: Option<Lease>,
    /// In which raft term it was kept alive; `None` of one that was granted, to which a majority agreed.
    alive_in: Option<RaftTerm>,
    /// Whether that was another term than etcd is in.
    lapsed: bool,
    held: Option<Held>,
    /// When the leader key was changed last, where it was proven to be this agent's.
    modified: Option<Revision>,
    /// Whether a word that lets the lock go may still be on its way: it was not answered.
    unsure: bool,
    /// The TTL that etcd granted longer than it was asked for, once that was said.
    warned: Option<Duration>,
}

/// What is wanted of the leader key.
#[derive(Clone, Copy, Debug)]
enum Aim {
    Renew,
    Acquire,
}

/// Whose the leader key is.
#[derive(Debug)]
enum Agreed {
    Mine(Lease, Held),
    /// Nobody's, or of one whose name says nothing: `None`.
    Others(Option<MemberName>),
}

/// Starts to follow the cluster below `prefix`, and gives the handle to write to it as `me`. `wake` is notified
/// when something changes that `me` should look at; by its own writes only where the watch tells of them sooner than
/// their answer comes.
///
/// # Errors
/// When the system has no timer to give.
pub fn start(
    prefix: Prefix,
    me: MemberName,
    config: DynamicConfig,
    endpoints: Vec<Access>,
    wake: Arc<Notify>,
    tasks: &Tasks,
) -> std::io::Result<Dcs> {
    let started = feed::start(
        prefix.clone(),
        me.clone(),
        config,
        endpoints.clone(),
        wake,
        tasks,
    );
    let (seen, orders) = started?;
    Ok(Dcs {
        asker: Asker::new(endpoints, seen, orders),
        prefix,
        me,
        lease: None,
        alive_in: None,
        lapsed: false,
        held: None,
        modified: None,
        unsure: false,
        warned: None,
    })
}

impl Dcs {
    /// What etcd says, own writes included.
    #[must_use]
    pub fn view(&self) -> Observed<ClusterView, Trouble> {
        self.asker.seen().view.clone()
    }

    /// What etcd says, for whoever only reads: the REST API.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<Seen>> {
        self.asker.watch()
    }

    /// For whoever writes an operator's request: the REST API.
    #[must_use]
    pub fn writer(&self) -> Writer {
        Writer {
            prefix: self.prefix.clone(),
            asker: self.asker.clone(),
        }
    }

    /// The lease, as last confirmed.
    #[must_use]
    pub const fn lease(&self) -> Option<Lease> {
        self.lease
    }

    /// The lock, as last proven to be this agent's; `None` once it is known to be lost or was let go.
    #[must_use]
    pub const fn held(&self) -> Option<Held> {
        self.held
    }

    /// Has these endpoints asked from now on, and no others.
    pub async fn move_to(&mut self, endpoints: Vec<Access>) {
        self.asker.move_to(endpoints).await;
    }

    /// Keeps the lease alive, or gets one of `ttl` where there is none, or one of another length.
    pub async fn keep_lease(&mut self, ttl: Duration, deadline: Moment) -> Keeping {
        match self.kept(ttl, deadline).await {
            Ok(lease) => Keeping::Kept(lease),
            Err(words) => Keeping::Unreachable(words),
        }
    }

    /// Keeps the lease alive and proves that the leader key is this agent's (contract 1.4, refresh lock).
    pub async fn renew(&mut self, ttl: Duration, deadline: Moment) -> Renewal {
        match self.agreed(Aim::Renew, ttl, deadline).await {
            Err(words) => Renewal::Unreachable(words),
            Ok(Agreed::Mine(lease, held)) => Renewal::Confirmed(lease, held),
            Ok(Agreed::Others(holder)) => Renewal::Lost { holder },
        }
    }

    /// Takes the lock if nobody has it.
    pub async fn acquire(&mut self, ttl: Duration, deadline: Moment) -> Acquisition {
        match self.agreed(Aim::Acquire, ttl, deadline).await {
            Err(words) => Acquisition::Unreachable(words),
            Ok(Agreed::Mine(lease, held)) => Acquisition::Won(lease, held),
            Ok(Agreed::Others(_holder)) => Acquisition::Lost,
        }
    }

    /// Whose the leader key is, as etcd agrees on a lease that lives.
    async fn agreed(
        &mut self,
        aim: Aim,
        ttl: Duration,
        deadline: Moment,
    ) -> Result<Agreed, String> {
        for _ in 0..ELECTIONS {
            let lease = match aim {
                Aim::Renew => self.kept(ttl, deadline).await?,
                Aim::Acquire => self.recent(ttl, deadline).await?,
            };
            match self.ask_for_the_lock(aim, lease, deadline).await? {
                // It ended between the two questions.
                Proof::LeaseGone => self.lease = None,
                // etcd has another leader than the one that kept it alive: that has to be done again. If the lock was
                // taken it is on this lease, and found so.
                Proof::Key(header, _) if !self.is_confirmed(header) => self.lapsed = true,
                Proof::Key(header, found) => {
                    self.unsure = false;
                    return Ok(self.proven(lease, header, found).await);
                }
            }
        }
        Err(ELECTING.to_owned())
    }

    /// The key is changed where an earlier word that lets it go was not answered: that one is about the key as it was, so
    /// it comes before this, and the lock is found gone, or has no effect.
    async fn ask_for_the_lock(
        &mut self,
        aim: Aim,
        lease: Lease,
        deadline: Moment,
    ) -> Result<Proof, String> {
        let (prefix, me, lease) = (&self.prefix, &self.me, lease.id);
        // A key that is gone is put again only while what was proven cannot have ended: later, others may have led and
        // gone, and whoever wants to lead takes part in the race.
        let holds = |held: Held| clock::now() < held.ends();
        let missing = match aim {
            Aim::Acquire if !self.unsure => {
                let question = TakeLock { prefix, me, lease };
                return self.asker.ask(deadline, &question).await;
            }
            Aim::Acquire => Missing::Create,
            Aim::Renew if self.held.is_some_and(holds) => Missing::Create,
            Aim::Renew => Missing::Leave,
        };
        let question = ProveLock {
            prefix,
            me,
            lease,
            missing,
            anew: self.unsure,
        };
        self.asker.ask(deadline, &question).await
    }

    /// Whether the lease lives for its whole time, now that etcd has agreed to something else.
    fn is_confirmed(&self, agreed: Header) -> bool {
        self.alive_in
            .is_none_or(|kept| lease::is_confirmed(kept, agreed.term))
    }

    /// Lets the lock go, with this leader's last word on its position if there is one.
    pub async fn release(&mut self, optime: Option<Lsn>, deadline: Moment) -> Written {
        // Whatever etcd answers, from here on nothing is proven.
        self.held = None;
        let status = optime.map(|optime| {
            let known = self.view().value().map(|view| view.status.clone());
            let status = Status {
                optime: Some(optime),
                ..known.unwrap_or_default()
            };
            (self.prefix.key(&Key::Status), status.to_json())
        });
        let question = ReleaseLock {
            prefix: &self.prefix,
            me: &self.me,
            seen: self.modified,
            status,
        };
        let attached = self.asker.ask(deadline, &question).await;
        self.unsure |= attached.is_err();
        let leader = self.prefix.leader();
        let written = self.asker.attached(&leader, attached).await;
        if optime.is_some() {
            // The last word went with it, and only the watch will tell at which revision.
            self.asker.look_again().await;
        }
        written
    }

    /// Revokes the lease: every key of this agent that hangs on it is gone.
    pub async fn revoke(&mut self, deadline: Moment) -> Written {
        self.held = None;
        let Some(lease) = self.lease.take() else {
            return Written::Done;
        };
        let question = Revoke {
            prefix: &self.prefix,
            lease: lease.id,
        };
        match self.asker.ask(deadline, &question).await {
            Ok(()) => Written::Done,
            Err(words) => Written::Unreachable(words),
        }
    }

    /// Changes a key.
    pub async fn write(&mut self, write: &Write, deadline: Moment) -> Written {
        let Some(change) = self.change(write) else {
            return Written::Refused;
        };
        let question = Make {
            prefix: &self.prefix,
            change: &change,
        };
        let attached = self.asker.ask(deadline, &question).await;
        if let (Ok(Attached::LeaseGone), Change::Put(put)) = (&attached, &change) {
            tracing::warn!(key = put.key, "the lease is gone: the key was not written");
            self.lease = None;
        }
        let (Change::Put(Put { key, .. }) | Change::Delete(key, _)) = &change;
        let attached = attached.map(|attached| told_before(&change, attached));
        self.asker.attached(key, attached).await
    }

    /// What a write is in etcd's terms; `None` where it needs a lease and there is none.
    fn change(&self, write: &Write) -> Option<Change> {
        let put = |key: Key, value: &str, lease: Option<Lease>, when: When| {
            Change::Put(Put {
                key: self.prefix.key(&key),
                value: value.to_owned(),
                lease: lease.map(|lease| lease.id),
                when,
            })
        };
        Some(match write {
            Write::Member(value) => {
                let key = Key::Member(self.me.clone());
                put(key, value, Some(self.lease?), When::Always)
            }
            // On the lease, so that the claim of an agent that dies ends with it, and tells whose it is.
            Write::ClaimInitialize => put(Key::Initialize, "", Some(self.lease?), When::Missing),
            Write::Initialize(system_id, seen) => {
                put(Key::Initialize, system_id.as_str(), None, as_seen(*seen))
            }
            Write::UnclaimInitialize => {
                let mine = When::Kept(String::new(), self.lease?.id);
                Change::Delete(self.prefix.key(&Key::Initialize), mine)
            }
            Write::Config(value, seen) => put(Key::Config, value, None, as_seen(*seen)),
            Write::Status(value) => put(Key::Status, value, None, self.leading()?),
            Write::OptimeLeader(value) => put(Key::OptimeLeader, value, None, self.leading()?),
            Write::History(value) => put(Key::History, value, None, self.leading()?),
            Write::Failsafe(value) => put(Key::Failsafe, value, None, self.leading()?),
            Write::ClearFailover(Some(seen)) => {
                put(Key::Failover, "{}", None, When::Unchanged(*seen))
            }
            Write::ClearFailover(None) => put(Key::Failover, "{}", None, When::Always),
        })
    }

    /// What only the leader writes depends on its being the leader: a late word of a former one is refused.
    fn leading(&self) -> Option<When> {
        let (leader, me) = (self.prefix.leader(), self.me.as_str().to_owned());
        Some(When::Elsewhere(leader, me, self.lease?.id))
    }

    /// The lease of `ttl`, confirmed not long ago.
    async fn recent(&mut self, ttl: Duration, deadline: Moment) -> Result<Lease, String> {
        let recent = |lease: &Lease| {
            lease.wanted == ttl && clock::now() < lease.confirmed.after(RECENT.min(ttl / 4))
        };
        match self.lease.filter(recent).filter(|_| !self.lapsed) {
            Some(lease) => Ok(lease),
            None => self.kept(ttl, deadline).await,
        }
    }

    /// The lease of `ttl`, kept alive just now.
    async fn kept(&mut self, ttl: Duration, deadline: Moment) -> Result<Lease, String> {
        let question = KeepLease {
            prefix: &self.prefix,
            had: self.lease.filter(|lease| lease.wanted == ttl),
            ttl,
        };
        let kept = self.asker.ask(deadline, &question).await?;
        let lease = kept.lease;
        self.alive_in = kept.alive.then_some(kept.header.term);
        self.lapsed = false;
        if lease.granted > ttl && self.warned != Some(ttl) {
            self.warned = Some(ttl);
            tracing::warn!(
                "etcd granted a lease of {:?} where ttl is {ttl:?}: its election timeout allows no less. A leader \
                 that vanishes is replaced after that time",
                lease.granted
            );
        }
        self.lease = Some(lease);
        Ok(lease)
    }

    /// What the leader key proves: that the lock is held on `lease`, or else by whom it is.
    async fn proven(&mut self, lease: Lease, header: Header, found: Option<KeyValue>) -> Agreed {
        (self.held, self.modified) = (None, None);
        let leader = self.prefix.leader();
        self.asker.learnt(&leader, header, found.clone()).await;
        let Some(found) = found else {
            return Agreed::Others(None);
        };
        if found.value != self.me.as_str().as_bytes() || found.lease != Some(lease.id) {
            return Agreed::Others(trunkline_core::wire::leader::parse(&found.value).ok());
        }
        let held = Held {
            began: found.created,
            confirmed: lease.confirmed,
            granted: lease.granted,
        };
        (self.held, self.modified) = (Some(held), Some(found.modified));
        Agreed::Mine(lease, held)
    }
}

fn as_seen(seen: Option<Revision>) -> When {
    seen.map_or(When::Missing, When::Unchanged)
}

/// A question that was told again after its first answer was lost may find its own work done and refuse to do it
/// twice: what stands there is then what was to be written.
fn told_before(change: &Change, attached: Attached) -> Attached {
    match (change, attached) {
        (Change::Put(put), Attached::Refused(header, Some(found)))
            if found.value == put.value.as_bytes()
                && found.lease == put.lease
                && !matches!(put.when, When::Elsewhere(..)) =>
        {
            Attached::Done(header, Some(found))
        }
        (Change::Delete(..), Attached::Refused(header, None)) => Attached::Done(header, None),
        (Change::Put(_) | Change::Delete(..), attached) => attached,
    }
}

/// Writes operators' requests, for the REST API.
#[derive(Clone, Debug)]
pub struct Writer {
    prefix: Prefix,
    asker: Asker,
}

impl Writer {
    /// Puts the request for a switchover or failover, whatever stands there (contract 1.4).
    pub async fn request(&mut self, failover: &str, deadline: Moment) -> Written {
        self.put(failover, When::Always, deadline).await
    }

    /// Takes the request away that was seen at this revision.
    pub async fn withdraw(&mut self, seen: Revision, deadline: Moment) -> Written {
        self.put("{}", When::Unchanged(seen), deadline).await
    }

    async fn put(&mut self, failover: &str, when: When, deadline: Moment) -> Written {
        let key = self.prefix.key(&Key::Failover);
        let change = Change::Put(Put {
            key: key.clone(),
            value: failover.to_owned(),
            lease: None,
            when,
        });
        let question = Make {
            prefix: &self.prefix,
            change: &change,
        };
        let attached = self.asker.ask(deadline, &question).await;
        let attached = attached.map(|attached| told_before(&change, attached));
        self.asker.attached(&key, attached).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cycle is a task that may move from thread to thread.
    #[test]
    fn what_the_cycle_waits_for_can_be_sent() {
        fn sent<T: Send>(_: impl FnOnce(&'static mut Dcs) -> T) {}
        let write = &Write::ClaimInitialize;
        let ttl = Duration::ZERO;
        sent(|dcs| dcs.keep_lease(ttl, Moment::BOOT));
        sent(|dcs| dcs.renew(ttl, Moment::BOOT));
        sent(|dcs| dcs.acquire(ttl, Moment::BOOT));
        sent(|dcs| dcs.release(None, Moment::BOOT));
        sent(move |dcs| dcs.write(write, Moment::BOOT));
    }
}
