//! R8, whatever comes together: what goes in comes out, in order, and the end after it.
//!
//! Peers with random scripts (how much they send in which pieces, when they stall, how they end) on both sides of a
//! pump that copies and splices, with any number of pipes of any size, is polled, stopped, taken apart and put
//! together on another thread at random moments. The model is two streams of bytes: what arrives must be what was
//! sent; all of it and then the end, unless somebody broke off, when it must be a beginning of it.
//!
//! `SEED=n` plays one case, `CASES=n` so many from there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod pump_bench;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use fastrand::Rng;
use pump_bench::{Carrier, Flow, SOON, connection, through_json};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use trunkline_router::pump::parts::{Parts, State};
use trunkline_router::pump::{Pump, pipes};
use trunkline_router::session::ending::Ending;
use trunkline_router::stream::Stream;
use trunkline_router::traffic::{Bytes, Traffic};

/// After how many pieces a peer makes haste: small pieces and stalls are tried out by then.
const PATIENCE: u32 = 300;
/// How large they are then.
const HASTE: usize = 300_000;
/// How many cases a run has.
const CASES: u64 = 300;

/// What a peer will do.
#[derive(Clone, Debug)]
struct Script {
    seed: u64,
    /// How many bytes it sends.
    sends: u64,
    /// The largest piece it sends or reads at once, in the beginning.
    piece: usize,
    /// How often it stalls, in the beginning: before one piece in so many; never if 0.
    stalls: u32,
    /// How it ends.
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Closes its half when it has sent everything, and reads on.
    Half,
    /// Closes its half once it has heard the other's end.
    Last,
    /// Breaks off when it has sent and read so many bytes.
    Abrupt(u64),
}

/// One case.
#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    carriers: [Carrier; 2],
    /// The size of the sockets' buffers, if not the system's.
    buffers: Option<usize>,
    pipes: u32,
    pipe: usize,
    /// After how many polls it is taken apart, on average; never if 0.
    moves: u64,
    client: Script,
    server: Script,
}

#[test]
fn what_goes_in_comes_out_whatever_comes_together() {
    let number = |name| std::env::var(name).ok().and_then(|said| said.parse().ok());
    let cases = number("CASES").unwrap_or(if number("SEED").is_some() { 1 } else { CASES });
    let first = number("SEED").unwrap_or(1);
    let (mut piped, mut moved) = (0, 0);
    for seed in first..first + cases {
        let case = Case::of(seed);
        let _told = Told(&case);
        let was = case.play();
        piped += was.with_pipe;
        moved += was.times;
    }
    if cases >= CASES {
        // Else the test would not test what it says.
        assert!(
            moved > cases / 2,
            "taken apart {moved} times in {cases} cases"
        );
        assert!(piped > 5, "with a pipe only {piped} times in {cases} cases");
    }
}

/// Tells how to play a case again, if it fails.
struct Told<'c>(&'c Case);

impl Drop for Told<'_> {
    #[allow(
        clippy::print_stdout,
        reason = "the panic that is told of here knows no case"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("SEED={} plays this again: {:#?}", self.0.seed, self.0);
        }
    }
}

impl Case {
    fn of(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let carrier = |random: &mut Rng| match random.u8(..4) {
            0 => Carrier::Unix,
            _ => Carrier::Tcp,
        };
        let carriers = [carrier(&mut random), carrier(&mut random)];
        let client = Script::of(&mut random, 1);
        let mut server = Script::of(&mut random, 3);
        if [client.end, server.end] == [End::Last; 2] {
            // They would wait for each other.
            server.end = End::Half;
        }
        Self {
            seed,
            carriers,
            buffers: pick(&mut random, &[None, None, Some(30_000), Some(100_000)]),
            pipes: pick(&mut random, &[0, 1, 2, 64]),
            pipe: pick(&mut random, &[4_096, 65_536, 1 << 20]),
            moves: pick(&mut random, &[0, 3, 20, 200]),
            client,
            server,
        }
    }

