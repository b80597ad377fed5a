//! One question over the replication protocol: `IDENTIFY_SYSTEM`, which says the timeline of a standby. tokio-postgres
//! asks for no such connection, so its first message is given the one word more that makes it one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};
use trunkline_core::postgres::Silence;
use trunkline_core::{Lsn, Moment, SystemId, Timeline};
use trunkline_io::clock;

use super::{CONNECT, Place, Target, silence};
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
    let stream = tokio::time::timeout(CONNECT, connect(target))
        .await
        .map_err(|_elapsed| Silence::TimedOut)?
        .map_err(|error| Silence::Unreachable(error.to_string()))?;
    let mut config = Config::new();
    config.application_name("Patroni");
    super::login(&mut config, target);
    let stream = Replicating::new(stream);
    let (client, connection) = config
        .connect_raw(stream, NoTls)
        .await
        .map_err(|error| silence(&error))?;
    let rows = tokio::select! {
        biased;
        rows = client.simple_query("IDENTIFY_SYSTEM") => rows.map_err(|error| silence(&error))?,
        end = connection => {
            let closed = || Silence::Unreachable("the connection is closed".to_owned());
            return Err(end.err().map_or_else(closed, |error| silence(&error)));
        }
    };
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

/// A stream whose first message, the start-up packet, asks for replication too.
struct Replicating {
    stream: Box<dyn Stream>,
    /// What is to be written of the changed packet; `None` before there is one.
    packet: Option<Vec<u8>>,
}

/// What is added: a name and a value, each with its end. The packet's own end comes after.
const ADDED: &[u8] = b"replication\0true\0";

impl Replicating {
    const fn new(stream: Box<dyn Stream>) -> Self {
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

impl AsyncWrite for Replicating {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
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

impl AsyncRead for Replicating {
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
