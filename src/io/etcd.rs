//! etcd, one client an endpoint: list, watch, read the lock, and (`write`) lease and change. The rotation among endpoints is decided in core.
//!
//! etcd-client's balanced channel over several endpoints hides who answered and keeps a frozen member in
//! rotation; so every client here has exactly one endpoint, connects when first asked, and is dropped when a
//! question fails.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, Error, EventType, GetOptions, WatchOptions, WatchStream};
use tokio::time::timeout;
use trunkline_core::cluster::KeyValue;
use trunkline_core::config::router::{self as config, Etcd};
use trunkline_core::follow::{Change, Header, Outcome, Trouble};
use trunkline_core::keys::Prefix;
use trunkline_core::proof::LeaseLeft;
use trunkline_core::{ClusterId, LeaseId, Moment, RaftTerm, Revision};

use crate::clock;
use crate::tls::Tls;

mod access;
mod drive;
mod write;

pub use drive::Drive;
pub use write::{Attached, Granted, Leased, Missing, Proof, Proving, Put, When};

/// How long a question may take before its endpoint counts as slow.
const DEADLINE: Duration = Duration::from_secs(1);
/// How long a connection with new certificates may take while the old one waits to be asked.
const SWAP: Duration = Duration::from_millis(500);
/// How long after one that was not made in time the next is tried.
const SWAP_AGAIN: Duration = Duration::from_secs(5);

/// How large an answer may be, in bytes. gRPC's own 4 MiB would be too few: whoever may write below the prefix can put
/// 1.5 MiB into a key, and an agent that cannot list the rest any more loses its lock.
const LARGEST: usize = 64 << 20;

/// What a question needs: how long it may take, and which permission below the prefix.
#[derive(Clone, Copy, Debug)]
struct Need {
    within: Duration,
    permission: &'static str,
}

impl Need {
    const READ: Self = Self {
        within: DEADLINE,
        permission: "read",
    };

    const fn write(within: Duration) -> Self {
        Self {
            within,
            permission: "readwrite",
        }
    }
}

/// How to reach one endpoint.
#[derive(Clone, Debug)]
pub struct Access {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What to speak TLS with; plain HTTP/2 if `None`.
    pub tls: Option<Arc<Tls>>,
    /// User and password, where etcd asks for them.
    pub user: Option<(String, String)>,
}

impl Access {
    /// All endpoints of a configuration; `tls` is for those that speak it.
    #[must_use]
    pub fn all(etcd: &Etcd, tls: Option<&Arc<Tls>>) -> Vec<Self> {
        let password = etcd.password.as_ref().map(|it| it.reveal().to_owned());
        let user = etcd.username.clone().zip(password);
        let access = |endpoint: &config::Endpoint| Self {
            host: endpoint.host.clone(),
            port: endpoint.port,
            tls: tls.filter(|_| endpoint.tls).cloned(),
            user: user.clone(),
        };
        etcd.endpoints.iter().map(access).collect()
    }
}

/// A client of one endpoint.
#[derive(Clone)]
pub struct Endpoint {
    access: Access,
    url: String,
    connected: Option<Connected>,
}