    /// Plays it; says how often the session was taken apart.
    fn play(&self) -> Moves {
        pipes::allow(self.pipes);
        pipes::want(self.pipe);
        let world = runtime();
        world.block_on(async {
            let (client, front) = connection(self.carriers[0]).await;
            let (back, server) = connection(self.carriers[1]).await;
            if let Some(bytes) = self.buffers {
                for socket in [&client, &front, &back, &server].map(SockRef::from) {
                    socket.set_send_buffer_size(bytes).unwrap();
                    socket.set_recv_buffer_size(bytes).unwrap();
                }
            }
            let pump = Pump::new(front, back, Arc::default());
            let carried = carry(
                pump.take_apart().unwrap(),
                Rng::with_seed(self.seed),
                self.moves,
            );
            let (client, server) = (
                Peer::new(client, &self.client, [1, 2]),
                Peer::new(server, &self.server, [2, 1]),
            );
            let played = async { tokio::join!(client.play(), server.play()) };
            let Ok((client, server)) = timeout(SOON, played).await else {
                panic!("stands still at {:?}", (client.at(), server.at()));
            };
            let over = carried.join().unwrap();
            self.judge(client, server, &over);
            over.moves
        })
    }

    fn judge(&self, client: Heard, server: Heard, over: &Over) {
        let [up, down] = [(client.sent, server.heard), (server.sent, client.heard)];
        assert!(
            up.1 <= up.0 && down.1 <= down.0,
            "more came out than went in"
        );
        let ends = [self.client.end, self.server.end];
        if ends.iter().any(|end| matches!(end, End::Abrupt(_))) {
            return;
        }
        assert!(client.end && server.end, "an end came as a reset");
        assert_eq!((up.0, down.0), (up.1, down.1), "bytes are missing");
        assert_eq!((up.0, down.0), (self.client.sends, self.server.sends));
        let counted = (over.bytes.from_client, over.bytes.from_server);
        assert_eq!(
            counted,
            (up.1, down.1),
            "they were not counted as they went"
        );
        let ended = match ends {
            [End::Last, _] => Some(Ending::ServerClosed),
            [_, End::Last] => Some(Ending::ClientClosed),
            _ => None,
        };
        let in_order = [Ending::ServerClosed, Ending::ClientClosed];
        assert!(in_order.contains(&over.ending) && ended.is_none_or(|ended| ended == over.ending));
    }
}

impl Script {
    fn of(random: &mut Rng, times: u64) -> Self {
        let sends = times * pick(random, &[0, 10, 5_000, 300_000, 2_000_000]);
        let end = match random.u8(..8) {
            0 => End::Abrupt(random.u64(..=sends + 100_000)),
            1..4 => End::Last,
            _ => End::Half,
        };
        Self {
            seed: random.u64(..),
            sends,
            piece: pick(random, &[1, 70, 5_000, 300_000, 300_000]),
            stalls: pick(random, &[0, 0, 10, 100]),
            end,
        }
    }
}

/// One side of a session.
struct Peer<'s> {
    script: &'s Script,
    stream: Cell<Option<Stream>>,
    sent: Cell<Flow>,
    heard: Cell<Flow>,
    end: Cell<bool>,
    ended: tokio::sync::Notify,
}

/// What became of one.
#[derive(Clone, Copy, Debug)]
struct Heard {
    sent: u64,
    heard: u64,
    /// Whether it heard the other's end in order.
    end: bool,
}

/// It breaks off.
struct Off;

impl<'s> Peer<'s> {
    fn new(stream: Stream, script: &'s Script, [says, hears]: [u64; 2]) -> Self {
        Self {
            script,
            stream: Cell::new(Some(stream)),
            sent: Cell::new(Flow::new(says)),
            heard: Cell::new(Flow::new(hears)),
            end: Cell::default(),
            ended: tokio::sync::Notify::new(),
        }
    }

    fn at(&self) -> Heard {
        Heard {
            sent: self.sent.get().at(),
            heard: self.heard.get().at(),
            end: self.end.get(),
        }
    }

