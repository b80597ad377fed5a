//! The PostgreSQL of a fake member: it knows the first packets of the protocol, says which member it is, and
//! from there on repeats what it hears.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener};
use tokio::sync::{Mutex as Turn, mpsc, watch};
use tokio::task::JoinSet;

use super::switch::{Mode, Switch};

/// What a fake PostgreSQL does with a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Postgres {
    /// Declines encryption, lets everybody in, says its member's name, repeats what it hears.
    Accepting,
    /// Refuses every login with 57P03, "the database system is starting up".
    Starting,
    /// Closes after the first packet, without an answer.
    Closing,
    /// Nobody listens.
    Refused,
    /// Accepts and never answers, as a frozen postmaster's kernel does.
    Frozen,
    /// As `Accepting`, but one byte at a time with pauses.
    Slow,
    /// As `Accepting`, but clients have to wait for the first word: a login trigger is at work, say.
    Hesitant,
    /// Speaks before it has heard anything, then repeats what it hears.
    SpeaksFirst,
    /// Grants encryption; whatever follows is opaque, and repeated.
    Encrypting,
    /// Logs in as `Accepting`; then the connection is the test's, see `FakeMember::handed_over`.
    HandOver,
}

impl Mode for Postgres {
    fn refuses(self) -> bool {
        self == Self::Refused
    }
}

/// What a server says that speaks first.
pub const GREETING: &[u8] = b"I speak first\n";

const CANCEL: u32 = (1234 << 16) | 5678;
const SSL: u32 = (1234 << 16) | 5679;
const GSSENC: u32 = (1234 << 16) | 5680;
/// Long enough to be a pause, short enough that a login of a hundred bytes takes a second.
const SLOW: Duration = Duration::from_millis(10);
/// Longer than the router is patient with a server that may be dead.
const HESITATION: Duration = Duration::from_secs(5);
/// Sessions that were handed over and not fetched: more than any test has.
const HANDED: usize = 64;

/// What came in.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) connections: u64,
    pub(super) startups: Vec<Vec<u8>>,
    pub(super) cancels: Vec<Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct FakePostgres {
    pub(super) address: SocketAddr,
    pub(super) mode: Switch<Postgres>,
    shared: Arc<Shared>,
    handed: Turn<mpsc::Receiver<TcpStream>>,
    doors: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    seen: Mutex<Seen>,
    hang_up: watch::Sender<u64>,
    hand: mpsc::Sender<TcpStream>,
    through_unix: AtomicU64,
}

