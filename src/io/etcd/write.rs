//! Writing to etcd through one endpoint: leases, and transactions of one key each.
//!
//! Every question here is one request with a deadline of its own. Whether a write that was not answered took
//! place is not known; so each can be told again and says what is there then.

use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, Error, PutOptions, Txn, TxnOp, TxnOpResponse};
use trunkline_core::cluster::KeyValue;
use trunkline_core::follow::{Header, Trouble};
use trunkline_core::keys::Prefix;
use trunkline_core::{LeaseId, MemberName, Revision};

use super::{Endpoint, Need, access, header, key_value, no_header};

/// A lease as granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Its number.
    pub id: LeaseId,
    /// How long it lasts: etcd has a floor of its own.
    pub ttl: Duration,
}

/// What keeping a lease came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Leased {
    /// It lives for its whole time again, as etcd's leader said that this endpoint knew in the term of this header, or in
    /// a later one.
    Alive(Header),
    /// There is none of that number.
    Gone,
}

/// On what a change depends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// On nothing.
    Always,
    /// On there being no such key.
    Missing,
    /// On its having been changed last at this revision.
    Unchanged(Revision),
    /// On its having this value and hanging on this lease.
    Kept(String, LeaseId),
    /// On another key's having this value and hanging on this lease.
    Elsewhere(String, String, LeaseId),
}

/// A key to be put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The whole key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What it is to hang on.
    pub lease: Option<LeaseId>,
    /// On what that depends.
    pub when: When,
}

/// What a change came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Attached {
    /// It was made: the key as it is now, `None` where it was deleted.
    Done(Header, Option<KeyValue>),
    /// It was not, since what it depends on is not so: the key as it is.
    Refused(Header, Option<KeyValue>),
    /// It was not, since the lease it was to hang on is gone.
    LeaseGone,
}

/// What proving the lock does where there is no leader key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is created, if it is still missing then.
    Create,
    /// It is left so.
    Leave,
}

/// How the lock is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proving {
    /// What is done where there is no leader key.
    pub missing: Missing,
    /// Whether the key is put where it is this member's already: whatever was to be done to it as it was before has no
    /// effect then.
    pub anew: bool,
}

/// What asking for the lock came to: whose the leader key is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Proof {
    /// The leader key as it is after the question, where there is one.
    Key(Header, Option<KeyValue>),
    /// The lease is gone.
    LeaseGone,
}