#[derive(Clone)]
struct Connected {
    client: Client,
    /// Of the TLS material it was made with.
    generation: u64,
    /// When a client with other material may be tried.
    swap_due: Moment,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// A client that is not connected yet.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self {
            url: access::url(&access),
            access,
            connected: None,
        }
    }

    /// Where it connects to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lists all keys under `prefix`, linearizably.
    pub async fn list(&mut self, prefix: &Prefix) -> Outcome {
        let listed = |client: Client| {
            let prefix = prefix.clone();
            async move {
                let options = GetOptions::new().with_range(prefix.range_end());
                let mut client = client.kv_client().max_decoding_message_size(LARGEST);
                let answer = client.get(prefix.as_str(), Some(options)).await?;
                let header = answer.header().map(header).ok_or_else(no_header)?;
                Ok(Outcome::Listed(
                    header,
                    answer.kvs().iter().map(key_value).collect(),
                ))
            }
        };
        Box::pin(self.ask(prefix, Need::READ, listed))
            .await
            .unwrap_or_else(Outcome::Failed)
    }

    /// Reads the leader key, linearizably, and asks what is left of its lease.
    pub async fn read_lock(&mut self, prefix: &Prefix) -> Outcome {
        let read = |mut client: Client| {
            let prefix = prefix.clone();
            async move {
                let answer = client.get(prefix.leader(), None).await?;
                let header = answer.header().map(header).ok_or_else(no_header)?;
                let leader = answer.kvs().first().map(key_value);
                let lease = leader.as_ref().and_then(|kv| kv.lease);
                let left = match lease {
                    None => None,
                    Some(lease) => {
                        let left = client.lease_time_to_live(lease.0, None).await?;
                        Some(LeaseLeft {
                            lease: LeaseId(left.id()),
                            left: left.ttl(),
                            granted: left.granted_ttl(),
                        })
                    }
                };
                Ok(Outcome::Read(header, leader, left))
            }
        };
        Box::pin(self.ask(prefix, Need::READ, read))
            .await
            .unwrap_or_else(Outcome::Failed)
    }

    /// Begins to watch `prefix` at revision `from`.
    ///
    /// # Errors
    /// [`Trouble`] when the endpoint cannot be reached or does not take the watch.
    pub async fn watch(&mut self, prefix: &Prefix, from: Revision) -> Result<Watch, Trouble> {
        let taken = |client: Client| {
            let prefix = prefix.clone();
            async move {
                let mut client = client.watch_client().max_decoding_message_size(LARGEST);
                let options = WatchOptions::new()
                    .with_range(prefix.range_end())
                    .with_start_revision(from.0);
                let stream = client.watch(prefix.as_str(), Some(options)).await?;
                Ok(Watch { stream })
            }
        };
        Box::pin(self.ask(prefix, Need::READ, taken)).await
    }

    /// Asks within the deadline; once more where etcd merely wants us to log in again.
    async fn ask<T, F>(
        &mut self,
        prefix: &Prefix,
        need: Need,
        question: impl Fn(Client) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let asked = async {
            match question(Box::pin(self.connected()).await?).await {
                Err(error) if self.access.user.is_some() && access::is_outdated(&error) => {
                    self.connected = None;
                    question(Box::pin(self.connected()).await?).await
                }
                answer => answer,
            }
        };
        let trouble = match timeout(need.within, asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => access::trouble(&error, &self.access, prefix, need.permission),
            Err(_) => Trouble::TimedOut,
        };
        // A connection that failed a question is not asked again.
        self.connected = None;
        Err(trouble)
    }

    /// The client, made anew where there is none or its certificates were replaced. The new one is made beside the
    /// old one, which stays in use if that fails: new files do not cost what is proven.
    async fn connected(&mut self) -> Result<Client, Error> {
        let now = clock::now();
        let generation = match &self.access.tls {
            None => 0,
            Some(tls) => tls.material().generation,
        };
        let connected = match self.connected.take() {
            Some(had) if had.generation == generation || now < had.swap_due => had,
            Some(had) => match timeout(SWAP, access::connect(&self.access)).await {
                Ok(Ok(client)) => Connected {
                    client,
                    generation,
                    swap_due: now,
                },
                Ok(Err(error)) => {
                    let cause = access::words(&error);
                    tracing::warn!(
                        endpoint = self.url,
                        cause,
                        "etcd does not take the new certificates: the old connection stays in use"
                    );
                    Connected { generation, ..had }
                }
                // It takes its time: the questions of the next seconds go by the old one at once.
                Err(_) => Connected {
                    swap_due: now.after(SWAP_AGAIN),
                    ..had
                },
            },
            None => Connected {
                client: access::connect(&self.access).await?,
                generation,
                swap_due: now,
            },
        };
        Ok(self.connected.insert(connected).client.clone())
    }
}

/// A watch that was taken.
#[derive(Debug)]
pub struct Watch {
    stream: WatchStream,
}

impl Watch {
    /// The next changes, or how the watch ended. Waits as long as nothing changes.
    pub async fn next(&mut self) -> Outcome {
        loop {
            let answer = match self.stream.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return ended("etcd closed it"),
                Err(error) => return ended(&error.to_string()),
            };
            if answer.canceled() || answer.compact_revision() > 0 {
                return ended(answer.cancel_reason());
            }
            let changes: Vec<Change> = answer.events().iter().filter_map(change).collect();
            if !changes.is_empty() {
                return Outcome::Changed(changes);
            }
        }
    }
}

fn ended(why: &str) -> Outcome {
    let why = if why.is_empty() {
        "cancelled by etcd"
    } else {
        why
    };
    Outcome::Failed(Trouble::WatchEnded(why.to_owned()))
}

fn no_header() -> Error {
    Error::Internal("an answer without a header".into())
}

const fn header(header: &etcd_client::ResponseHeader) -> Header {
    Header {
        cluster: ClusterId(header.cluster_id()),
        revision: Revision(header.revision()),
        term: RaftTerm(header.raft_term()),
    }
}

fn key_value(kv: &etcd_client::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key().to_vec(),
        value: kv.value().to_vec(),
        created: Revision(kv.create_revision()),
        modified: Revision(kv.mod_revision()),
        lease: Some(LeaseId(kv.lease())).filter(|lease| lease.0 != 0),
    }
}

fn change(event: &etcd_client::Event) -> Option<Change> {
    let kv = event.kv()?;
    Some(match event.event_type() {
        EventType::Put => Change::Put(key_value(kv)),
        EventType::Delete => Change::Deleted(kv.key().to_vec(), Revision(kv.mod_revision())),
    })
}
