//! A cluster of fake members in a real etcd: Patroni's keys, and a leader key on a lease that is kept alive.
//!
//! Members' keys hang on no lease here: what becomes of members that outlive their keys is decided in core
//! and tested there.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

use crate::ca::{Ca, Tls};
use crate::etcd::Store;
use crate::fake_member::{FakeMember, Rest, SYSTEM_ID};
use crate::ports::Loopback;

/// Often enough for the shortest lease a test takes.
const RENEW: Duration = Duration::from_millis(700);
const HOST: u8 = 101;

/// A cluster that is whatever its keys and its members say.
#[derive(Debug)]
pub struct FakeCluster {
    scope: String,
    etcd: Way,
    members: Vec<FakeMember>,
    ttl: i64,
    lock: Option<Lock>,
}

/// The way into etcd.
#[derive(Clone, Debug)]
pub struct Way {
    /// One of its members.
    pub address: SocketAddr,
    /// How to get in, where it speaks TLS.
    pub tls: Option<Tls>,
    /// The user and the password, where it wants one.
    pub user: Option<(String, String)>,
}

/// The leader key's lease and the task that keeps it.
#[derive(Debug)]
struct Lock {
    lease: i64,
    keeper: JoinHandle<()>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl FakeCluster {
    /// Starts members and writes their keys. Nobody leads yet.
    pub async fn start(
        scope: &str,
        etcd: SocketAddr,
        network: &Loopback,
        names: &[&str],
        ttl: i64,
    ) -> Result<Self> {
        let etcd = Way {
            address: etcd,
            tls: None,
            user: None,
        };
        Self::start_with(scope, etcd, None, network, names, ttl).await
    }

    /// The same in an etcd that asks who is there, and with members whose REST APIs speak TLS where an authority for
    /// them is given.
    pub async fn start_with(
        scope: &str,
        etcd: Way,
        rest: Option<&Ca>,
        network: &Loopback,
        names: &[&str],
        ttl: i64,
    ) -> Result<Self> {
        let mut members = Vec::new();
        for (host, name) in (HOST..).zip(names) {
            members.push(FakeMember::start_with(scope, name, rest, network, host).await?);
        }
        let cluster = Self {
            scope: scope.to_owned(),
            etcd,
            members,
            ttl,
            lock: None,
        };
        let mut store = cluster.store().await?;
        let config = format!(r#"{{"ttl":{ttl},"loop_wait":10,"retry_timeout":10}}"#);
        store.put(&cluster.key("config"), &config, None).await?;
        store
            .put(&cluster.key("initialize"), SYSTEM_ID, None)
            .await?;
        for member in &cluster.members {
            cluster.publish(member, "replica").await?;
        }
        Ok(cluster)
    }

    /// Its scope.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// Its members, in the order they were named.
    #[must_use]
    pub fn members(&self) -> &[FakeMember] {
        &self.members
    }

    /// The member of that name.
    pub fn member(&self, name: &str) -> Result<&FakeMember> {
        let mut members = self.members.iter();
        members
            .find(|member| member.name() == name)
            .with_context(|| format!("there is no fake member {name}"))
    }

    /// Gives `name` the lock and has every member say what follows from it.
    pub async fn promote(&mut self, name: &str) -> Result<()> {
        for member in &self.members {
            let leads = member.name() == name;
            let (rest, role) = if leads {
                (Rest::Primary, "primary")
            } else {
                (Rest::Replica, "replica")
            };
            member.say(rest).await?;
            self.publish(member, role).await?;
        }
        self.lock(name).await
    }

    /// Gives `name` the lock, under a new create revision and lease; members go on saying what they said.
    pub async fn lock(&mut self, name: &str) -> Result<()> {
        self.unlock().await?;
        let mut store = self.store().await?;
        let lease = store.grant(self.ttl).await?;
        store.put(&self.key("leader"), name, Some(lease)).await?;
        let keeper = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEW).await;
                // An etcd that is frozen on purpose fails this; the next round tries again.
                drop(store.keep_alive(lease).await);
            }
        });
        self.lock = Some(Lock { lease, keeper });
        Ok(())
    }

    /// Deletes the leader key together with its lease.
    pub async fn unlock(&mut self) -> Result<()> {
        if let Some(lock) = self.lock.take() {
            let mut store = self.store().await?;
            // While etcd was frozen the lease may have run out by itself, and the key with it.
            if store.revoke(lock.lease).await.is_err() {
                store.delete(&self.key("leader")).await?;
            }
        }
        Ok(())
    }

    /// Writes `/sync`: these members are synchronous standbys of `leader`.
    pub async fn sync(&self, leader: &str, standbys: &str) -> Result<()> {
        let value = format!(r#"{{"leader":"{leader}","sync_standby":"{standbys}"}}"#);
        let mut store = self.store().await?;
        store.put(&self.key("sync"), &value, None).await
    }

    /// Writes any key of the cluster.
    pub async fn put(&self, key: &str, value: &str) -> Result<()> {
        let mut store = self.store().await?;
        store.put(&self.key(key), value, None).await
    }

    async fn publish(&self, member: &FakeMember, role: &str) -> Result<()> {
        let key = format!("members/{}", member.name());
        self.put(&key, &member.key(role)).await
    }

    fn key(&self, key: &str) -> String {
        format!("/service/{}/{key}", self.scope)
    }

    async fn store(&self) -> Result<Store> {
        let Way { address, tls, user } = &self.etcd;
        let user = user.as_ref().map(|(user, word)| (&**user, &**word));
        Store::connect_as(*address, tls.as_ref(), user).await
    }
}
