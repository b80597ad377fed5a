//! Asking the other members' REST APIs, all at once.
//!
//! Whom to ask and when enough is known is decided in core.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;
use trunkline_core::MemberName;
use trunkline_core::ha::PeerWord;
use trunkline_core::wire::member::{ApiUrl, Host};
use trunkline_core::wire::rest::StatusDocument;
use trunkline_io::http::client;

/// How long a member may take to answer (contract, appendix I).
const WITHIN: Duration = Duration::from_secs(2);

/// Asks `GET /patroni` of every one of these, at most two seconds. `enough` is asked after each answer whether the rest may be
/// left out; those have no word then.
pub(crate) async fn ask(
    members: BTreeMap<MemberName, Option<ApiUrl>>,
    enough: impl Fn(&BTreeMap<MemberName, PeerWord>) -> bool,
) -> BTreeMap<MemberName, PeerWord> {
    let mut words = BTreeMap::new();
    let mut asked = JoinSet::new();
    let mut waiting = BTreeSet::new();
    for (name, url) in members {
        match url {
            None => {
                let cause = "it has no api_url in its key".to_owned();
                words.insert(name, PeerWord::Silent(cause));
            }
            Some(url) => {
                waiting.insert(name.clone());
                asked.spawn(async move { (name, one(&url).await) });
            }
        }
    }
    while !enough(&words) {
        match asked.join_next().await {
            None => break,
            Some(Ok((name, word))) => {
                waiting.remove(&name);
                tell(&name, &word);
                words.insert(name, word);
            }
            // A question that ended without a word: its member stays among those that wait.
            Some(Err(_)) => {}
        }
    }
    if asked.is_empty() {
        for name in waiting {
            let cause = "asking it came to no end".to_owned();
            words.insert(name, PeerWord::Silent(cause));
        }
    }
    words
}

async fn one(url: &ApiUrl) -> PeerWord {
    match timeout(WITHIN, answer(url)).await {
        Ok(Ok(document)) => PeerWord::Says(Box::new(document)),
        Ok(Err(cause)) => PeerWord::Silent(cause),
        Err(_) => PeerWord::Silent(format!("no answer within {WITHIN:?}")),
    }
}

async fn answer(url: &ApiUrl) -> Result<StatusDocument, String> {
    if url.tls {
        return Err("it speaks TLS, which this release does not ask members by".to_owned());
    }
    let (address, host) = resolve(&url.host, url.port).await?;
    let answer = client::get(address, &host, &url.path, None, WITHIN)
        .await
        .map_err(|error| error.to_string())?;
    StatusDocument::parse(&answer.body).map_err(|error| error.to_string())
}

async fn resolve(host: &Host, port: u16) -> Result<(SocketAddr, String), String> {
    let name = host.to_string();
    let mut found = lookup_host((name.trim_matches(['[', ']']), port))
        .await
        .map_err(|error| format!("looking {name} up: {error}"))?;
    found
        .next()
        .map(|address| (address, format!("{name}:{port}")))
        .ok_or_else(|| format!("{name} has no address"))
}

fn tell(name: &MemberName, word: &PeerWord) {
    match word {
        PeerWord::Says(document) => {
            tracing::info!("Got response from {name}: {}", document.to_json());
        }
        PeerWord::Silent(cause) => tracing::warn!("Request to {name} failed: {cause}"),
    }
}
