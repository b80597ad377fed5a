//! Members' addresses: names resolved off the session path, again every half minute and soon after a failure, the last
//! answer kept.
//!
//! A name may have several addresses. The one in use is kept as long as it is among the answers and takes
//! connections; else the first that does is used, in the order of the answers. Who is asked for what, and whether an
//! address that changed ends sessions, is decided elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;
use trunkline_core::Moment;
use trunkline_core::wire::member::Host;
use trunkline_io::clock;

/// How long a look-up may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long one of several addresses may take to accept.
const ACCEPTS: Duration = Duration::from_secs(1);
/// How many addresses of a name are tried.
const TRIED: usize = 8;
/// How long an answer is good for.
const AGAIN: Duration = Duration::from_secs(30);
/// How long after a look-up the next may be due, where the last one or its answer was no good.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(2);

type Name = (String, u16);
type Answer = (Name, Result<SocketAddr, String>);

/// A place to be found: a host and a port, and whether what was found there last is no good.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'h> {
    /// A name, or what needs no looking up.
    pub host: &'h Host,
    /// Its port.
    pub port: u16,
    /// Whether it failed somebody lately.
    pub failing: bool,
}

/// The names that are needed and what they resolve to.
#[derive(Debug, Default)]
pub struct Resolver {
    names: BTreeMap<Name, Entry>,
    lookups: JoinSet<Answer>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    address: Option<SocketAddr>,
    /// When the last look-up began.
    asked: Moment,
    due: Moment,
    asking: bool,
    /// Whether the last look-up failed.
    failed: bool,
    /// Whether somebody needs it still.
    needed: bool,
}

impl Resolver {
    /// Begins a round: names that nobody wants until [`Resolver::look_up`] are forgotten then.
    pub fn begin(&mut self) {
        for entry in self.names.values_mut() {
            entry.needed = false;
        }
    }

    /// The address of a place, as far as it is known.
    pub fn address(&mut self, wanted: Wanted<'_>) -> Option<SocketAddr> {
        match wanted.host {
            Host::Ip(ip) => Some(SocketAddr::new(*ip, wanted.port)),
            Host::Name(name) => {
                let entry = self.names.entry((name.clone(), wanted.port)).or_default();
                entry.needed = true;
                if wanted.failing {
                    entry.due = entry.due.min(entry.asked.after(AGAIN_AFTER_FAILURE));
                }
                entry.address
            }
            // There is nothing to look up.
            Host::Socket(_) => None,
        }
    }

    /// Looks up the names that are due; forgets those nobody needs.
    pub fn look_up(&mut self) {
        self.names.retain(|_, entry| entry.needed);
        let now = clock::now();
        for (name, entry) in &mut self.names {
            if !entry.asking && entry.due <= now {
                entry.asking = true;
                entry.asked = now;
                self.lookups.spawn(look_up(name.clone(), entry.address));
            }
        }
    }

    /// Returns when a look-up has come to its end. Never, while none is under way.
    pub async fn changed(&mut self) {
        match self.lookups.join_next().await {
            Some(Ok(answer)) => self.take(answer),
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    fn take(&mut self, (name, answer): Answer) {
        let Some(entry) = self.names.get_mut(&name) else {
            return;
        };
        let (host, port) = name;
        entry.asking = false;
        match answer {
            Ok(address) => {
                entry.due = clock::now().after(AGAIN);
                let had = entry.address.replace(address);
                if entry.failed || had != Some(address) {
                    tracing::info!(host, port, %address, ?had, "a member's name resolves");
                }
                entry.failed = false;
            }
            Err(error) => {
                entry.due = clock::now().after(AGAIN_AFTER_FAILURE);
                // A state that lasts is told once.
                if !std::mem::replace(&mut entry.failed, true) {
                    let kept = entry.address;
                    tracing::warn!(
                        host,
                        port,
                        ?kept,
                        "resolving a member's name failed: {error}"
                    );
                }
            }
        }
    }
}

/// Resolves a name and chooses among its addresses; `had` is the one in use.
async fn look_up(name: Name, had: Option<SocketAddr>) -> Answer {
    let answer = match timeout(DEADLINE, lookup_host((name.0.as_str(), name.1))).await {
        Err(_) => Err(format!("no answer within {DEADLINE:?}")),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(found)) => choose(found.take(TRIED).collect(), had)
            .await
            .ok_or_else(|| "no address".to_owned()),
    };
    (name, answer)
}

/// One of the addresses `found`: the one in use or else the first, of those that accept if any does.
async fn choose(mut found: Vec<SocketAddr>, had: Option<SocketAddr>) -> Option<SocketAddr> {
    // The one in use goes first; the others stay in their order.
    found.sort_by_key(|address| Some(*address) != had);
    if found.len() > 1 {
        for address in &found {
            if let Ok(Ok(_)) = timeout(ACCEPTS, TcpStream::connect(address)).await {
                return Some(*address);
            }
        }
    }
    found.first().copied()
}
