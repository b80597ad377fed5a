//! Bytes through a session, both ways, so that a gap, a repetition, a swap or a missing end shows.
//!
//! What either side does is a list of acts, made before the session begins; the model it is compared with is the
//! list itself and the noise it is cut from.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use trunkline_support::background::spawn;
use trunkline_support::fake_member::Postgres;

use crate::client::{Client, lands_on};
use crate::stand::Stand;

pub(crate) const MIB: usize = 1024 * 1024;
/// By when any session of these tests is over.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// Random bytes; a prime number of them, so that whatever is moved in powers of two never falls on itself.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut noise = vec![0; 4_194_301];
    fastrand::Rng::with_seed(0x7472_756e).fill(&mut noise);
    noise
});

/// An endless stream of noise, one of many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise {
    at: usize,
}

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        let at = fastrand::Rng::with_seed(seed).usize(..NOISE.len());
        Self { at }
    }

    /// Some of what comes next, at most `most` bytes and at least one.
    pub(crate) fn next(&mut self, most: usize) -> &'static [u8] {
        let rest = &NOISE[self.at..];
        let some = &rest[..rest.len().min(most)];
        self.at = (self.at + some.len()) % NOISE.len();
        some
    }

    /// Whether `heard` is what comes next.
    pub(crate) fn continues_with(&mut self, mut heard: &[u8]) -> bool {
        while !heard.is_empty() {
            let expected = self.next(heard.len());
            let (now, later) = heard.split_at(expected.len());
            if now != expected {
                return false;
            }
            heard = later;
        }
        true
    }
}

/// One thing a side does while it writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Writes so many bytes, at most so many at once.
    Write { bytes: usize, chunk: usize },
    /// Waits until it has read so many since the beginning.
    Hear(u64),
    /// Waits until the other has finished.
    HearTheEnd,
    /// Does nothing.
    Pause(Duration),
}

/// What one side of a session does, reading and writing at once. The end of its acts is its FIN.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) says: Noise,
    pub(crate) hears: Noise,
    pub(crate) acts: Vec<Act>,
    /// How much it reads at once.
    pub(crate) gulp: usize,
    /// After how many bytes it stops reading, and for how long; in order.
    pub(crate) stalls: Vec<(u64, Duration)>,
    /// How much it is to hear in all.
    pub(crate) expected: u64,
}

impl Part {
    /// Plays it to the end of both directions.
    pub(crate) async fn play(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
    ) -> Result<()> {
        let (read, write) = tokio::io::split(stream);
        let (told, heard) = watch::channel(Heard::default());
        let Self { says, acts, .. } = self;
        let writing = spawn(async move { act(write, says, acts, heard).await });
        let reading = read_all(read, self.hears, self.gulp, self.stalls, &told);
        let total = timeout(LONG, reading)
            .await
            .with_context(|| format!("reading stands still: {:?}", told.borrow()))?
            .with_context(|| format!("{:?}", told.borrow()))?;
        timeout(LONG, writing)
            .await
            .context("writing stands still")???;
        ensure!(
            total == self.expected,
            "{total} bytes before the end, not {}",
            self.expected
        );
        Ok(())
    }
}

/// How far a side has read.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    bytes: u64,
    end: bool,
}

async fn act(
    mut to: impl AsyncWrite + Unpin,
    mut says: Noise,
    acts: Vec<Act>,
    mut heard: watch::Receiver<Heard>,
) -> Result<()> {
    for act in acts {
        match act {
            Act::Write { mut bytes, chunk } => {
                while bytes > 0 {
                    let some = says.next(bytes.min(chunk));
                    to.write_all(some).await.context("writing")?;
                    bytes -= some.len();
                }
            }
            Act::Hear(bytes) => {
                let enough = heard.wait_for(|heard| heard.bytes >= bytes).await;
                enough.with_context(|| format!("waiting for {bytes} bytes"))?;
            }
            Act::HearTheEnd => {
                let end = heard.wait_for(|heard| heard.end).await;
                end.context("waiting for the end")?;
            }
            Act::Pause(time) => tokio::time::sleep(time).await,
        }
    }
    to.shutdown().await.context("writing the end")
}

