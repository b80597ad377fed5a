//! etcd, one client an endpoint: list, watch, read the lock. The rotation among endpoints is decided in core.
//!
//! etcd-client's balanced channel over several endpoints hides who answered and keeps a frozen member in
//! rotation; so every client here has exactly one endpoint, connects when first asked, and is dropped when a
//! question fails.

use std::time::Duration;

use etcd_client::{Client, ConnectOptions, EventType, GetOptions, WatchOptions, WatchStream};
use tokio::time::timeout;
use trunkline_core::cluster::KeyValue;
use trunkline_core::follow::{Change, Header, Outcome, Trouble};
use trunkline_core::keys::Prefix;
use trunkline_core::proof::LeaseLeft;
use trunkline_core::{ClusterId, LeaseId, RaftTerm, Revision};

/// How long a question may take before its endpoint counts as slow.
const DEADLINE: Duration = Duration::from_secs(1);
/// HTTP/2 keepalive while a watch is open. etcd hangs up on clients that ping more often than every five seconds
/// (`--grpc-keepalive-min-time`); a frozen endpoint is noticed sooner, by the proof read of every second.
const KEEPALIVE: Duration = Duration::from_secs(6);
/// How long a keepalive may go unanswered.
const KEEPALIVE_DEADLINE: Duration = Duration::from_secs(2);

/// How to reach one endpoint.
#[derive(Clone, Debug)]
pub struct Access {
    /// `http://host:port`.
    pub url: String,
    /// User and password, where etcd asks for them.
    pub user: Option<(String, String)>,
}

/// A client of one endpoint.
#[derive(Clone)]
pub struct Endpoint {
    access: Access,
    client: Option<Client>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.access.url)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// A client that is not connected yet.
    #[must_use]
    pub const fn new(access: Access) -> Self {
        Self {
            access,
            client: None,
        }
    }

    /// Where it connects to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.access.url
    }

    /// Lists all keys under `prefix`, linearizably.
    pub async fn list(&mut self, prefix: &Prefix) -> Outcome {
        let asked = async {
            let options = GetOptions::new().with_range(prefix.range_end());
            let answer = self
                .connected()
                .await?
                .get(prefix.as_str(), Some(options))
                .await?;
            let header = answer.header().map(header).ok_or_else(no_header)?;
            Ok(Outcome::Listed(
                header,
                answer.kvs().iter().map(key_value).collect(),
            ))
        };
        let outcome = asked_of(Box::pin(asked)).await;
        self.within(outcome)
    }

    /// Reads the leader key, linearizably, and asks what is left of its lease.
    pub async fn read_lock(&mut self, prefix: &Prefix) -> Outcome {
        let asked = async {
            let client = self.connected().await?;
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
        };
        let outcome = asked_of(Box::pin(asked)).await;
        self.within(outcome)
    }

    /// Begins to watch `prefix` at revision `from`.
    ///
    /// # Errors
    /// [`Trouble`] when the endpoint cannot be reached or does not take the watch.
    pub async fn watch(&mut self, prefix: &Prefix, from: Revision) -> Result<Watch, Trouble> {
        let asked = async {
            let options = WatchOptions::new()
                .with_range(prefix.range_end())
                .with_start_revision(from.0);
            self.connected()
                .await?
                .watch(prefix.as_str(), Some(options))
                .await
        };
        match timeout(DEADLINE, asked).await {
            Ok(Ok(stream)) => Ok(Watch { stream }),
            Ok(Err(error)) => Err(self.drop_client(trouble(&error))),
            Err(_) => Err(self.drop_client(Trouble::TimedOut)),
        }
    }

    async fn connected(&mut self) -> Result<&mut Client, etcd_client::Error> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.connect().await?,
        };
        Ok(self.client.insert(client))
    }

    async fn connect(&self) -> Result<Client, etcd_client::Error> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(DEADLINE)
            .with_keep_alive(KEEPALIVE, KEEPALIVE_DEADLINE)
            .with_keep_alive_while_idle(false)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some((user, password)) = &self.access.user {
            options = options.with_user(user, password);
        }
        Client::connect([&self.access.url], Some(options)).await
    }

    fn within(&mut self, outcome: Result<Outcome, Trouble>) -> Outcome {
        outcome.unwrap_or_else(|trouble| Outcome::Failed(self.drop_client(trouble)))
    }

    /// A connection that failed a question is not asked again.
    fn drop_client(&mut self, trouble: Trouble) -> Trouble {
        self.client = None;
        trouble
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

async fn asked_of(
    asked: impl Future<Output = Result<Outcome, etcd_client::Error>>,
) -> Result<Outcome, Trouble> {
    match timeout(DEADLINE, asked).await {
        Ok(answer) => answer.map_err(|error| trouble(&error)),
        Err(_) => Err(Trouble::TimedOut),
    }
}

fn trouble(error: &etcd_client::Error) -> Trouble {
    if let etcd_client::Error::GRpcStatus(status) = error {
        return Trouble::Failed(format!("{}: {}", status.code(), status.message()));
    }
    Trouble::Failed(error.to_string())
}

fn no_header() -> etcd_client::Error {
    etcd_client::Error::Internal("an answer without a header".into())
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
