//! R8: bytes are exact. Whatever the chunking, stalls and half-closes, what goes in comes out, in order, and the end
//! after the data; also where a session's traffic changes between small turns and bulk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use trunkline_support::background::spawn;

use crate::client::Client;
use crate::flow::{Act, LONG, MIB, Noise, Part, drain, flood, hand_over, receive, session};
use crate::stand::{Plan, SOON, Stand, on};
use crate::watch::alone;

/// Sessions at once.
const SESSIONS: u64 = 48;

/// A stretch of a conversation.
#[derive(Clone, Copy, Debug)]
enum Stretch {
    /// The client says something, the server answers; so many times.
    Turns {
        count: usize,
        up: usize,
        down: usize,
    },
    /// Both ways at once, as fast as the other takes it, `chunk` bytes at a time.
    Bulk {
        up: usize,
        down: usize,
        chunk: usize,
    },
    /// Nothing happens.
    Silence(Duration),
}

/// Who finishes first, and what the other still has to say.
#[derive(Clone, Copy, Debug)]
enum End {
    Client { then_down: usize },
    Server { then_up: usize },
    Both,
}

/// Both sides of a conversation.
struct Conversation {
    client: Part,
    server: Part,
}

impl Conversation {
    fn new(seed: u64, stretches: &[Stretch], end: End) -> Self {
        let (up, down) = (Noise::new(seed), Noise::new(!seed));
        let part = |says, hears| Part {
            says,
            hears,
            acts: Vec::new(),
            gulp: 256 * 1024,
            stalls: Vec::new(),
            expected: 0,
        };
        let (client, server) = (part(up, down), part(down, up));
        let mut talk = Self { client, server };
        for stretch in stretches {
            talk.stretch(*stretch);
        }
        match end {
            End::Client { then_down } => {
                talk.server.acts.push(Act::HearTheEnd);
                talk.server_writes(then_down, 64 * 1024);
            }
            End::Server { then_up } => {
                talk.client.acts.push(Act::HearTheEnd);
                talk.client_writes(then_up, 64 * 1024);
            }
            End::Both => {}
        }
        talk
    }

    fn stretch(&mut self, stretch: Stretch) {
        match stretch {
            Stretch::Turns { count, up, down } => {
                for _ in 0..count {
                    self.client_writes(up, up);
                    self.server.acts.push(Act::Hear(self.server.expected));
                    self.server_writes(down, down);
                    self.client.acts.push(Act::Hear(self.client.expected));
                }
            }
            Stretch::Bulk { up, down, chunk } => {
                self.client_writes(up, chunk);
                self.server_writes(down, chunk);
            }
            Stretch::Silence(time) => {
                self.client.acts.push(Act::Hear(self.client.expected));
                self.server.acts.push(Act::Hear(self.server.expected));
                self.client.acts.push(Act::Pause(time));
                self.server.acts.push(Act::Pause(time));
            }
        }
    }

    fn client_writes(&mut self, bytes: usize, chunk: usize) {
        self.client.acts.push(Act::Write { bytes, chunk });
        self.server.expected += bytes as u64;
    }

    fn server_writes(&mut self, bytes: usize, chunk: usize) {
        self.server.acts.push(Act::Write { bytes, chunk });
        self.client.expected += bytes as u64;
    }

    /// Any conversation at all: most are small, some big.
    fn random(seed: u64) -> (Self, String) {
        let mut rng = Rng::with_seed(seed);
        let most = match rng.u32(..12) {
            0 => 12 * MIB,
            1..5 => MIB,
            _ => 20_000,
        };
        let count = rng.usize(1..6);
        let stretches: Vec<Stretch> = (0..count).map(|_| any_stretch(&mut rng, most)).collect();
        let after = any_size(&mut rng, most);
        let end = match rng.u32(..3) {
            0 => End::Client { then_down: after },
            1 => End::Server { then_up: after },
            _ => End::Both,
        };
        let mut talk = Self::new(seed, &stretches, end);
        for part in [&mut talk.client, &mut talk.server] {
            part.gulp = any_size(&mut rng, 256 * 1024).max(512);
            let mut at = 0;
            for _ in 0..rng.usize(..4) {
                at += rng.u64(..=part.expected);
                part.stalls
                    .push((at, Duration::from_millis(rng.u64(1..300))));
            }
        }
        (talk, format!("{stretches:?}, {end:?}"))
    }
}

fn any_stretch(rng: &mut Rng, most: usize) -> Stretch {
    match rng.u32(..5) {
        0 | 1 => Stretch::Turns {
            count: rng.usize(1..60),
            up: any_size(rng, 5000),
            down: any_size(rng, 20_000),
        },
        2 => Stretch::Bulk {
            up: any_size(rng, most),
            down: any_size(rng, most),
            chunk: any_size(rng, 100_000).max(most / 2000),
        },
        3 => Stretch::Bulk {
            up: 0,
            down: rng.usize(..=most),
            chunk: 256 * 1024,
        },
        _ => Stretch::Silence(Duration::from_millis(rng.u64(1..200))),
    }
}

/// Small ones are as likely as big ones.
fn any_size(rng: &mut Rng, most: usize) -> usize {
    let digits = rng.u32(..=most.ilog2());
    rng.usize(1..=most.min(2 << digits))
}

