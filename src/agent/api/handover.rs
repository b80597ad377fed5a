//! POST /switchover and POST /failover, step by step: check, ask the candidates, request it in etcd, wait for what
//! comes of it. What each step means is decided in `core::rest::handover`.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use trunkline_core::cluster::ClusterView;
use trunkline_core::ha::PeerWord;
use trunkline_core::keys::Key;
use trunkline_core::lease::Written;
use trunkline_core::rest::handover::{Before, Feasible, Handover, What};
use trunkline_core::rest::{Reply, request};
use trunkline_io::clock;

use super::Api;
use crate::peers;

/// How long a candidate has to stream before a switchover is refused (A4).
const STREAMING: Duration = Duration::from_secs(10);
/// How long to rest between two looks at the candidates.
const PAUSE: Duration = Duration::from_millis(200);

/// Answers the request.
pub(super) async fn asked(what: What, body: &[u8], api: &Api) -> Reply {
    let Some(_turn) = api.wishes.handover() else {
        let text = format!("too many requests for a {what} are being waited for");
        return Reply::sentence(503, text);
    };
    match begun(what, body, api).await {
        Ok((handover, _)) if handover.at.is_some() => Reply::sentence(202, "Switchover scheduled"),
        Ok((handover, before)) => awaited(&handover, &before, api).await,
        Err(refusal) => refusal,
    }
}

/// `DELETE /switchover`: takes a scheduled one back.
pub(super) async fn withdrawn(api: &Api) -> Reply {
    let told = api.board.told();
    let seen = told.view.value().and_then(|view| {
        let scheduled = view.failover.as_ref()?.scheduled_at.is_some();
        let key = view.written.get(&Key::Failover)?;
        scheduled.then_some(key.modified)
    });
    let Some(seen) = seen else {
        return Reply::sentence(404, "no switchover is scheduled");
    };
    match api.keys.withdraw(seen).await {
        Written::Done => Reply::sentence(200, "scheduled switchover deleted"),
        Written::Refused | Written::Unreachable(_) => Reply::page(409),
    }
}

/// Puts the request into etcd, if nothing speaks against it.
async fn begun(what: What, body: &[u8], api: &Api) -> Result<(Handover, Before), Reply> {
    let fields = request::body(body)?;
    let handover = Handover::read(what, &fields, &api.board.told(), clock::wall())?;
    tracing::info!(request = handover.key(), "received a {what} request");
    if handover.at.is_none() {
        feasible(&handover, api).await?;
    }
    let before = Before::of(&view(api)?);
    match api.keys.request(handover.key()).await {
        Written::Done => {}
        Written::Refused | Written::Unreachable(_) => {
            let text = "failed to write failover key into DCS";
            return Err(Reply::sentence(503, text));
        }
    }
    api.wishes.wake();
    Ok((handover, before))
}

/// Waits until a candidate may take over, as long as one is on the way.
async fn feasible(handover: &Handover, api: &Api) -> Result<(), Reply> {
    let deadline = clock::now().after(STREAMING);
    loop {
        let candidates = handover.candidates(&view(api)?)?;
        let enough = |answers: &std::collections::BTreeMap<_, PeerWord>| {
            handover.feasible(answers) == Feasible::Yes
        };
        let answers = api.peers.ask(candidates, peers::WITHIN, enough).await;
        match handover.feasible(&answers) {
            Feasible::Yes => return Ok(()),
            Feasible::No(refusal) => return Err(refusal),
            Feasible::NotYet(refusal) if clock::now() >= deadline => return Err(refusal),
            Feasible::NotYet(_) => sleep(PAUSE).await,
        }
    }
}

/// What stands in etcd now, if that is known: the cycle's last look may be a `loop_wait` old, and a member that has come
/// since a candidate.
fn view(api: &Api) -> Result<ClusterView, Reply> {
    let told = api.board.latest();
    let known = told.shown(clock::now());
    known.cloned().ok_or_else(|| Reply::page(503))
}

/// Waits for what comes of a request.
async fn awaited(handover: &Handover, before: &Before, api: &Api) -> Reply {
    let mut board = api.board.watch();
    let patience = handover.patience(api.board.told().config.loop_wait);
    let outcome = async {
        loop {
            let told = api.board.latest();
            let view = told.view.value();
            if let Some(reply) = view.and_then(|view| handover.outcome(before, view)) {
                return reply;
            }
            if board.changed().await.is_err() {
                return handover.unknown();
            }
        }
    };
    let outcome = timeout(patience, outcome).await;
    outcome.unwrap_or_else(|_| handover.unknown())
}
