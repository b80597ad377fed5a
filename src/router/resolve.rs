//! Members' addresses: names resolved off the session path, again every half minute, the last answer kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;
use trunkline_core::wire::member::{ConnUrl, Host};
use trunkline_core::{MemberName, Moment};
use trunkline_io::clock;

/// How long a look-up may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long an answer is good for.
const AGAIN: Duration = Duration::from_secs(30);
/// How long after a look-up that failed the next is due.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(2);

type Name = (String, u16);
type Answer = (Name, Result<SocketAddr, String>);

/// The names that are needed and what they resolve to.
#[derive(Debug, Default)]
pub struct Resolver {
    names: BTreeMap<Name, Entry>,
    lookups: JoinSet<Answer>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    address: Option<SocketAddr>,
    due: Moment,
    asking: bool,
}

impl Resolver {
    /// The addresses of these members, as far as they are known. Names nobody needs are forgotten, names that are
    /// due are looked up.
    pub fn addresses<'m>(
        &mut self,
        members: impl Iterator<Item = (&'m MemberName, &'m ConnUrl)>,
    ) -> BTreeMap<MemberName, SocketAddr> {
        let mut needed = BTreeMap::new();
        let mut addresses = BTreeMap::new();
        for (member, url) in members {
            let address = match &url.host {
                Host::Ip(ip) => Some(SocketAddr::new(*ip, url.port)),
                Host::Name(name) => {
                    let name = (name.clone(), url.port);
                    let entry = self.names.remove(&name).unwrap_or_default();
                    needed.entry(name).or_insert(entry).address
                }
                // A socket of another machine is out of reach, and one of this machine is not told apart yet.
                Host::Socket(_) => None,
            };
            addresses.extend(address.map(|address| (member.clone(), address)));
        }
        self.names = needed;
        self.look_up();
        addresses
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
        entry.asking = false;
        match answer {
            Ok(address) => {
                entry.due = clock::now().after(AGAIN);
                entry.address = Some(address);
            }
            Err(error) => {
                entry.due = clock::now().after(AGAIN_AFTER_FAILURE);
                tracing::warn!(
                    host = name.0,
                    kept = ?entry.address,
                    "resolving a member's address failed: {error}"
                );
            }
        }
    }

    fn look_up(&mut self) {
        let now = clock::now();
        for (name, entry) in &mut self.names {
            if !entry.asking && entry.due <= now {
                entry.asking = true;
                self.lookups.spawn(look_up(name.clone(), entry.address));
            }
        }
    }
}

/// Resolves a name; the address it had is taken again where it is among the answers.
async fn look_up(name: Name, had: Option<SocketAddr>) -> Answer {
    let answer = match timeout(DEADLINE, lookup_host((name.0.as_str(), name.1))).await {
        Err(_) => Err(format!("no answer within {DEADLINE:?}")),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(found)) => {
            let found: Vec<_> = found.collect();
            let kept = had.filter(|had| found.contains(had));
            kept.or_else(|| found.first().copied())
                .ok_or_else(|| "no address".to_owned())
        }
    };
    (name, answer)
}
