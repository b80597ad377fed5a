//! One client connection and its server side: opened, pumped, ended, told.

mod bell;
mod cancel;
mod connect;
pub mod ending;
mod opening;
mod refusal;
mod silence;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use trunkline_core::Moment;
use trunkline_io::clock;

use crate::door::{Counted, Door, Place, SeatTaken};
use crate::doorstep::{Accepted, Client};
use crate::peer::Peer;
use crate::published::Seat;
use crate::pump::Pump;
use crate::pump::silence::Silence;
use crate::session::bell::Ear;
use crate::session::ending::Ending;
use crate::session::opening::{Opened, Opening};
use crate::stream::Stream;
use crate::traffic::Traffic;
use crate::traffic::account::Entry;
use crate::{metrics, socket};

/// What ends sooner is taken for a login that failed, in milliseconds.
const LOGIN: u32 = 1_000;

/// Serves one client from its first byte to its last, and writes its line in the log.
///
/// `place` is given back before a client is told that its session was killed, so that it finds one when it returns.
//
// There are thousands of these that do nothing: what the future captures is used where it is, since whatever is moved
// out of a capture has its room twice.
pub fn serve(
    client: Client,
    door: Arc<Door>,
    place: Place,
) -> impl Future<Output = ()> + Send + 'static {
    let mut session = Session {
        report: Report::new(client.peer),
        socket: Some(client.socket),
        place: Some(place),
        flow: None,
        door,
    };
    async move {
        if let Some(ending) = session.run().await {
            session.tell(&ending);
        }
    }
}

/// Tells a client that there are too many already.
pub async fn too_many(client: Client, door: Arc<Door>) {
    let mut report = Report::new(client.peer);
    let Some(client) = entered(client.socket, &door) else {
        return;
    };
    let mut opening = Opening::new(client, &door, &mut report);
    let telling = Box::pin(opening.turn_away(&Ending::TooManySessions));
    let _ = door.tasks.ending().run_until_cancelled(telling).await;
    metrics::session_ended(&door, Ending::TooManySessions.word());
}

struct Session {
    door: Arc<Door>,
    /// Until it begins.
    socket: Option<Accepted>,
    /// Until a client is told that it was killed.
    place: Option<Place>,
    /// Once it has a server.
    flow: Option<Flow>,
    report: Report,
}

/// What a session's log line tells beside how it ended.
struct Report {
    peer: Peer,
    began: Moment,
    /// Where it was served last.
    seat: Option<Arc<Seat>>,
    /// How long it was held and how long it took to be connected, in milliseconds, if it was.
    held_ms: Option<u32>,
    connected_ms: Option<u32>,
    traffic: Arc<Traffic>,
    /// Its place among the sessions whose bytes are seen while they run.
    entry: Option<Entry>,
}

impl Report {
    fn new(peer: Peer) -> Self {
        Self {
            peer,
            began: clock::now(),
            seat: None,
            held_ms: None,
            connected_ms: None,
            traffic: Arc::default(),
            entry: None,
        }
    }

    /// How long the session had lasted at `moment`.
    fn ms_until(&self, moment: Moment) -> u32 {
        u32::try_from(moment.since(self.began).as_millis()).unwrap_or(u32::MAX)
    }
}

impl Session {
    /// How it ended; `None` if it never began.
    async fn run(&mut self) -> Option<Ending> {
        // Opening needs far more memory than pumping: it is boxed, and gone before the first byte is pumped. So is all
        // that comes after: it is needed once, and for a moment.
        if let Err(ending) = Box::pin(self.open()).await {
            return ending;
        }
        let ending = self.pump().await?;
        if matches!(ending, Ending::Killed(_) | Ending::ShutDown) {
            Box::pin(self.end(&ending)).await;
        }
        Some(ending)
    }

    /// Finds a server for the client. The error is how the session ended, if it had begun.
    async fn open(&mut self) -> Result<(), Option<Ending>> {
        let socket = self.socket.take().ok_or(None)?;
        let client = entered(socket, &self.door).ok_or(None)?;
        let opened = Opening::new(client, &self.door, &mut self.report)
            .run()
            .await;
        // What an opening moved counts too, whatever became of it.
        let report = &mut self.report;
        let entry = |seat: &Arc<Seat>| self.door.account(seat).enter(&report.traffic);
        report.entry = report.seat.as_ref().map(entry);
        self.flow = Some(Flow::new(opened.map_err(Some)?, &self.report));
        Ok(())
    }