async fn read_all(
    mut from: impl AsyncRead + Unpin,
    mut hears: Noise,
    gulp: usize,
    stalls: Vec<(u64, Duration)>,
    told: &watch::Sender<Heard>,
) -> Result<u64> {
    let mut chunk = vec![0; gulp];
    let mut heard = Heard::default();
    let mut stalls = stalls.into_iter().peekable();
    while !heard.end {
        let count = from.read(&mut chunk).await.context("reading")?;
        ensure!(
            hears.continues_with(&chunk[..count]),
            "wrong bytes after {}",
            heard.bytes
        );
        heard.bytes += count as u64;
        heard.end = count == 0;
        told.send_replace(heard);
        while let Some((_, time)) = stalls.next_if(|(at, _)| *at <= heard.bytes) {
            tokio::time::sleep(time).await;
        }
    }
    Ok(heard.bytes)
}

/// Has the primary hand its next sessions over to the test.
pub(crate) async fn hand_over(stand: &Stand) -> Result<()> {
    ensure!(lands_on(stand.write()).await? == "pg-1");
    stand.member("pg-1")?.serve(Postgres::HandOver).await
}

/// A logged-in session after [`hand_over`]: the client's side and the server's.
pub(crate) async fn session(stand: &Stand) -> Result<(TcpStream, TcpStream)> {
    let (client, _) = Client::login(stand.write()).await?;
    Ok((client.0, stand.member("pg-1")?.handed_over().await?))
}

/// Writes so many bytes of noise.
pub(crate) async fn say(
    to: &mut (impl AsyncWrite + Unpin),
    says: &mut Noise,
    bytes: usize,
) -> Result<()> {
    let mut left = bytes;
    while left > 0 {
        let some = says.next(left.min(256 * 1024));
        to.write_all(some).await.context("sending")?;
        left -= some.len();
    }
    Ok(())
}

/// Writes so many bytes of noise, and the end.
pub(crate) async fn send(
    mut to: impl AsyncWrite + Unpin,
    mut says: Noise,
    bytes: usize,
) -> Result<()> {
    say(&mut to, &mut says, bytes).await?;
    to.shutdown().await.context("sending the end")
}

/// Reads so many bytes of noise as fast as it can.
pub(crate) async fn receive(
    from: &mut (impl AsyncRead + Unpin),
    hears: &mut Noise,
    bytes: usize,
) -> Result<()> {
    let mut chunk = vec![0; 256 * 1024];
    let mut left = bytes;
    while left > 0 {
        let most = chunk.len().min(left);
        let reading = timeout(LONG, from.read(&mut chunk[..most])).await;
        let count = reading.context("nothing comes")??;
        ensure!(count > 0, "the end, {left} bytes too early");
        ensure!(hears.continues_with(&chunk[..count]), "wrong bytes");
        left -= count;
    }
    Ok(())
}

/// Writes noise until it is told to stop, then the end; how much it was.
pub(crate) async fn flood(
    mut to: impl AsyncWrite + Unpin,
    mut says: Noise,
    mut stop: watch::Receiver<bool>,
) -> Result<u64> {
    let mut total = 0;
    while !*stop.borrow_and_update() {
        let some = says.next(256 * 1024);
        to.write_all(some).await.context("flooding")?;
        total += some.len() as u64;
    }
    to.shutdown().await.context("ending the flood")?;
    Ok(total)
}

/// Reads noise to the end; how much it was.
pub(crate) async fn drain(from: impl AsyncRead + Unpin, hears: Noise) -> Result<u64> {
    let (told, _) = watch::channel(Heard::default());
    read_all(from, hears, 256 * 1024, Vec::new(), &told).await
}
