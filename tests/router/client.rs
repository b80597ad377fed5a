//! A client that speaks as much of PostgreSQL's protocol as the tests need, byte by byte where they want it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Longer than any hold in these tests.
const ANSWER: Duration = Duration::from_secs(40);

pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
pub(crate) const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// What became of a login.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The session is open, with this member.
    Served(String),
    /// An ErrorResponse.
    Refused { code: String, message: String },
    /// The connection ended without one.
    Closed,
}

/// A StartupMessage of protocol 3.0.
pub(crate) fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0tester\0database\0postgres\0\0";
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], body].concat()
}

/// A CancelRequest with a key of `key` bytes: 4 in protocol 3.0, up to 256 in 3.2.
pub(crate) fn cancel_request(key: usize) -> Vec<u8> {
    let length = u32::try_from(12 + key).unwrap_or(u32::MAX);
    let mut packet = length.to_be_bytes().to_vec();
    packet.extend(((1234_u32 << 16) | 5678).to_be_bytes());
    packet.extend(4711_u32.to_be_bytes());
    packet.extend((0..=u8::MAX).cycle().take(key));
    packet
}

/// A connection to the router.
pub(crate) struct Client<S = TcpStream>(pub(crate) S);

impl Client {
    pub(crate) async fn connect(router: SocketAddr) -> Result<Self> {
        let stream = timeout(ANSWER, TcpStream::connect(router)).await??;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Connects and sends a StartupMessage.
    pub(crate) async fn ask(router: SocketAddr) -> Result<Self> {
        let mut client = Self::connect(router).await?;
        client.say(&startup()).await?;
        Ok(client)
    }

    /// Logs in and says with whom; a refusal is a failure.
    pub(crate) async fn login(router: SocketAddr) -> Result<(Self, String)> {
        Self::ask(router).await?.served().await
    }

    /// Whether nothing comes for `time`: no byte and no end.
    pub(crate) async fn waits(&mut self, time: Duration) -> bool {
        timeout(time, self.0.peek(&mut [0; 1])).await.is_err()
    }
}

impl Client<UnixStream> {
    /// Connects to a unix socket.
    pub(crate) async fn connect_at(path: &Path) -> Result<Self> {
        let connecting = timeout(ANSWER, UnixStream::connect(path)).await?;
        Ok(Self(connecting.with_context(|| {
            format!("connecting to {}", path.display())
        })?))
    }

    /// Connects there and sends a StartupMessage.
    pub(crate) async fn ask_at(path: &Path) -> Result<Self> {
        let mut client = Self::connect_at(path).await?;
        client.say(&startup()).await?;
        Ok(client)
    }

    /// Logs in there and says with whom; a refusal is a failure.
    pub(crate) async fn login_at(path: &Path) -> Result<(Self, String)> {
        Self::ask_at(path).await?.served().await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// The same client once it is logged in, and with whom.
    async fn served(mut self) -> Result<(Self, String)> {
        match self.answer().await? {
            Answer::Served(member) => Ok((self, member)),
            unserved @ (Answer::Refused { .. } | Answer::Closed) => {
                bail!("the login ended with {unserved:?}")
            }
        }
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes).await.context("writing")
    }

    /// Reads exactly `count` bytes.
    pub(crate) async fn hear(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        timeout(ANSWER, self.0.read_exact(&mut bytes))
            .await
            .with_context(|| format!("no {count} bytes within {ANSWER:?}"))?
            .with_context(|| format!("reading {count} bytes"))?;
        Ok(bytes)
    }

    /// Has `bytes` repeated by the server: the session lives.
    pub(crate) async fn echo(&mut self, bytes: &[u8]) -> Result<()> {
        self.say(bytes).await?;
        let heard = self.hear(bytes.len()).await?;
        ensure!(heard == bytes, "the echo differs");
        Ok(())
    }

    /// Waits until the other side has ended the connection, in order or by reset. Bytes before that fail.
    pub(crate) async fn ended(&mut self, within: Duration) -> Result<()> {
        match timeout(within, self.0.read(&mut [0; 1])).await {
            Err(_) => bail!("the connection still lives after {within:?}"),
            Ok(Ok(0) | Err(_)) => Ok(()),
            Ok(Ok(_)) => bail!("there were bytes instead of the end"),
        }
    }

    /// Reads messages until the login is decided.
    pub(crate) async fn answer(&mut self) -> Result<Answer> {
        timeout(ANSWER, self.decided())
            .await
            .with_context(|| format!("the login was not decided within {ANSWER:?}"))
    }

    async fn decided(&mut self) -> Answer {
        let mut member = String::new();
        while let Ok((kind, body)) = self.message().await {
            match kind {
                b'S' => member = fields(&body).get(1).cloned().unwrap_or_default(),
                b'Z' => return Answer::Served(member),
                b'E' => return refusal(&body),
                _ => {}
            }
        }
        Answer::Closed
    }

    async fn message(&mut self) -> Result<(u8, Vec<u8>)> {
        let kind = self.0.read_u8().await?;
        let length = self.0.read_u32().await?;
        ensure!((4..100_000).contains(&length), "a message of {length}");
        let mut body = vec![0; length as usize - 4];
        self.0.read_exact(&mut body).await?;
        Ok((kind, body))
    }
}

/// The member a login lands on.
pub(crate) async fn lands_on(router: SocketAddr) -> Result<String> {
    Ok(Client::login(router).await?.1)
}

fn refusal(body: &[u8]) -> Answer {
    let fields = fields(body);
    let field = |kind: char| {
        let found = fields.iter().find_map(|field| field.strip_prefix(kind));
        found.unwrap_or_default().to_owned()
    };
    Answer::Refused {
        code: field('C'),
        message: field('M'),
    }
}

/// Texts that each end with a zero byte.
fn fields(body: &[u8]) -> Vec<String> {
    body.split(|byte| *byte == 0)
        .map(|field| String::from_utf8_lossy(field).into_owned())
        .collect()
}