    /// Pumps until one side ends, or the session is over for another reason; `None` if there is nothing to be pumped.
    fn pump(&mut self) -> impl Future<Output = Option<Ending>> {
        let Self {
            door, report, flow, ..
        } = self;
        let (door, report) = (&*door, &*report);
        let idle = door.config.client_idle;
        async move {
            let Flow { pump, taken, began } = flow.as_mut()?;
            let seat = &taken.of().0;
            // One session was told to go, or the server is stopping: it is asked before anybody else is sent there. A
            // new login inside TLS would be refused where the router cannot see it.
            let server_ended = || {
                // Who is turned away at the login (a wrong password, say) is no reason to doubt anybody.
                let lasted = report.ms_until(clock::now()).saturating_sub(*began);
                if lasted >= LOGIN {
                    door.doubt(seat);
                }
            };
            let (mut ear, mut silence) = (Ear::default(), Silence::new(idle));
            let mut over = pin!(seat.over().cancelled());
            let ending = poll_fn(|cx| match ear.poll_rings(cx, over.as_mut()) {
                Poll::Ready(()) => Poll::Ready(why(seat, door)),
                Poll::Pending => pump.poll(cx, &mut silence, &server_ended),
            });
            Some(ending.await)
        }
    }

    /// Has a client whose session was ended see that, and clears away what is left.
    async fn end(&mut self, ending: &Ending) {
        if matches!(ending, Ending::Killed(_)) {
            self.door.count.killed.fetch_add(1, Ordering::Relaxed);
        }
        let Some(mut flow) = self.flow.take() else {
            return;
        };
        flow.pump.deliver().await;
        // The place is free before the client can know: it may come again at once.
        self.place = None;
        let remains = flow.pump.close();
        // Whoever comes has descriptors beside those that are cleared away later.
        if self.door.is_half_empty() {
            remains.clear_away().await;
        }
    }

    /// Writes its line in the log.
    fn tell(&self, ending: &Ending) {
        let (door, report) = (&self.door, &self.report);
        metrics::session_ended(door, ending.word());
        let bytes = report.traffic.bytes();
        tracing::info!(
            listener = door.config.name,
            client = %report.peer,
            member = report.seat.as_ref().map(|seat| seat.target.member.as_str()),
            held_ms = report.held_ms.unwrap_or_default(),
            connect_ms = report.connected_ms,
            total_ms = report.ms_until(clock::now()),
            from_client = bytes.from_client,
            from_server = bytes.from_server,
            end = %ending.letters(),
            "session ended: {ending}"
        );
    }
}

/// A session that has a server.
struct Flow {
    pump: Pump,
    taken: Counted<SeatTaken>,
    /// How long the session had lasted, in milliseconds.
    began: u32,
}

impl Flow {
    fn new(opened: Opened, report: &Report) -> Self {
        let Opened { client, server } = opened;
        Self {
            pump: Pump::new(client, server.stream, Arc::clone(&report.traffic)),
            taken: server.taken,
            began: report.ms_until(clock::now()),
        }
    }
}

/// Why the sessions of a seat are over.
fn why(seat: &Seat, door: &Door) -> Ending {
    match seat.because() {
        Some(because) => Ending::Killed(Some(because.clone())),
        None if door.tasks.ending().is_cancelled() => Ending::ShutDown,
        None => Ending::Killed(None),
    }
}

/// The client's connection, with care taken of its socket; `None` if there is nothing to be served.
fn entered(socket: Accepted, door: &Door) -> Option<Stream> {
    match socket.stream() {
        // A client that takes none has left between the handshake and now.
        Ok(stream) => socket::care(&stream, &door.config).ok().map(|()| stream),
        Err(error) => {
            door.admission.accept_failed(&door.config.name, &error);
            metrics::accept_failed(door);
            None
        }
    }
}
