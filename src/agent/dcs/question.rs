//! The questions an agent puts to etcd, as values: what any endpoint may be asked.

use std::future::Future;
use std::time::Duration;

use trunkline_core::follow::{Header, Trouble};
use trunkline_core::keys::Prefix;
use trunkline_core::lease::Lease;
use trunkline_core::{LeaseId, MemberName, Revision};
use trunkline_io::clock;
use trunkline_io::etcd::{Attached, Endpoint, Leased, Missing, Proof, Proving, Put, When};

/// A question that can be put to one endpoint after the other.
pub(super) trait Question: Sync {
    /// What comes back.
    type Answer: Headed + Send;

    /// Puts it to one of them.
    fn put_to(
        &self,
        endpoint: &mut Endpoint,
        within: Duration,
    ) -> impl Future<Output = Result<Self::Answer, Trouble>> + Send;
}

/// An answer that may say which store it comes from.
pub(super) trait Headed {
    /// Its header.
    fn header(&self) -> Option<Header>;
}

/// To keep a lease alive, or, where there is none or it is gone, for one.
pub(super) struct KeepLease<'a> {
    pub(super) prefix: &'a Prefix,
    pub(super) had: Option<Lease>,
    pub(super) ttl: Duration,
}

/// A lease that lives.
pub(super) struct Kept {
    pub(super) lease: Lease,
    pub(super) header: Header,
    /// Whether it was kept alive, and not granted now.
    pub(super) alive: bool,
}

/// Whose the lock is, and for it if it is this member's.
pub(super) struct ProveLock<'a> {
    pub(super) prefix: &'a Prefix,
    pub(super) me: &'a MemberName,
    pub(super) lease: LeaseId,
    pub(super) missing: Missing,
    /// Whether the key is to be changed where it is this member's.
    pub(super) anew: bool,
}

/// For the lock, if nobody has it.
pub(super) struct TakeLock<'a> {
    pub(super) prefix: &'a Prefix,
    pub(super) me: &'a MemberName,
    pub(super) lease: LeaseId,
}

/// To let the lock go.
pub(super) struct ReleaseLock<'a> {
    pub(super) prefix: &'a Prefix,
    pub(super) me: &'a MemberName,
    /// When the leader key was changed last, where that is known.
    pub(super) seen: Option<Revision>,
    /// The key and the value of this leader's last word.
    pub(super) status: Option<(String, String)>,
}

/// To end a lease.
pub(super) struct Revoke<'a> {
    pub(super) prefix: &'a Prefix,
    pub(super) lease: LeaseId,
}

/// To change a key.
pub(super) struct Make<'a> {
    pub(super) prefix: &'a Prefix,
    pub(super) change: &'a Change,
}

/// One change of one key.
pub(super) enum Change {
    /// It is put.
    Put(Put),
    /// It is deleted.
    Delete(String, When),
}

impl Question for KeepLease<'_> {
    type Answer = Kept;

    async fn put_to(
        &self,
        endpoint: &mut Endpoint,
        within: Duration,
    ) -> Result<Self::Answer, Trouble> {
        let confirmed = clock::now();
        if let Some(had) = self.had {
            match endpoint.keep_alive(self.prefix, had.id, within).await? {
                Leased::Alive(header) => {
                    return Ok(Kept {
                        lease: Lease { confirmed, ..had },
                        header,
                        alive: true,
                    });
                }
                Leased::Gone => {}
            }
        }
        let within = within.saturating_sub(clock::now().since(confirmed));
        let confirmed = clock::now();
        let (header, granted) = endpoint.grant(self.prefix, self.ttl, within).await?;
        let lease = Lease {
            id: granted.id,
            granted: granted.ttl,
            wanted: self.ttl,
            confirmed,
        };
        Ok(Kept {
            lease,
            header,
            alive: false,
        })
    }
}

impl Question for ProveLock<'_> {
    type Answer = Proof;

    async fn put_to(&self, endpoint: &mut Endpoint, within: Duration) -> Result<Proof, Trouble> {
        let Self {
            prefix,
            me,
            lease,
            missing,
            anew,
        } = *self;
        let way = Proving { missing, anew };
        endpoint.prove_lock(prefix, me, lease, way, within).await
    }
}

impl Question for TakeLock<'_> {
    type Answer = Proof;

    async fn put_to(&self, endpoint: &mut Endpoint, within: Duration) -> Result<Proof, Trouble> {
        endpoint
            .take_lock(self.prefix, self.me, self.lease, within)
            .await
    }
}

impl Question for ReleaseLock<'_> {
    type Answer = Attached;

    async fn put_to(&self, endpoint: &mut Endpoint, within: Duration) -> Result<Attached, Trouble> {
        let status = self.status.clone();
        endpoint
            .release_lock(self.prefix, self.me, self.seen, status, within)
            .await
    }
}

impl Question for Revoke<'_> {
    type Answer = ();

    async fn put_to(&self, endpoint: &mut Endpoint, within: Duration) -> Result<(), Trouble> {
        endpoint.revoke(self.prefix, self.lease, within).await
    }
}

impl Question for Make<'_> {
    type Answer = Attached;

    async fn put_to(&self, endpoint: &mut Endpoint, within: Duration) -> Result<Attached, Trouble> {
        match self.change {
            Change::Put(put) => endpoint.put(self.prefix, put, within).await,
            Change::Delete(key, when) => endpoint.delete(self.prefix, key, when, within).await,
        }
    }
}

impl Headed for Attached {
    fn header(&self) -> Option<Header> {
        match self {
            Self::Done(header, _) | Self::Refused(header, _) => Some(*header),
            Self::LeaseGone => None,
        }
    }
}

impl Headed for Proof {
    fn header(&self) -> Option<Header> {
        match self {
            Self::Key(header, _) => Some(*header),
            Self::LeaseGone => None,
        }
    }
}

impl Headed for Kept {
    /// A keepalive is answered without asking a majority: an endpoint that is a moment behind is no other store.
    fn header(&self) -> Option<Header> {
        (!self.alive).then_some(self.header)
    }
}

impl Headed for () {
    fn header(&self) -> Option<Header> {
        None
    }
}
