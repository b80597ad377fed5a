//! Accepting clients: the loop cannot fail, and it cannot spin.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::admission::Refusals;
use crate::door::{Counted, Door, Place, Refused};
use crate::doorstep::Doorstep;
use crate::stream::Stream;
use crate::{metrics, session, socket};

/// How long to rest when the process is out of descriptors: sessions that end make room. The stats port rests less, so
/// that what room there is goes to it first.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// How long it may take until somebody who is connected already is seen.
const IN_THE_QUEUE: Duration = Duration::from_millis(5);
/// How many clients are let in at most when a socket is closed.
const LAST_CALL: u32 = 10_000;

/// Accepts until it is told to stop, or the program drains.
pub async fn accept(listener: Arc<Doorstep>, door: Arc<Door>, stop: CancellationToken) {
    let draining = door.tasks.draining().clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = draining.cancelled() => return,
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(client) => admit(client, &door),
            Err(error) => survive(&error, &door).await,
        }
    }
}

/// Accepts who is connected already, before the socket is closed: to them it was open.
pub async fn last_call(listener: &Doorstep, door: &Arc<Door>) {
    for _ in 0..LAST_CALL {
        match timeout(IN_THE_QUEUE, listener.accept()).await {
            Ok(Ok(client)) => admit(client, door),
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

fn admit(client: Stream, door: &Arc<Door>) {
    door.count.accepted.fetch_add(1, Ordering::Relaxed);
    metrics::accepted(door);
    if socket::care(&client, &door.config).is_err() {
        // It left between the handshake and now.
        return;
    }
    door.admission.accepted();
    let Some(place) = Place::take(door) else {
        refuse(client, door);
        return;
    };
    let served = Arc::clone(door);
    door.tasks.spawn("session", async move {
        session::serve(client, served, place).await;
    });
}

/// Tells the client why; in a flood, clients that cannot be told are hung up on.
fn refuse(client: Stream, door: &Arc<Door>) {
    let admission = &door.admission;
    let refusal = Refusals(Arc::clone(admission));
    let Some(everywhere) = Counted::below(refusal, admission.budget.refusals) else {
        door.count.refused.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let here = Counted::below(Refused(Arc::clone(door)), u32::MAX);
    let refused = Arc::clone(door);
    door.tasks.spawn("refusal", async move {
        session::too_many(client, refused).await;
        drop((here, everywhere));
    });
}

/// Errors of one connection are that connection's; being out of descriptors passes.
async fn survive(error: &io::Error, door: &Door) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    ) {
        return;
    }
    door.admission.accept_failed(&door.config.name, error);
    metrics::accept_failed(door);
    sleep(OUT_OF_DESCRIPTORS).await;
}