    async fn play(&self) -> Heard {
        let stream = self.stream.take().unwrap();
        if matches!(self.script.end, End::Abrupt(_)) {
            SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
        let (reader, writer) = tokio::io::split(stream);
        // Who breaks off drops both halves at once.
        let _ = tokio::try_join!(self.send(writer), self.hear(reader));
        self.at()
    }

    async fn send(&self, mut to: WriteHalf<Stream>) -> Result<WriteHalf<Stream>, Off> {
        let mut random = Rng::with_seed(self.script.seed);
        let (mut piece, mut pieces) = (vec![0; self.script.piece], 0);
        let mut flow = self.sent.get();
        while flow.at() < self.script.sends {
            self.stall(&mut random, &mut pieces, &mut piece).await?;
            let left = usize::try_from(self.script.sends - flow.at()).unwrap();
            let most = random.usize(1..=piece.len()).min(left);
            flow.fill(&mut piece[..most]);
            // It may be gone: its end, or what broke it off, is heard by the other half.
            let Ok(sent) = to.write(&piece[..most]).await else {
                return Ok(to);
            };
            flow.went(sent);
            self.sent.set(flow);
        }
        if self.script.end == End::Last {
            self.ended.notified().await;
        }
        self.stall(&mut random, &mut pieces, &mut piece).await?;
        let _ = to.shutdown().await;
        Ok(to)
    }

    async fn hear(&self, mut from: ReadHalf<Stream>) -> Result<ReadHalf<Stream>, Off> {
        let mut random = Rng::with_seed(!self.script.seed);
        let (mut piece, mut pieces) = (vec![0; self.script.piece], 0);
        loop {
            self.stall(&mut random, &mut pieces, &mut piece).await?;
            let most = random.usize(1..=piece.len());
            match from.read(&mut piece[..most]).await {
                Ok(0) => break self.end.set(true),
                Ok(read) => {
                    let mut flow = self.heard.get();
                    flow.take(&piece[..read]);
                    self.heard.set(flow);
                }
                Err(_) => break,
            }
        }
        self.ended.notify_one();
        Ok(from)
    }

    /// Between two pieces: breaks off, stalls, or makes haste.
    async fn stall(
        &self,
        random: &mut Rng,
        pieces: &mut u32,
        piece: &mut Vec<u8>,
    ) -> Result<(), Off> {
        let so_far = self.sent.get().at() + self.heard.get().at();
        if matches!(self.script.end, End::Abrupt(at) if so_far >= at) {
            return Err(Off);
        }
        *pieces += 1;
        if *pieces > PATIENCE {
            piece.resize(HASTE, 0);
        } else if self.script.stalls > 0 && random.u32(..self.script.stalls) == 0 {
            sleep(Duration::from_micros(random.u64(..2_000))).await;
        }
        Ok(())
    }
}

/// How often a session was taken apart.
#[derive(Clone, Copy, Debug, Default)]
struct Moves {
    times: u64,
    /// How often bytes were in a pipe.
    with_pipe: u64,
}

/// What became of a session.
struct Over {
    ending: Ending,
    bytes: Bytes,
    moves: Moves,
}

/// Pumps a session on a thread of its own, and on another after each time it was taken apart.
fn carry(parts: Parts, mut random: Rng, moves: u64) -> JoinHandle<Over> {
    let mut parts = through_json(parts);
    std::thread::spawn(move || {
        let mut so_far = Moves::default();
        loop {
            let polls = if moves > 0 {
                random.u64(1..=2 * moves)
            } else {
                u64::MAX
            };
            let pumped = std::thread::spawn(move || pump_for(parts, polls))
                .join()
                .unwrap();
            parts = match pumped {
                Pumped::Over(ending, bytes) => {
                    let moves = so_far;
                    return Over {
                        ending,
                        bytes,
                        moves,
                    };
                }
                Pumped::Apart(parts) => through_json(parts),
            };
            so_far.times += 1;
            so_far.with_pipe += u64::from(parts.descriptors.len() > 2);
        }
    })
}

enum Pumped {
    Over(Ending, Bytes),
    Apart(Parts),
}

/// Pumps for so many polls, or until nothing happens for a moment.
fn pump_for(parts: Parts, polls: u64) -> Pumped {
    runtime().block_on(async {
        let traffic = Arc::new(Traffic::default());
        let before: State = parts.state.clone();
        let mut pump = Pump::put_together(parts, Arc::clone(&traffic)).unwrap();
        assert_eq!(traffic.bytes(), before.bytes());
        let ending = {
            let mut run = pin!(pump.run(None, || {}));
            let mut left = polls;
            let polled = poll_fn(|cx| {
                left -= 1;
                match run.as_mut().poll(cx) {
                    Poll::Ready(ending) => Poll::Ready(Some(ending)),
                    Poll::Pending if left == 0 => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            });
            if polls == u64::MAX {
                polled.await
            } else {
                timeout(Duration::from_millis(20), polled)
                    .await
                    .unwrap_or(None)
            }
        };
        match ending {
            Some(ending) => Pumped::Over(ending, traffic.bytes()),
            None => Pumped::Apart(pump.take_apart().unwrap()),
        }
    })
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn pick<T: Clone>(random: &mut Rng, from: &[T]) -> T {
    from[random.usize(..from.len())].clone()
}
