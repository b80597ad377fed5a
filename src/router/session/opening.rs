//! From accept to the first byte that may be pumped: the client's first packet, a server for it, its first answer.
//!
//! Connecting starts at once, and meanwhile the client's first bytes are read: PostgreSQL clients speak first, so
//! nothing is lost by waiting, and a cancel request must not be balanced. Until the server has answered, the
//! client can still be held again, whatever became of the server.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use trunkline_core::Moment;
use trunkline_io::clock;

use super::connect::{Connected, Search};
use super::ending::Ending;
use super::{Report, cancel, refusal, silence};
use crate::door::Door;
use crate::startup::{self, First, FirstReply};
use crate::stream::{Over, Stream};

/// How long a client that is to be refused may take to say what it wants.
const REFUSAL: Duration = Duration::from_secs(5);
/// The same while the router stops.
const LAST_REFUSAL: Duration = Duration::from_secs(1);

/// How long a client may say nothing before a server that closes is taken to have lost patience with it.
const SILENT_CLIENT: Duration = Duration::from_secs(5);

/// How often a client that sent more than is read yet is looked at, whether it is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a client that closed its half after it had said all a server needs is searched a server for. Most that
/// do so have left, and whether one has is not seen before something is sent to it.
const HALF_CLOSED: Duration = Duration::from_secs(1);

/// A client and its server, with nothing left in between.
pub(super) struct Opened {
    pub(super) client: Stream,
    pub(super) server: Connected,
}

/// A session that is being opened.
pub(super) struct Opening<'r> {
    client: Stream,
    door: Arc<Door>,
    search: Search,
    report: &'r mut Report,
    began: Moment,
    /// What the client said and no server has answered yet.
    said: Vec<u8>,
    /// Whether it has said that it will say no more.
    half_closed: bool,
}

/// What to do with the client's bytes once there is a server.
enum Next {
    /// Send them and pump.
    Pump,
    /// Send them and pass on the one byte that answers a request for encryption.
    Encryption,
    /// Send them and look at the first answer.
    Startup,
}

/// Who spoke while the client had not said enough.
enum Heard {
    /// The client said more.
    More(Connected),
    /// The server's sessions were ended.
    ServerLost,
    /// The server spoke before the client did.
    ServerFirst(Connected),
}

impl<'r> Opening<'r> {
    pub(super) fn new(client: Stream, door: &Arc<Door>, report: &'r mut Report) -> Self {
        Self {
            client,
            search: Search::new(door, report.peer.ip()),
            door: Arc::clone(door),
            report,
            began: clock::now(),
            said: Vec::new(),
            half_closed: false,
        }
    }

    pub(super) async fn run(mut self) -> Result<Opened, Ending> {
        let outcome = self.open().await;
        let held_until = self.search.held_until;
        self.report.held_ms = held_until.map(|until| self.report.ms_until(until));
        match outcome {
            Ok(server) => Ok(Opened {
                client: self.client,
                server,
            }),
            Err(ending) => {
                self.turn_away(&ending).await;
                Err(ending)
            }
        }
    }

    async fn open(&mut self) -> Result<Connected, Ending> {
        let mut server = None;
        loop {
            let (next, mut found) = self.meet(server.take()).await?;
            self.report.seat = Some(Arc::clone(&found.seat));
            self.report.connected_ms = Some(self.report.ms_until(clock::now()));
            match next {
                Next::Pump => {
                    if found.stream.write_all(&self.said).await.is_err() {
                        return Err(Ending::ServerBroke);
                    }
                    self.forwarded();
                    return Ok(found);
                }
                Next::Encryption => {
                    if let Some(done) = self.encryption(&mut found).await? {
                        if done {
                            return Ok(found);
                        }
                        server = Some(found);
                        continue;
                    }
                }
                Next::Startup => {
                    if self.startup(&mut found).await? {
                        return Ok(found);
                    }
                }
            }
            // The server was lost before it answered anything: the client does not know of it.
            self.search.lost(&found.seat);
            if self.half_closed {
                return Err(Ending::ClientLeftEarly);
            }
        }
    }

