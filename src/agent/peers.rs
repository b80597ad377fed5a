//! Asking the other members' REST APIs, all at once.
//!
//! Whom to ask and when enough is known is decided in core.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use trunkline_core::MemberName;
use trunkline_core::config::router::RestApi;
use trunkline_core::ha::PeerWord;
use trunkline_core::wire::member::{ApiUrl, Host};
use trunkline_core::wire::rest::StatusDocument;
use trunkline_io::clock;
use trunkline_io::http::client::{self, Answer, Secured};
use trunkline_io::tls::{Checks, Files, Names, Tls, Unusable};

use heard::Heard;

mod heard;

/// How long a member may take to answer (contract, appendix I).
pub(crate) const WITHIN: Duration = Duration::from_secs(2);
/// How often it is asked whether enough is known while nobody answers.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whoever asks the other members.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    tls: Option<Arc<Tls>>,
    heard: Arc<Mutex<Heard>>,
}

impl Peers {
    /// With what `ctl` and `restapi` say of certificates. Whether any member speaks TLS is not known yet: nobody has to
    /// write a bundle of authorities for those who do not.
    ///
    /// # Errors
    /// If a file that is named cannot be used.
    pub(crate) fn of(rest: &RestApi) -> Result<Self, Unusable> {
        let files = Files {
            section: "ctl".to_owned(),
            cacert: rest.cacert.clone(),
            cert: rest.cert.clone(),
            key: rest.key.clone(),
            checks: if rest.insecure {
                Checks::Nothing
            } else {
                Checks::Everything
            },
            names: Names::CTL,
        };
        let tls = match Tls::load(files) {
            Ok(tls) => Some(Arc::new(tls)),
            Err(Unusable::NoRoots { .. }) => None,
            Err(unusable) => return Err(unusable),
        };
        Ok(Self {
            tls,
            heard: Arc::default(),
        })
    }

    /// Asks `GET /patroni` of every one of these, at most two seconds and no longer than `within`. `enough` is asked again
    /// and again whether the rest may be left out; whoever has not answered by then counts as silent.
    pub(crate) async fn ask(
        &self,
        members: BTreeMap<MemberName, Option<ApiUrl>>,
        within: Duration,
        enough: impl Fn(&BTreeMap<MemberName, PeerWord>) -> bool,
    ) -> BTreeMap<MemberName, PeerWord> {
        self.heard(|heard| heard.asks(clock::now()));
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
                    let peers = self.clone();
                    asked.spawn(async move { (name, peers.one(&url).await) });
                }
            }
        }
        while !enough(&words) {
            tokio::select! {
                answer = asked.join_next() => match answer {
                    None => break,
                    Some(Ok((name, word))) => {
                        self.tell(&name, &word);
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
            self.tell(&name, &word);
            words.insert(name, word);
        }
        words
    }

    /// The sentences are Patroni's, one an answer, and tools grep them: none is left out, those without news are for DEBUG.
    fn tell(&self, name: &MemberName, word: &PeerWord) {
        let news = self.heard(|heard| heard.is_news(name, word));
        match word {
            PeerWord::Says(document) => {
                let document = document.to_json();
                if news {
                    tracing::info!("Got response from {name}: {document}");
                } else {
                    tracing::debug!("Got response from {name}: {document}");
                }
            }
            PeerWord::Silent(cause) if news => tracing::warn!("Request to {name} failed: {cause}"),
            PeerWord::Silent(cause) => tracing::debug!("Request to {name} failed: {cause}"),
        }
    }

    fn heard<T>(&self, look: impl FnOnce(&mut Heard) -> T) -> T {
        look(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether anybody answers there, whatever the answer is.
    pub(crate) async fn is_anybody_there(&self, url: &ApiUrl, within: Duration) -> bool {
        matches!(
            timeout(within, self.get(url)).await,
            // A status line without headers is Patroni's answer to this question.
            Ok(Ok(_)
                | Err(NoWord::Asking(
                    client::Trouble::Http(_) | client::Trouble::Body(_)
                )))
        )
    }

    async fn one(&self, url: &ApiUrl) -> PeerWord {
        let answer = match timeout(WITHIN, self.get(url)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(cause)) => {
                let words = cause.to_string();
                let remedy = remedy(&words);
                return PeerWord::Silent(words + remedy);
            }
            Err(_) => return PeerWord::Silent(format!("no answer within {WITHIN:?}")),
        };
        match StatusDocument::parse(&answer.body) {
            Ok(document) => PeerWord::Says(Box::new(document)),
            Err(error) => PeerWord::Silent(error.to_string()),
        }
    }

    async fn get(&self, url: &ApiUrl) -> Result<Answer, NoWord> {
        let (address, host) = resolve(&url.host, url.port).await?;
        let name = url.host.to_string();
        let material = match (url.tls, &self.tls) {
            (false, _) => None,
            (true, Some(tls)) => Some(tls.material()),
            (true, None) => return Err(NoWord::NoAuthority),
        };
        let secured = material.as_ref().map(|material| Secured {
            material,
            name: &name,
        });
        Ok(client::get(address, &host, &url.path, secured, WITHIN).await?)
    }
}

/// Why a member gave no word.
#[derive(Debug, Error)]
enum NoWord {
    #[error("looking {host} up: {cause}")]
    NotFound { host: String, cause: String },
    #[error("it speaks TLS, and there is no authority to trust: write cacert: under ctl")]
    NoAuthority,
    #[error(transparent)]
    Asking(#[from] client::Trouble),
}

/// What an operator can do about it.
fn remedy(words: &str) -> &'static str {
    if words.contains("UnknownIssuer") {
        "; cacert: under ctl must name the authority that signed for it"
    } else if words.contains("CertificateRequired") {
        "; it wants to see a certificate: write certfile: and keyfile: under ctl"
    } else {
        ""
    }
}

async fn resolve(host: &Host, port: u16) -> Result<(SocketAddr, String), NoWord> {
    let name = host.to_string();
    let not_found = |cause: &str| NoWord::NotFound {
        host: name.clone(),
        cause: cause.to_owned(),
    };
    let found = lookup_host((name.as_str(), port)).await;
    let mut found = found.map_err(|error| not_found(&error.to_string()))?;
    let address = found.next().ok_or_else(|| not_found("it has no address"))?;
    Ok((address, address.to_string()))
}

#[cfg(test)]
mod tests {
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;

    /// The levels of what was logged.
    #[derive(Clone, Default)]
    struct Levels(Arc<Mutex<Vec<Level>>>);

    impl Subscriber for Levels {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push(*event.metadata().level());
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn every_answer_is_logged_and_only_what_is_new_for_the_operator() {
        let (levels, peers) = (Levels::default(), Peers::default());
        let body = br#"{"state": "running", "role": "replica"}"#;
        let document = StatusDocument::parse(body).unwrap();
        let says = PeerWord::Says(Box::new(document));
        let silent = PeerWord::Silent("connection refused".to_owned());
        tracing::subscriber::with_default(levels.clone(), || {
            for word in [&says, &says, &says, &silent, &silent, &says] {
                peers.tell(&MemberName::from("pg-2"), word);
            }
        });
        assert_eq!(
            *levels.0.lock().unwrap(),
            [
                Level::INFO,
                Level::DEBUG,
                Level::DEBUG,
                Level::WARN,
                Level::DEBUG,
                Level::INFO
            ]
        );
    }
}
