//! A client of one member of etcd: what tests read and write there.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use etcd_client::{
    Certificate, Client, ConnectOptions, GetOptions, Identity, PutOptions, TlsOptions,
};

use crate::ca::Tls;

const REQUEST: Duration = Duration::from_secs(5);

/// What tests read and write in etcd, one request each, with a deadline.
#[expect(
    missing_debug_implementations,
    reason = "etcd_client::Client has no Debug"
)]
pub struct Store {
    pub(super) client: Client,
}

impl Store {
    /// A client of one endpoint only, so that a frozen neighbour cannot be picked instead.
    pub async fn connect(endpoint: SocketAddr) -> Result<Self> {
        Self::connect_as(endpoint, None, None).await
    }

    /// The same over TLS where material for it is given, and as a user where one is.
    pub async fn connect_as(
        endpoint: SocketAddr,
        tls: Option<&Tls>,
        user: Option<(&str, &str)>,
    ) -> Result<Self> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(REQUEST)
            .with_timeout(REQUEST)
            .with_auto_token_refresh(true);
        if let Some((user, password)) = user {
            options = options.with_user(user, password);
        }
        let mut scheme = "http";
        if let Some(tls) = tls {
            let read = |path| std::fs::read(path).context("reading a certificate");
            let (own, key) = (read(&tls.client.certificate)?, read(&tls.client.key)?);
            let material = TlsOptions::new()
                .ca_certificate(Certificate::from_pem(read(&tls.ca)?))
                .identity(Identity::from_pem(own, key));
            options = options.with_tls(material);
            scheme = "https";
        }
        let client = Client::connect([format!("{scheme}://{endpoint}")], Some(options))
            .await
            .with_context(|| format!("connecting to etcd at {endpoint}"))?;
        Ok(Self { client })
    }

    /// Writes a key, bound to `lease` if one is given.
    pub async fn put(&mut self, key: &str, value: &str, lease: Option<i64>) -> Result<()> {
        let options = lease.map(|id| PutOptions::new().with_lease(id));
        self.client
            .put(key, value, options)
            .await
            .with_context(|| format!("etcd: put {key}"))?;
        Ok(())
    }

    /// Writes any bytes under a key of any bytes, which hangs on nothing.
    pub async fn put_bytes(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let shown = || format!("etcd: put {}", String::from_utf8_lossy(key));
        self.client
            .put(key, value, None)
            .await
            .with_context(shown)?;
        Ok(())
    }

    /// Reads a key.
    pub async fn get(&mut self, key: &str) -> Result<Option<String>> {
        let answer = self
            .client
            .get(key, None)
            .await
            .with_context(|| format!("etcd: get {key}"))?;
        answer
            .kvs()
            .first()
            .map(|kv| {
                Ok(kv
                    .value_str()
                    .with_context(|| format!("etcd: {key}"))?
                    .to_owned())
            })
            .transpose()
    }

    /// The revision that made a key, which a key deleted and made again does not keep.
    pub async fn made_at(&mut self, key: &str) -> Result<Option<i64>> {
        let answer = self
            .client
            .get(key, None)
            .await
            .with_context(|| format!("etcd: get {key}"))?;
        Ok(answer
            .kvs()
            .first()
            .map(etcd_client::KeyValue::create_revision))
    }

    /// For how many whole seconds the lease behind a key lives on unless it is refreshed, as etcd says; none without
    /// such a key, or where it has no lease.
    pub async fn lease_left(&mut self, key: &str) -> Result<Option<i64>> {
        let answer = self
            .client
            .get(key, None)
            .await
            .with_context(|| format!("etcd: get {key}"))?;
        let lease = answer.kvs().first().map(etcd_client::KeyValue::lease);
        let Some(lease) = lease.filter(|lease| *lease != 0) else {
            return Ok(None);
        };
        let left = self.client.lease_time_to_live(lease, None).await;
        Ok(Some(left.context("etcd: ask for a lease")?.ttl()))
    }

    /// Every key below `prefix` with its value.
    pub async fn list(&mut self, prefix: &str) -> Result<Vec<(String, String)>> {
        let answer = self
            .client
            .get(prefix, Some(GetOptions::new().with_prefix()))
            .await
            .with_context(|| format!("etcd: list {prefix}"))?;
        let pair = |kv: &etcd_client::KeyValue| {
            Ok((
                kv.key_str()?.to_owned(),
                String::from_utf8_lossy(kv.value()).into_owned(),
            ))
        };
        answer.kvs().iter().map(pair).collect()
    }

    /// Deletes a key.
    pub async fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let key = key.as_ref();
        let shown = || format!("etcd: delete {}", String::from_utf8_lossy(key));
        self.client.delete(key, None).await.with_context(shown)?;
        Ok(())
    }

    /// Grants a lease of `ttl` seconds.
    pub async fn grant(&mut self, ttl: i64) -> Result<i64> {
        Ok(self
            .client
            .lease_grant(ttl, None)
            .await
            .context("etcd: grant a lease")?
            .id())
    }

    /// Refreshes a lease once.
    pub async fn keep_alive(&mut self, lease: i64) -> Result<()> {
        let (mut keeper, mut answers) = self
            .client
            .lease_keep_alive(lease)
            .await
            .context("etcd: open a keepalive")?;
        keeper
            .keep_alive()
            .await
            .context("etcd: send a keepalive")?;
        answers
            .message()
            .await
            .context("etcd: read a keepalive's answer")?;
        Ok(())
    }

    /// Ends a lease and the keys bound to it.
    pub async fn revoke(&mut self, lease: i64) -> Result<()> {
        self.client
            .lease_revoke(lease)
            .await
            .context("etcd: revoke a lease")?;
        Ok(())
    }
}