/// A number from the environment, if it is there.
fn told(name: &str) -> Result<Option<u64>> {
    match std::env::var(name) {
        Ok(number) => number
            .parse()
            .map(Some)
            .with_context(|| format!("{name}= is no number")),
        Err(_not_set) => Ok(None),
    }
}

/// Random conversations, many at once, each of them compared with what it should have been.
async fn converse(stand: &Stand, path: &Path, seed: u64) -> Result<()> {
    let mut talks = JoinSet::new();
    for number in 0..SESSIONS {
        let (talk, what) = Conversation::random(seed.wrapping_add(number));
        let (caller, way) = if number % 3 == 0 {
            (Caller::Unix(Client::login_at(path).await?.0.0), "unix")
        } else {
            (Caller::Tcp(Client::login(stand.write()).await?.0.0), "TCP")
        };
        let server = stand.member("pg-1")?.handed_over().await?;
        talks.spawn(async move {
            let server = spawn(talk.server.play(server));
            let client = caller.play(talk.client).await.context("the client");
            let server = server.await?.context("the server");
            let failed = [client.err(), server.err()];
            let failed: Vec<_> = failed.iter().flatten().map(|e| format!("{e:#}")).collect();
            let all = failed.join("; ");
            ensure!(
                failed.is_empty(),
                "session {number} by {way}: {all}: {what}"
            );
            Ok(())
        });
    }
    while let Some(talk) = talks.join_next().await {
        talk??;
    }
    Ok(())
}

/// Has the router serve clients of a unix socket too; returns its path.
async fn by_unix(stand: &mut Stand) -> Result<PathBuf> {
    let path = stand.state().join("door");
    let text = std::fs::read_to_string(stand.router.file())?;
    let (before, after) = text.split_once("  read: ").context("no read listener")?;
    let local = format!("  local: {{bind: {}, to: primary}}", path.display());
    let text = format!("{before}{local}\n  read: {after}");
    std::fs::write(stand.router.file(), text)?;
    stand.router.process().hang_up()?;
    stand.logged("local is new").await?;
    Ok(path)
}

/// A client of either kind.
enum Caller {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Caller {
    async fn play(self, part: Part) -> Result<()> {
        match self {
            Self::Tcp(stream) => part.play(stream).await,
            Self::Unix(stream) => part.play(stream).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_chunks_the_stalls_and_the_order_of_the_ends_every_byte_arrives() -> Result<()>
{
    let _alone = alone().await;
    // Longer with `SEEDS=`, the same again with `SEED=`.
    let first = told("SEED")?;
    let rounds = told("SEEDS")?.unwrap_or(1);
    on(Plan::default(), async |stand| {
        hand_over(stand).await?;
        let path = by_unix(stand).await?;
        for _ in 0..rounds {
            let seed = first.unwrap_or_else(|| fastrand::u64(..));
            let outcome = converse(stand, &path, seed).await;
            outcome.with_context(|| format!("SEED={seed} does the same again"))?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_may_turn_from_small_turns_to_bulk_and_back_again_and_again() -> Result<()> {
    let _alone = alone().await;
    on(Plan::default(), async |stand| {
        hand_over(stand).await?;
        let turns = Stretch::Turns {
            count: 300,
            up: 64,
            down: 200,
        };
        let bulk = |up, down| Stretch::Bulk {
            up: up * MIB,
            down: down * MIB,
            chunk: 256 * 1024,
        };
        let stretches = [
            turns,
            bulk(0, 48),
            turns,
            bulk(32, 0),
            turns,
            bulk(16, 16),
            Stretch::Silence(Duration::from_millis(300)),
            turns,
            bulk(0, 24),
        ];
        for end in [
            End::Client {
                then_down: 16 * MIB,
            },
            End::Server { then_up: 16 * MIB },
        ] {
            let talk = Conversation::new(7, &stretches, end);
            let (client, server) = session(stand).await?;
            let server = spawn(talk.server.play(server));
            talk.client.play(client).await.context("the client")?;
            server.await?.context("the server")?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_messages_go_up_at_once_while_bulk_comes_down() -> Result<()> {
    let _alone = alone().await;
    on(Plan::default(), async |stand| {
        hand_over(stand).await?;
        let (client, server) = session(stand).await?;
        let (mut client_read, mut client_write) = client.into_split();
        let (mut server_read, server_write) = server.into_split();
        let (stop, stopped) = watch::channel(false);
        let flooding = spawn(flood(server_write, Noise::new(1), stopped));
        let mut hears = Noise::new(1);
        receive(&mut client_read, &mut hears, 8 * MIB).await?;
        let draining = spawn(drain(client_read, hears));
        let mut says = Noise::new(2);
        for number in 0..500 {
            let message = says.next(64);
            client_write.write_all(message).await?;
            let mut heard = vec![0; message.len()];
            timeout(SOON / 4, server_read.read_exact(&mut heard))
                .await
                .with_context(|| format!("message {number} was left lying"))??;
            ensure!(heard == message, "message {number} is another");
        }
        stop.send_replace(true);
        client_write.shutdown().await?;
        let sent = timeout(LONG, flooding).await???;
        let came = timeout(LONG, draining).await??? + 8 * MIB as u64;
        ensure!(sent == came, "{came} bytes of {sent}");
        Ok(())
    })
    .await
}
