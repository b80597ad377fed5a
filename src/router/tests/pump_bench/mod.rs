//! What the pump's tests share: connections to pump between, bytes that tell where they belong, a pump in a task.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};
use trunkline_router::pump::Pump;
use trunkline_router::pump::parts::Parts;
use trunkline_router::session::ending::Ending;
use trunkline_router::stream::Stream;
use trunkline_router::traffic::Traffic;

/// How long anything may take.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// How long nothing may change for it to count as standing still.
const STILL: Duration = Duration::from_millis(150);

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tcp,
    Unix,
}

/// Both ends of a connection.
pub(crate) async fn connection(carrier: Carrier) -> (Stream, Stream) {
    match carrier {
        Carrier::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let connecting = TcpStream::connect(listener.local_addr().unwrap());
            let (connected, accepted) = tokio::join!(connecting, listener.accept());
            let ends = [connected.unwrap(), accepted.unwrap().0];
            ends.iter().for_each(|end| end.set_nodelay(true).unwrap());
            let [one, other] = ends.map(Stream::Tcp);
            (one, other)
        }
        Carrier::Unix => {
            let (one, other) = UnixStream::pair().unwrap();
            (Stream::Unix(one), Stream::Unix(other))
        }
    }
}

/// A client and a server that have nothing but a pump between them.
pub(crate) struct Between {
    pub(crate) client: Stream,
    pub(crate) server: Stream,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) pump: Pump,
}

impl Between {
    pub(crate) async fn tcp() -> Self {
        Self::over(Carrier::Tcp, Carrier::Tcp).await
    }

    pub(crate) async fn over(client: Carrier, server: Carrier) -> Self {
        let (client, front) = connection(client).await;
        let (back, server) = connection(server).await;
        let traffic = Arc::new(Traffic::default());
        let pump = Pump::new(front, back, Arc::clone(&traffic));
        Self {
            client,
            server,
            traffic,
            pump,
        }
    }
}

/// A pump that runs in a task of this thread until it is over, or told to stop.
pub(crate) struct Running {
    task: tokio::task::JoinHandle<Result<Ending, Pump>>,
    stop: Rc<tokio::sync::Notify>,
    /// How often it was polled.
    pub(crate) polls: Rc<Cell<u64>>,
}

impl Running {
    pub(crate) fn start(pump: Pump) -> Self {
        Self::start_with(pump, || {})
    }

    pub(crate) fn start_with(mut pump: Pump, server_ended: impl Fn() + 'static) -> Self {
        let (stop, polls) = (Rc::new(tokio::sync::Notify::new()), Rc::new(Cell::new(0)));
        let (stopped, counted) = (Rc::clone(&stop), Rc::clone(&polls));
        let task = spawn_local(async move {
            let ending = {
                let mut run = pin!(pump.run(None, server_ended));
                let counting = poll_fn(|cx| {
                    counted.set(counted.get() + 1);
                    run.as_mut().poll(cx)
                });
                tokio::select! {
                    ending = counting => Some(ending),
                    () = stopped.notified() => None,
                }
            };
            // What is over is gone, as it is in the router.
            ending.ok_or(pump)
        });
        Self { task, stop, polls }
    }

    /// Stops it where it is.
    pub(crate) async fn stop(self) -> Pump {
        self.stop.notify_one();
        // It must not have been over before.
        timeout(SOON, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap_err()
    }

    /// Waits until it is over.
    pub(crate) async fn ending(self) -> Ending {
        timeout(SOON, self.task).await.unwrap().unwrap().unwrap()
    }
}

/// Waits until `number` has not changed for a while; returns it.
pub(crate) async fn stands_still(mut number: impl FnMut() -> u64) -> u64 {
    let began = Instant::now();
    let (mut last, mut since) = (number(), Instant::now());
    while since.elapsed() < STILL {
        assert!(began.elapsed() < SOON, "still changing: {last}");
        sleep(Duration::from_millis(5)).await;
        let now = number();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < SOON, "never: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// After how many bytes a flow begins anew: a prime, so that no buffer's size hides a loss or a repetition.
const PERIOD: usize = 65_521;
static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();

/// Bytes that tell where they belong, so that none can be lost, repeated or moved unseen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    key: u64,
    at: u64,
}

impl Flow {
    pub(crate) const fn new(key: u64) -> Self {
        Self { key, at: 0 }
    }

    /// The same flow further on.
    pub(crate) const fn from(self, at: u64) -> Self {
        Self { at, ..self }
    }

    /// How many bytes went by.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// The next bytes; [`Flow::went`] says how many of them were sent.
    pub(crate) fn fill(&self, buffer: &mut [u8]) {
        let mut at = self.at;
        for part in buffer.chunks_mut(PERIOD) {
            self.pieces(at, part.len(), |from, to, expected| {
                part[from..to].copy_from_slice(expected);
            });
            at += part.len() as u64;
        }
    }

    pub(crate) const fn went(&mut self, count: usize) {
        self.at += count as u64;
    }

    /// Takes what came; fails if it is not what comes next.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(PERIOD) {
            self.pieces(self.at, part.len(), |from, to, expected| {
                let (at, key) = (self.at, self.key);
                assert!(
                    part[from..to] == *expected,
                    "wrong after byte {at} of flow {key}"
                );
            });
            self.at += part.len() as u64;
        }
    }