impl Endpoint {
    /// Grants a lease of `ttl` (whole seconds; etcd may make it longer).
    ///
    /// # Errors
    /// [`Trouble`] when etcd does not answer within `within`, or not with a lease.
    pub async fn grant(
        &mut self,
        prefix: &Prefix,
        ttl: Duration,
        within: Duration,
    ) -> Result<(Header, Granted), Trouble> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        let granted = |mut client: Client| async move {
            let answer = client.lease_grant(seconds, None).await?;
            let header = answer.header().map(header).ok_or_else(no_header)?;
            let granted = Granted {
                id: LeaseId(answer.id()),
                ttl: Duration::from_secs(answer.ttl().unsigned_abs()),
            };
            Ok((header, granted))
        };
        Box::pin(self.ask(prefix, Need::write(within), granted)).await
    }

    /// Keeps a lease alive. What the answer says counts from when it was sent.
    ///
    /// # Errors
    /// [`Trouble`] when etcd does not answer within `within`.
    pub async fn keep_alive(
        &mut self,
        prefix: &Prefix,
        lease: LeaseId,
        within: Duration,
    ) -> Result<Leased, Trouble> {
        let kept = |mut client: Client| async move {
            let (mut keeper, mut answers) = match client.lease_keep_alive(lease.0).await {
                Ok(streams) => streams,
                // So etcd-client says that the answer had no TTL.
                Err(Error::LeaseKeepAliveError(text)) if text == "lease not found" => {
                    return Ok(Leased::Gone);
                }
                Err(error) => return Err(error),
            };
            // It keeps the first answer's header to itself.
            keeper.keep_alive().await?;
            let answer = answers.message().await?.ok_or_else(no_header)?;
            if answer.ttl() <= 0 {
                return Ok(Leased::Gone);
            }
            Ok(Leased::Alive(
                answer.header().map(header).ok_or_else(no_header)?,
            ))
        };
        Box::pin(self.ask(prefix, Need::write(within), kept)).await
    }

    /// Ends a lease and with it every key that hangs on it.
    ///
    /// # Errors
    /// [`Trouble`] when etcd does not answer within `within`.
    pub async fn revoke(
        &mut self,
        prefix: &Prefix,
        lease: LeaseId,
        within: Duration,
    ) -> Result<(), Trouble> {
        let revoked = |mut client: Client| async move {
            match client.lease_revoke(lease.0).await {
                Ok(_) => Ok(()),
                Err(error) if access::is_lease_gone(&error) => Ok(()),
                Err(error) => Err(error),
            }
        };
        Box::pin(self.ask(prefix, Need::write(within), revoked)).await
    }

    /// Puts a key.
    ///
    /// # Errors
    /// [`Trouble`] when etcd does not answer within `within`.
    pub async fn put(
        &mut self,
        prefix: &Prefix,
        put: &Put,
        within: Duration,
    ) -> Result<Attached, Trouble> {
        let txn = Txn::new()
            .when(compares(&put.key, &put.when))
            .and_then(put_and_get(&put.key, &put.value, put.lease))
            .or_else([get(&put.key)]);
        self.change(prefix, txn, within).await
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// [`Trouble`] when etcd does not answer within `within`.
    pub async fn delete(
        &mut self,
        prefix: &Prefix,
        key: &str,
        when: &When,
        within: Duration,
    ) -> Result<Attached, Trouble> {
        let txn = Txn::new()
            .when(compares(key, when))
            .and_then([TxnOp::delete(key, None), get(key)])
            .or_else([get(key)]);
        self.change(prefix, txn, within).await
    }

    /// Takes the lock, if nobody has it: creates the leader key on `lease`.
    ///
    /// # Errors
    /// [`Trouble`] when etcd does not answer within `within`: the key may have been created all the same.
    pub async fn take_lock(
        &mut self,
        prefix: &Prefix,
        me: &MemberName,
        lease: LeaseId,
        within: Duration,
    ) -> Result<Proof, Trouble> {
        let (leader, value) = (prefix.leader(), me.as_str());
        let txn = Txn::new()
            .when([Compare::create_revision(&*leader, CompareOp::Equal, 0)])
            .and_then(put_and_get(&leader, value, Some(lease)))
            .or_else([get(&leader)]);
        self.proof(prefix, txn, within).await
    }

    /// Proves in one transaction that the lock is this member's, on `lease`; where the key has its name on another
    /// lease, it is moved to this one, and where there is none, it is created (contract 1.4, refresh lock).
    ///
    /// # Errors
    /// [`Trouble`] when etcd does not answer within `within`.
    pub async fn prove_lock(
        &mut self,
        prefix: &Prefix,
        me: &MemberName,
        lease: LeaseId,
        way: Proving,
        within: Duration,
    ) -> Result<Proof, Trouble> {
        let (leader, value) = (prefix.leader(), me.as_str());
        let mine = Compare::value(&*leader, CompareOp::Equal, value);
        let put = || put_and_get(&leader, value, Some(lease));
        let otherwise = match way.missing {
            Missing::Leave => get(&leader),
            Missing::Create => TxnOp::txn(
                Txn::new()
                    .when([Compare::create_revision(&*leader, CompareOp::Equal, 0)])
                    .and_then(put())
                    .or_else([get(&leader)]),
            ),
        };
        let mend = Txn::new()
            .when([mine.clone()])
            .and_then(put())
            .or_else([otherwise]);
        let txn = if way.anew {
            mend
        } else {
            Txn::new()
                .when([mine, on_lease(&leader, lease)])
                .and_then([get(&leader)])
                .or_else([TxnOp::txn(mend)])
        };
        self.proof(prefix, txn, within).await
    }

    /// Lets the lock go, if it has this member's name and was changed last as `seen`; with a last word, `status` is put in
    /// the same transaction.
    ///
    /// # Errors
    /// [`Trouble`] when etcd does not answer within `within`.
    pub async fn release_lock(
        &mut self,
        prefix: &Prefix,
        me: &MemberName,
        seen: Option<Revision>,
        status: Option<(String, String)>,
        within: Duration,
    ) -> Result<Attached, Trouble> {
        let leader = prefix.leader();
        let mut when = vec![Compare::value(&*leader, CompareOp::Equal, me.as_str())];
        when.extend(seen.map(|seen| Compare::mod_revision(&*leader, CompareOp::Equal, seen.0)));
        let mut then = Vec::new();
        if let Some((key, value)) = status {
            then.push(TxnOp::put(key, value, None));
        }
        then.extend([TxnOp::delete(&*leader, None), get(&leader)]);
        let txn = Txn::new().when(when).and_then(then).or_else([get(&leader)]);
        self.change(prefix, txn, within).await
    }

    async fn change(
        &mut self,
        prefix: &Prefix,
        txn: Txn,
        within: Duration,
    ) -> Result<Attached, Trouble> {
        Ok(match self.commit(prefix, txn, within).await? {
            None => Attached::LeaseGone,
            Some((header, true, found)) => Attached::Done(header, found),
            Some((header, false, found)) => Attached::Refused(header, found),
        })
    }

    async fn proof(
        &mut self,
        prefix: &Prefix,
        txn: Txn,
        within: Duration,
    ) -> Result<Proof, Trouble> {
        let committed = self.commit(prefix, txn, within).await?;
        Ok(committed.map_or(Proof::LeaseGone, |(header, _, found)| {
            Proof::Key(header, found)
        }))
    }

    /// Commits a transaction: whether its first branch was taken, and the key its last operation read. `None`: a
    /// lease it names is gone.
    async fn commit(
        &mut self,
        prefix: &Prefix,
        txn: Txn,
        within: Duration,
    ) -> Result<Option<(Header, bool, Option<KeyValue>)>, Trouble> {
        let committed = |mut client: Client| {
            let txn = txn.clone();
            async move {
                let answer = match client.txn(txn).await {
                    Ok(answer) => answer,
                    Err(error) if access::is_lease_gone(&error) => return Ok(None),
                    Err(error) => return Err(error),
                };
                let header = answer.header().map(header).ok_or_else(no_header)?;
                let (succeeded, found) = (answer.succeeded(), last_read(answer.op_responses()));
                Ok(Some((header, succeeded, found)))
            }
        };
        Box::pin(self.ask(prefix, Need::write(within), committed)).await
    }
}

