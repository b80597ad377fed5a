//! One question over the replication protocol: `IDENTIFY_SYSTEM`, which says the timeline of a standby. tokio-postgres
//! asks for no such connection, so its first message is given the one word more that makes it one.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};
use trunkline_core::postgres::Silence;
use trunkline_core::{Lsn, Moment, SystemId, Timeline};
use trunkline_io::clock;

use super::way::{Connector, Encrypted, Ways};
use super::{CONNECT, Place, Target};
use crate::postgres::remote::Identified;

/// Which system and timeline a PostgreSQL of this node is: of a standby the timeline it replays.
///
/// # Errors
/// When it does not say by the deadline.
pub async fn identify(target: &Target, deadline: Moment) -> Result<Identified, Silence> {
    let left = deadline.since(clock::now());
    match tokio::time::timeout(left, ask(target)).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(Silence::TimedOut),
    }
}

async fn ask(target: &Target) -> Result<Identified, Silence> {
    let mut config = Config::new();
    config.application_name("Patroni");
    super::login(&mut config, target);
    let mut ways = Ways::to(target)?;
    loop {
        let asked = match ways.next(&mut config).await? {
            None => {
                let stream = Replicating::new(within(connect(target)).await?);
                match config.connect_raw(stream, NoTls).await {
                    Ok((client, connection)) => asked(client, connection).await,
                    Err(error) => Err(error),
                }
            }
            Some(connector) => {
                let address = (target.host(), target.port);
                let stream = within(TcpStream::connect(address)).await?;
                over_tls(stream, config.clone(), connector).await
            }
        };
        match asked {
            Ok(rows) => return read(&rows),
            Err(error) => ways.refused(&error)?,
        }
    }
}

async fn within<T>(connects: impl Future<Output = io::Result<T>>) -> Result<T, Silence> {
    let connected = tokio::time::timeout(CONNECT, connects).await;
    let connected = connected.map_err(|_elapsed| Silence::TimedOut)?;
    connected.map_err(|error| Silence::Unreachable(error.to_string()))
}

/// Boxed, as its like for other questions.
fn over_tls(
    stream: TcpStream,
    config: Config,
    connector: Connector,
) -> Pin<Box<dyn Future<Output = Result<Vec<SimpleQueryMessage>, Error>> + Send>> {
    Box::pin(async move {
        let (stream, connector) = (Replicating::new(stream), ReplicatingConnector(connector));
        let (client, connection) = config.connect_raw(stream, connector).await?;
        asked(client, connection).await
    })
}

async fn asked(
    client: Client,
    connection: impl Future<Output = Result<(), Error>>,
) -> Result<Vec<SimpleQueryMessage>, Error> {
    let mut asks = pin!(client.simple_query("IDENTIFY_SYSTEM"));
    tokio::select! {
        biased;
        rows = &mut asks => rows,
        end = connection => match end {
            // What the server said when it closed says more than that it did.
            Err(said) => Err(said),
            Ok(()) => asks.await,
        }
    }
}

fn read(rows: &[SimpleQueryMessage]) -> Result<Identified, Silence> {
    let row = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => identified(row.get(0)?, row.get(1)?, row.get(2)?),
        SimpleQueryMessage::CommandComplete(_) | SimpleQueryMessage::RowDescription(_) | _ => None,
    });
    row.ok_or_else(|| Silence::Failed("IDENTIFY_SYSTEM was answered with nothing".to_owned()))
}

fn identified(system_id: &str, timeline: &str, position: &str) -> Option<Identified> {
    Some(Identified {
        system_id: SystemId::parse(system_id)?,
        timeline: Timeline(timeline.parse().ok()?),
        position: Lsn::parse(position)?,
    })
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn connect(target: &Target) -> io::Result<Box<dyn Stream>> {
    Ok(match &target.place {
        Place::Socket(directory) => {
            let socket = directory.join(format!(".s.PGSQL.{}", target.port));
            Box::new(UnixStream::connect(socket).await?)
        }
        Place::Host(host) => Box::new(TcpStream::connect((host.as_str(), target.port)).await?),
    })
}

/// A stream whose start-up packet, the first message in clear or over TLS, asks for replication too.
struct Replicating<S> {
    stream: S,
    /// What is to be written of the changed packet; `None` before there is one.
    packet: Option<Vec<u8>>,
}

/// The same over TLS, where the packet is inside.
struct ReplicatingConnector(Connector);

impl<S> TlsConnect<S> for ReplicatingConnector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Replicating<Encrypted<S>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Stream>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connects = self.0.connect(stream);
        Box::pin(async move { Ok(Replicating::new(connects.await?)) })
    }
}

impl<S: TlsStream + Unpin> TlsStream for Replicating<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// What is added: a name and a value, each with its end. The packet's own end comes after.
const ADDED: &[u8] = b"replication\0true\0";

/// What asks for TLS.
const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
/// What TLS begins with. No start-up packet does: it would be hundreds of megabytes long.
const HANDSHAKE: u8 = 0x16;

impl<S: AsyncWrite + Unpin> Replicating<S> {
    const fn new(stream: S) -> Self {
        Self {
            stream,
            packet: None,
        }
    }

    fn drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(packet) = self.packet.as_mut().filter(|packet| !packet.is_empty()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, packet))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            packet.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

/// The start-up packet with one more parameter; `None` if it is none. It begins with its length and ends with a zero.
fn with_replication(packet: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = packet.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length);
    let (end, parameters) = rest.split_last()?;
    if usize::try_from(length).ok()? != packet.len() || *end != 0 {
        return None;
    }
    let length = length.checked_add(u32::try_from(ADDED.len()).ok()?)?;
    let mut changed = length.to_be_bytes().to_vec();
    changed.extend_from_slice(parameters);
    changed.extend_from_slice(ADDED);
    changed.push(0);
    Some(changed)
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replicating<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.packet.is_none() && bytes == SSL_REQUEST {
            // The packet comes after the answer to this.
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        }
        if self.packet.is_none() && bytes.first() == Some(&HANDSHAKE) {
            // The packet goes inside.
            self.packet = Some(Vec::new());
        }
        if self.packet.is_none() {
            let Some(changed) = with_replication(bytes) else {
                let words = "the start-up packet was not written whole";
                return Poll::Ready(Err(io::Error::other(words)));
            };
            self.packet = Some(changed);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.drain(context))?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replicating<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_up_packet_gets_one_parameter_more() {
        let packet = b"\0\0\0\x13\0\x03\0\0user\0post\0\0";
        let changed = with_replication(packet).unwrap();
        assert_eq!(
            changed,
            b"\0\0\0\x24\0\x03\0\0user\0post\0replication\0true\0\0"
        );
        for bad in [
            &b""[..],
            b"\0\0\0\x12\0\x03\0\0user\0post\0\0",
            b"\0\0\0\x04",
        ] {
            assert_eq!(with_replication(bad), None, "{bad:?}");
        }
    }
}