    /// Calls `each` with what `count` bytes from `at` on should be, in at most two pieces.
    fn pieces(&self, at: u64, count: usize, mut each: impl FnMut(usize, usize, &[u8])) {
        let pattern = PATTERN.get_or_init(|| {
            let mut random = fastrand::Rng::with_seed(1);
            std::iter::repeat_with(|| random.u8(..))
                .take(PERIOD)
                .collect()
        });
        let begin = usize::try_from((at + self.key * 1_000) % PERIOD as u64).unwrap();
        let first = count.min(PERIOD - begin);
        each(0, first, &pattern[begin..begin + first]);
        each(first, count, &pattern[..count - first]);
    }
}

/// Sends `count` bytes of a flow.
pub(crate) async fn send(to: &mut Stream, flow: &mut Flow, count: usize) {
    let mut bytes = vec![0; count];
    flow.fill(&mut bytes);
    timeout(SOON, to.write_all(&bytes)).await.unwrap().unwrap();
    flow.went(count);
}

/// Sends until nothing has been taken for a while.
pub(crate) async fn send_until_full(to: &mut Stream, flow: &mut Flow) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        flow.fill(&mut bytes);
        match timeout(STILL, to.write(&bytes)).await {
            Ok(sent) => flow.went(sent.unwrap()),
            Err(_) => return,
        }
    }
}

/// Reads `count` bytes of a flow.
pub(crate) async fn receive(from: &mut Stream, flow: &mut Flow, count: u64) {
    let mut bytes = vec![0; 64 * 1024];
    let until = flow.at() + count;
    while flow.at() < until {
        let most = usize::try_from(until - flow.at()).unwrap().min(bytes.len());
        let read = timeout(SOON, from.read(&mut bytes[..most])).await;
        let read =
            read.unwrap_or_else(|_| panic!("nothing came after byte {} of {until}", flow.at()));
        let read = read.unwrap();
        assert!(read > 0, "the end came after byte {} of {until}", flow.at());
        flow.take(&bytes[..read]);
    }
}

/// Reads to the end; `Err` if that was a reset.
pub(crate) async fn receive_rest(from: &mut Stream, flow: &mut Flow) -> std::io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        match timeout(SOON, from.read(&mut bytes)).await.unwrap()? {
            0 => return Ok(()),
            read => flow.take(&bytes[..read]),
        }
    }
}

/// Whether a direction's bytes were in a pipe.
pub(crate) fn has_pipe(parts: &Parts) -> bool {
    parts.descriptors.len() > 2
}

/// Takes apart, through JSON as another process would get it, and puts together.
pub(crate) fn again(pump: Pump, traffic: &mut Arc<Traffic>) -> Pump {
    let parts = through_json(pump.take_apart().unwrap());
    *traffic = Arc::new(Traffic::default());
    Pump::put_together(parts, Arc::clone(traffic)).unwrap()
}

/// The parts with their state written down and read.
pub(crate) fn through_json(parts: Parts) -> Parts {
    let state = serde_json::to_string(&parts.state).unwrap();
    Parts {
        state: serde_json::from_str(&state).unwrap(),
        ..parts
    }
}

/// Runs a test on one thread, where pumps can be started as tasks.
pub(crate) fn on_one_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}