fn compares(key: &str, when: &When) -> Vec<Compare> {
    match when {
        When::Always => Vec::new(),
        When::Missing => vec![Compare::create_revision(key, CompareOp::Equal, 0)],
        When::Unchanged(revision) => {
            vec![Compare::mod_revision(key, CompareOp::Equal, revision.0)]
        }
        When::Kept(value, lease) => kept(key, value, *lease),
        When::Elsewhere(other, value, lease) => kept(other, value, *lease),
    }
}

fn kept(key: &str, value: &str, lease: LeaseId) -> Vec<Compare> {
    let valued = Compare::value(key, CompareOp::Equal, value);
    vec![valued, on_lease(key, lease)]
}

fn on_lease(key: &str, lease: LeaseId) -> Compare {
    Compare::lease(key, CompareOp::Equal, lease.0)
}

fn put_and_get(key: &str, value: &str, lease: Option<LeaseId>) -> Vec<TxnOp> {
    let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
    vec![TxnOp::put(key, value, options), get(key)]
}

fn get(key: &str) -> TxnOp {
    TxnOp::get(key, None)
}

/// The key that the last operation of the branches that were taken read.
fn last_read(answers: Vec<TxnOpResponse>) -> Option<KeyValue> {
    match answers.into_iter().next_back()? {
        TxnOpResponse::Get(got) => got.kvs().first().map(key_value),
        TxnOpResponse::Txn(inner) => last_read(inner.op_responses()),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) => None,
    }
}
