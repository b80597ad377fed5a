//! What is answered to a request: one function a target.

use std::net::IpAddr;

use trunkline_core::keys::Key;
use trunkline_core::postgres::{Database, Silence};
use trunkline_core::rest::handover::What;
use trunkline_core::rest::health::Health;
use trunkline_core::rest::request::{Change, Target};
use trunkline_core::rest::{Kind, Reply, Request, Told, cluster, failsafe, metrics, status};
use trunkline_core::wire::rest::StatusDocument;
use trunkline_io::clock;

use super::connection::Head;
use super::{Api, access, handover};

/// The refusal of a request that may not be made; `None` if it may.
pub(super) async fn refused(head: &Head, client: IpAddr, api: &Api) -> Option<Reply> {
    let Target::Change(change) = head.request.target() else {
        return None;
    };
    let told = api.board.told();
    access::refusal(
        change,
        client,
        head.authorization.as_deref(),
        &api.rest,
        &told,
    )
    .await
}

/// Whether a body belongs to the request.
pub(super) fn wants_body(head: &Head) -> bool {
    match head.request.target() {
        Target::Change(change) => change.has_body(),
        Target::Health
        | Target::BareHealth
        | Target::Status
        | Target::Liveness
        | Target::Readiness
        | Target::Cluster
        | Target::History
        | Target::Config
        | Target::Failsafe
        | Target::Metrics
        | Target::Nothing(_) => false,
    }
}

/// The answer to a request.
pub(super) async fn to(head: &Head, body: &[u8], api: &Api) -> Reply {
    let request = &head.request;
    match request.target() {
        Target::Health => health(request, api).await,
        Target::BareHealth => Reply::Bare(health(request, api).await.code()),
        Target::Readiness => readiness(request, api).await,
        Target::Liveness => Reply::Bare(Health::liveness(&api.board.told(), clock::now())),
        Target::Status => Reply::json(200, Look::taken(api).await.document.to_json()),
        Target::Metrics => {
            let look = Look::taken(api).await;
            let text = metrics::text(&look.told, &look.document);
            Reply::text(200, Kind::Plain, text)
        }
        Target::Cluster => cluster(&api.board.latest()),
        Target::History => history(&api.board.latest()),
        Target::Config => config(&api.board.latest()),
        Target::Failsafe => failsafe_members(&api.board.latest()),
        Target::Change(change) => changed(change, body, api).await,
        Target::Nothing(method) => Reply::unsupported(&method),
    }
}

/// One look at this node.
struct Look {
    told: std::sync::Arc<Told>,
    database: Result<Database, Silence>,
    document: StatusDocument,
}

impl Look {
    async fn taken(api: &Api) -> Self {
        let database = if api.board.told().postmaster_up {
            api.asker.ask().await
        } else {
            Err(Silence::NotAsked)
        };
        // What was told meanwhile is newer than what PostgreSQL was asked for.
        let told = api.board.told();
        let document = status::document(&told, &database, clock::now());
        Self {
            told,
            database,
            document,
        }
    }

    fn health(&self, api: &Api) -> Health<'_> {
        Health {
            told: &self.told,
            database: &self.database,
            document: &self.document,
            honest_primary: api.rest.honest_primary,
            now: clock::now(),
        }
    }
}

async fn health(request: &Request, api: &Api) -> Reply {
    let look = Look::taken(api).await;
    Reply::json(look.health(api).check(request), look.document.to_json())
}

async fn readiness(request: &Request, api: &Api) -> Reply {
    let look = Look::taken(api).await;
    Reply::Bare(look.health(api).readiness(request))
}

fn cluster(told: &Told) -> Reply {
    match told.shown(clock::now()) {
        Some(view) => Reply::json(200, cluster::document(view, &told.scope)),
        None => Reply::page(503),
    }
}

fn history(told: &Told) -> Reply {
    let history = told.view.value().and_then(|view| view.history.as_ref());
    let body = history.map_or_else(|| "[]".to_owned(), |history| history.to_spaced());
    Reply::json(200, body)
}

/// What stands in etcd, not what is in force without it.
fn config(told: &Told) -> Reply {
    let written = told.view.value().filter(|view| {
        // A member may be called config as well.
        let is_config =
            |key: &String| key.ends_with("/config") && !key.ends_with("/members/config");
        view.written.contains_key(&Key::Config)
            && !view.invalid.iter().any(|(key, _)| is_config(key))
    });
    match written {
        Some(view) => Reply::json(200, view.config.to_spaced()),
        None => Reply::page(502),
    }
}

fn failsafe_members(told: &Told) -> Reply {
    let known = told.view.value().and_then(|view| view.failsafe.as_ref());
    match known.filter(|_| told.config.failsafe_mode) {
        Some(failsafe) => Reply::json(200, failsafe.to_spaced()),
        None => Reply::page(502),
    }
}

async fn changed(change: Change, body: &[u8], api: &Api) -> Reply {
    match change {
        Change::Reload => {
            api.wishes.reload();
            Reply::sentence(202, "reload scheduled")
        }
        Change::Failsafe => pinged(body, api).await,
        Change::Switchover => handover::asked(What::Switchover, body, api).await,
        Change::Failover => handover::asked(What::Failover, body, api).await,
        Change::CancelSwitchover => handover::withdrawn(api).await,
    }
}

/// A leader without etcd asks whether it may go on.
async fn pinged(body: &[u8], api: &Api) -> Reply {
    let ping = match failsafe::ping(body, &api.board.told(), clock::now()) {
        Ok(ping) => ping,
        Err(refusal) => return refusal,
    };
    api.wishes.ping(ping);
    let look = Look::taken(api).await;
    let position = look.database.ok().and_then(|database| database.position());
    failsafe::accepted(position)
}
