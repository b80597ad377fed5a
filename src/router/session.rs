//! One client connection and its server side: opened, pumped, ended, told.

mod cancel;
mod connect;
pub mod ending;
mod opening;
mod refusal;
mod silence;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use trunkline_core::Moment;
use trunkline_io::clock;

use crate::door::{Door, Place};
use crate::doorstep::Client;
use crate::peer::Peer;
use crate::pump::{Pump, Remains};
use crate::session::connect::Connected;
use crate::session::ending::Ending;
use crate::session::opening::{Opened, Opening};
use crate::stream::Stream;
use crate::traffic::Traffic;
use crate::{metrics, socket};

/// Serves one client from its first byte to its last, and writes its line in the log.
///
/// `place` is given back before a client is told that its session was killed, so that it finds one when it returns.
pub async fn serve(client: Client, door: Arc<Door>, place: Place) {
    let began = clock::now();
    let peer = client.peer;
    let Some(client) = entered(client, &door) else {
        return;
    };
    let (mut report, ending) = run((client, peer), &door, place).await;
    if let Some(remains) = report.remains.take() {
        remains.clear_away().await;
    }
    metrics::session_ended(&door, ending.word());
    let bytes = report.traffic.bytes();
    tracing::info!(
        listener = door.config.name,
        client = %peer,
        member = report.member,
        held_ms = millis(report.held.map_or(began, |until| until), began),
        connect_ms = report.connected.map(|at| millis(at, began)),
        total_ms = millis(clock::now(), began),
        from_client = bytes.from_client,
        from_server = bytes.from_server,
        end = %ending.letters(),
        "session ended: {ending}"
    );
}

/// Tells a client that there are too many already.
pub async fn too_many(client: Client, door: Arc<Door>) {
    let mut report = Report::default();
    let peer = client.peer;
    let Some(client) = entered(client, &door) else {
        return;
    };
    let mut opening = Opening::new((client, peer), &door, &mut report);
    let telling = Box::pin(opening.turn_away(&Ending::TooManySessions));
    let _ = door.tasks.ending().run_until_cancelled(telling).await;
    metrics::session_ended(&door, Ending::TooManySessions.word());
}

/// What ends sooner is taken for a login that failed.
const LOGIN: Duration = Duration::from_secs(1);

/// What a session's log line tells beside how it ended.
#[derive(Default)]
struct Report {
    member: Option<String>,
    /// Until when it was held, if it was.
    held: Option<Moment>,
    connected: Option<Moment>,
    traffic: Arc<Traffic>,
    /// What has to be cleared away, if it was killed.
    remains: Option<Remains>,
}

/// The client's connection, with care taken of its socket; `None` if there is nothing to be served.
fn entered(client: Client, door: &Door) -> Option<Stream> {
    match client.stream() {
        // A client that takes none has left between the handshake and now.
        Ok(stream) => socket::care(&stream, &door.config).ok().map(|()| stream),
        Err(error) => {
            door.admission.accept_failed(&door.config.name, &error);
            metrics::accept_failed(door);
            None
        }
    }
}

async fn run(client: (Stream, Peer), door: &Arc<Door>, place: Place) -> (Report, Ending) {
    let mut report = Report::default();
    // Opening needs far more memory than pumping: it is boxed, and gone before the first byte is pumped.
    let opened = match Box::pin(Opening::new(client, door, &mut report).run()).await {
        Ok(opened) => opened,
        Err(ending) => return (report, ending),
    };
    let Opened { client, server } = opened;
    let Connected {
        stream,
        seat,
        _taken,
    } = server;
    let mut pump = Pump::new(client, stream, Arc::clone(&report.traffic));
    // One session was told to go, or the server is stopping: it is asked before anybody else is sent there. A new
    // login inside TLS would be refused where the router cannot see it.
    let began = clock::now();
    let server_ended = || {
        // Who is turned away at the login (a wrong password, say) is no reason to doubt anybody.
        if clock::now().since(began) >= LOGIN {
            door.doubt(&seat);
        }
    };
    let ending = tokio::select! {
        biased;
        () = door.tasks.ending().cancelled() => Ending::ShutDown,
        () = seat.killed().cancelled() => Ending::Killed(seat.because().cloned()),
        ending = pump.run(door.config.client_idle, server_ended) => ending,
    };
    if matches!(ending, Ending::Killed(_)) {
        door.count.killed.fetch_add(1, Ordering::Relaxed);
    }
    if matches!(ending, Ending::Killed(_) | Ending::ShutDown) {
        pump.deliver().await;
        // The place is free before the client can know: it may come again at once.
        drop(place);
        let remains = pump.close();
        // Whoever does has descriptors beside those that are cleared away later.
        if door.is_half_empty() {
            report.remains = Some(remains);
        }
    }
    (report, ending)
}

fn millis(later: Moment, earlier: Moment) -> u64 {
    u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
}