    /// Reads the client's first packet and finds a server, both at once.
    async fn meet(&mut self, server: Option<Connected>) -> Result<(Next, Connected), Ending> {
        let mut server = server;
        loop {
            let first = startup::first(&self.said);
            if let First::Cancel(length) = first {
                drop(server);
                cancel::pass_on(self.said.get(..length).unwrap_or_default(), &self.door).await;
                return Err(Ending::Cancel);
            }
            let next = match first {
                First::Incomplete | First::Cancel(_) => None,
                First::AsksEncryption => Some(Next::Encryption),
                First::Startup(_) => Some(Next::Startup),
                First::NotPostgres => Some(Next::Pump),
            };
            match (next, server.take()) {
                (Some(next), Some(found)) => return Ok((next, found)),
                (None, Some(found)) => match self.listen(found).await? {
                    Heard::More(found) => server = Some(found),
                    Heard::ServerLost => {}
                    Heard::ServerFirst(found) => return Ok((Next::Pump, found)),
                },
                (_, None) => server = self.find().await?,
            }
        }
    }

    /// Finds a server while the client speaks; `None` if what it says makes the search needless.
    async fn find(&mut self) -> Result<Option<Connected>, Ending> {
        // One search, whatever the client says meanwhile: a connection that is being made is not given up for it.
        let mut search = pin!(self.search.run());
        loop {
            // What follows the first packet is read too, or it would hide that the client left.
            let room = self.said.len() < startup::MAX_STARTUP;
            tokio::select! {
                found = &mut search => return found.map(Some),
                heard = hear(&mut self.client, &mut self.said, room), if !self.half_closed => match heard {
                    Err(Ending::ClientLeftEarly) if is_whole(&self.said) => self.half_closed = true,
                    heard => heard?,
                },
                // What the client said is whole and it still can listen: the server it needs may be a moment away.
                () = sleep(HALF_CLOSED), if self.half_closed => return Err(Ending::ClientLeftEarly),
                () = self.door.tasks.ending().cancelled() => return Err(Ending::ShutDown),
            }
            if matches!(startup::first(&self.said), First::Cancel(_)) {
                return Ok(None);
            }
        }
    }

    /// There is a server, and the client has not said enough: waits for either to speak.
    async fn listen(&mut self, found: Connected) -> Result<Heard, Ending> {
        tokio::select! {
            biased;
            () = self.door.tasks.ending().cancelled() => Err(Ending::ShutDown),
            () = found.seat.over().cancelled() => Ok(Heard::ServerLost),
            heard = more(&mut self.client, &mut self.said) => heard.map(|()| Heard::More(found)),
            peeked = found.stream.peek() => match peeked {
                // A server that speaks first is no PostgreSQL: its bytes are pumped as they are.
                Ok(1..) => Ok(Heard::ServerFirst(found)),
                // It crashed, and the client does not know.
                Ok(0) | Err(_) if clock::now().since(self.began) < SILENT_CLIENT => {
                    self.search.lost(&found.seat);
                    Ok(Heard::ServerLost)
                }
                // PostgreSQL gives up on a client that says nothing (authentication_timeout).
                Ok(0) | Err(_) => Err(Ending::ServerClosed),
            },
        }
    }

    /// Passes on a request for encryption and its answer. `Some(true)`: pump from here on; `Some(false)`: the
    /// client goes on in clear; `None`: the server was lost.
    async fn encryption(&mut self, found: &mut Connected) -> Result<Option<bool>, Ending> {
        let request = self.said.get(..8).unwrap_or_default().to_vec();
        let Some(answer) = self
            .exchange(found, &request, 1, |answer| !answer.is_empty())
            .await?
        else {
            return Ok(None);
        };
        self.answer(&answer).await?;
        self.said.drain(..8);
        self.report.traffic.up(8);
        let in_clear = answer == b"N";
        if !in_clear && !self.said.is_empty() {
            found
                .stream
                .write_all(&self.said)
                .await
                .map_err(|_| Ending::ServerBroke)?;
            self.forwarded();
        }
        Ok(Some(!in_clear))
    }

