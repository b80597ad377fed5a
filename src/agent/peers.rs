//! Asking the other members' REST APIs, all at once.
//!
//! Whom to ask and when enough is known is decided in core.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use trunkline_core::MemberName;
use trunkline_core::ha::PeerWord;
use trunkline_core::wire::member::{ApiUrl, Host};
use trunkline_core::wire::rest::StatusDocument;
use trunkline_io::http::client;

/// How long a member may take to answer (contract, appendix I).
pub(crate) const WITHIN: Duration = Duration::from_secs(2);
/// How often it is asked whether enough is known while nobody answers.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Asks `GET /patroni` of every one of these, at most two seconds and no longer than `within`. `enough` is asked again and
/// again whether the rest may be left out; whoever has not answered by then counts as silent.
pub(crate) async fn ask(
    members: BTreeMap<MemberName, Option<ApiUrl>>,
    within: Duration,
    enough: impl Fn(&BTreeMap<MemberName, PeerWord>) -> bool,
) -> BTreeMap<MemberName, PeerWord> {
    let mut end = pin!(sleep(within.min(WITHIN)));
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
        tokio::select! {
            answer = asked.join_next() => match answer {
                None => break,
                Some(Ok((name, word))) => {
                    tell(&name, &word);
                    waiting.remove(&name);
                    words.insert(name, word);
                }
                // A question that ended without a word: its member stays among those that wait.
                Some(Err(_)) => {}
            },
            () = sleep(LOOK_EVERY) => {}
            () = &mut end => break,
        }
    }
    for name in waiting {
        let word = PeerWord::Silent("it was not waited for any longer".to_owned());
        tell(&name, &word);
        words.insert(name, word);
    }
    words
}

/// Whether anybody answers there, whatever the answer is.
pub(crate) async fn is_anybody_there(url: &ApiUrl, within: Duration) -> bool {
    let asked = async {
        let (address, host) = resolve(&url.host, url.port).await.ok()?;
        match client::get(address, &host, &url.path, None, within).await {
            // A status line without headers is Patroni's answer to this question.
            Ok(_) | Err(client::Trouble::Http(_) | client::Trouble::Body(_)) => Some(()),
            Err(
                client::Trouble::Refused
                | client::Trouble::TimedOut(_)
                | client::Trouble::Connection(_)
                | client::Trouble::Tls(_),
            ) => None,
        }
    };
    matches!(timeout(within, asked).await, Ok(Some(())))
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