impl FakePostgres {
    pub(super) async fn start(name: &str, address: SocketAddr) -> Result<Self> {
        let (hand, handed) = mpsc::channel(HANDED);
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            seen: Mutex::default(),
            hang_up: watch::Sender::new(0),
            hand,
            through_unix: AtomicU64::new(0),
        });
        let serving = Arc::clone(&shared);
        let serve = move |stream, mode| {
            serving.note(|seen| seen.connections += 1);
            let (shared, mut crashed) = (Arc::clone(&serving), serving.hang_up.subscribe());
            tokio::spawn(async move {
                tokio::select! {
                    _ = crashed.changed() => {}
                    // A client that breaks off is the client's business.
                    _ended = shared.serve(stream, mode) => {}
                }
            });
        };
        Ok(Self {
            address,
            mode: Switch::start(address, Postgres::Accepting, serve).await?,
            shared,
            handed: Turn::new(handed),
            doors: Mutex::default(),
        })
    }

    pub(super) fn seen(&self) -> Seen {
        self.shared
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A door for this machine: whoever comes in by it meets the server as by TCP, whatever mode it is in.
    pub(super) fn listen_at(&self, path: &Path) -> Result<()> {
        let door = UnixListener::bind(path).with_context(|| path.display().to_string())?;
        let (shared, address) = (Arc::clone(&self.shared), self.address);
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.spawn(async move {
            let mut inside = JoinSet::new();
            while let Ok((mut client, _)) = door.accept().await {
                shared.through_unix.fetch_add(1, Ordering::Relaxed);
                inside.spawn(async move {
                    let mut server = TcpStream::connect(address).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Ok(())
    }

    pub(super) fn through_unix(&self) -> u64 {
        self.shared.through_unix.load(Ordering::Relaxed)
    }

    pub(super) fn hang_up(&self) {
        self.shared.hang_up.send_modify(|times| *times += 1);
    }

    pub(super) async fn handed_over(&self) -> Result<TcpStream> {
        let mut handed = self.handed.lock().await;
        tokio::time::timeout(Duration::from_secs(20), handed.recv())
            .await
            .with_context(|| format!("no session came to {}", self.shared.name))?
            .context("the fake PostgreSQL is gone")
    }
}

impl Shared {
    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn serve(&self, mut stream: TcpStream, mode: Postgres) -> io::Result<()> {
        stream.set_nodelay(true)?;
        match mode {
            Postgres::Frozen => return std::future::pending().await,
            Postgres::SpeaksFirst => {
                stream.write_all(GREETING).await?;
                return echo(stream).await;
            }
            Postgres::Accepting
            | Postgres::Starting
            | Postgres::Closing
            | Postgres::Refused
            | Postgres::Slow
            | Postgres::Hesitant
            | Postgres::Encrypting
            | Postgres::HandOver => {}
        }
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length).await?;
            let size = u32::from_be_bytes(length);
            if !(8..=10_000).contains(&size) {
                // No PostgreSQL packet: a real server would close, this one shows what reached it.
                stream.write_all(&length).await?;
                return echo(stream).await;
            }
            let mut packet = length.to_vec();
            packet.resize(size as usize, 0);
            stream.read_exact(&mut packet[4..]).await?;
            let code = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
            match code {
                CANCEL => {
                    self.note(|seen| seen.cancels.push(packet));
                    return Ok(());
                }
                SSL | GSSENC if mode == Postgres::Encrypting => {
                    stream.write_all(b"S").await?;
                    return echo(stream).await;
                }
                SSL | GSSENC => stream.write_all(b"N").await?,
                _startup if is_the_routers_question(&packet) => {
                    self.note(|seen| seen.connections -= 1);
                    let is_for_clients = matches!(mode, Postgres::HandOver | Postgres::Hesitant);
                    let mode = if is_for_clients {
                        Postgres::Accepting
                    } else {
                        mode
                    };
                    return self.answer(stream, mode).await;
                }
                _startup => {
                    self.note(|seen| seen.startups.push(packet));
                    return self.answer(stream, mode).await;
                }
            }
        }
    }

    /// After a StartupMessage.
    async fn answer(&self, mut stream: TcpStream, mode: Postgres) -> io::Result<()> {
        match mode {
            Postgres::Starting => stream.write_all(&starting_up()).await,
            Postgres::Closing => Ok(()),
            Postgres::Slow => {
                for byte in welcome(&self.name) {
                    stream.write_all(&[byte]).await?;
                    tokio::time::sleep(SLOW).await;
                }
                echo(stream).await
            }
            Postgres::Hesitant => {
                tokio::time::sleep(HESITATION).await;
                stream.write_all(&welcome(&self.name)).await?;
                echo(stream).await
            }
            Postgres::HandOver => {
                stream.write_all(&welcome(&self.name)).await?;
                // The test may have ended.
                drop(self.hand.send(stream).await);
                Ok(())
            }
            Postgres::Accepting
            | Postgres::Refused
            | Postgres::Frozen
            | Postgres::SpeaksFirst
            | Postgres::Encrypting => {
                stream.write_all(&welcome(&self.name)).await?;
                echo(stream).await
            }
        }
    }
}

/// Whether a StartupMessage is no client's but the router's own, which asks whether connections are accepted.
fn is_the_routers_question(packet: &[u8]) -> bool {
    let user = b"user\0trunkline\0";
    packet.windows(user.len()).any(|window| window == user)
}

/// Repeats everything; passes the end on after it.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let (mut read, mut write) = stream.split();
    tokio::io::copy(&mut read, &mut write).await?;
    write.shutdown().await
}

/// AuthenticationOk, the member's name as a ParameterStatus, ReadyForQuery.
fn welcome(name: &str) -> Vec<u8> {
    let status = [b"trunkline.member\0", name.as_bytes(), b"\0"].concat();
    [
        message(b'R', &[0; 4]),
        message(b'S', &status),
        message(b'Z', b"I"),
    ]
    .concat()
}

/// An ErrorResponse as a starting server sends it.
fn starting_up() -> Vec<u8> {
    message(
        b'E',
        b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0",
    )
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    // No message here comes near the limit.
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&[kind], &length.to_be_bytes()[..], body].concat()
}