    /// Sends the StartupMessage and passes on the first answer; false where there is none worth passing on.
    async fn startup(&mut self, found: &mut Connected) -> Result<bool, Ending> {
        let said = self.said.clone();
        let decided = |answer: &[u8]| startup::first_reply(answer) != FirstReply::Incomplete;
        let Some(answer) = self.exchange(found, &said, 4096, decided).await? else {
            return Ok(false);
        };
        if startup::first_reply(&answer) == FirstReply::CannotConnectNow {
            return Ok(false);
        }
        self.answer(&answer).await?;
        self.forwarded();
        Ok(true)
    }

    /// Sends `request` and reads until `enough`, at most `limit` bytes; `None` if the server is lost meanwhile.
    async fn exchange(
        &mut self,
        found: &mut Connected,
        request: &[u8],
        limit: usize,
        enough: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>, Ending> {
        let Connected { stream, seat, .. } = found;
        let silence = silence::is_death(&self.door, seat);
        let asking = async {
            stream.write_all(request).await?;
            let mut answer = Vec::new();
            while !enough(&answer) && answer.len() < limit {
                let left = limit - answer.len();
                if (&mut *stream)
                    .take(left as u64)
                    .read_buf(&mut answer)
                    .await?
                    == 0
                {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
            }
            Ok(answer)
        };
        tokio::select! {
            biased;
            () = self.door.tasks.ending().cancelled() => Err(Ending::ShutDown),
            () = seat.over().cancelled() => Ok(None),
            answer = asking => Ok(answer.ok()),
            // Nothing was answered yet: another server may be asked the same.
            () = silence => Ok(None),
            () = gone(&self.client, false) => Err(Ending::ClientLeftEarly),
        }
    }

    async fn answer(&mut self, answer: &[u8]) -> Result<(), Ending> {
        self.client
            .write_all(answer)
            .await
            .map_err(|_| Ending::ClientBroke)?;
        self.report.traffic.down(answer.len() as u64);
        Ok(())
    }

    fn forwarded(&mut self) {
        self.report.traffic.up(self.said.len() as u64);
        self.said = Vec::new();
    }

    /// Tells the client why in PostgreSQL's protocol: never a bare end of file.
    pub(super) async fn turn_away(&mut self, ending: &Ending) {
        let Some(error) = refusal::error(ending, &self.door) else {
            return;
        };
        if matches!(
            ending,
            Ending::NoTarget(_)
                | Ending::NothingLeft
                | Ending::TooManyHeld
                | Ending::TooManySessions
        ) {
            self.door.count.refused.fetch_add(1, Ordering::Relaxed);
        }
        // Bytes that are no PostgreSQL get none back.
        let stops = self.door.tasks.ending().is_cancelled();
        let told = timeout(
            if stops { LAST_REFUSAL } else { REFUSAL },
            refusal::refuse(&mut self.client, &mut self.said, &error, &self.door),
        )
        .await;
        drop(told);
    }
}

/// Reads more of the client's first packet.
pub(super) async fn more(client: &mut Stream, said: &mut Vec<u8>) -> Result<(), Ending> {
    match client.read_buf(said).await {
        Ok(0) => Err(Ending::ClientLeftEarly),
        Ok(_) => Ok(()),
        Err(_) => Err(Ending::ClientBroke),
    }
}

/// Reads more where there is `room`; else waits for the client to leave.
async fn hear(client: &mut Stream, said: &mut Vec<u8>, room: bool) -> Result<(), Ending> {
    if room {
        return more(client, said).await;
    }
    gone(client, true).await;
    Err(Ending::ClientLeftEarly)
}

/// Whether a server can begin to answer with what the client said.
fn is_whole(said: &[u8]) -> bool {
    match startup::first(said) {
        First::AsksEncryption | First::Startup(_) | First::NotPostgres => true,
        First::Incomplete | First::Cancel(_) => false,
    }
}

/// Returns when the client has broken the connection; if `half` counts, also when it has closed its half.
async fn gone(client: &Stream, half: bool) {
    loop {
        match client.stirs().await {
            Ok(Over::Both) | Err(_) => return,
            Ok(Over::Half) if half => return,
            // It sent more than its first packet, or no more will come: that stays in the socket, and makes the
            // client ready at once whether it left or not.
            Ok(Over::Half | Over::Nothing) => sleep(LOOK_AGAIN).await,
        }
    }
}
