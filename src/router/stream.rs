//! A connection, whatever carries it: TCP, or a unix socket of this machine.
//!
//! What sessions and the pump do with a connection, and no more. Which kind it is matters to nobody else.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;
use trunkline_core::route::Address;

/// How soon after a unix socket's queue was full it is tried again.
const QUEUED: Duration = Duration::from_millis(10);

/// One connection.
#[derive(Debug)]
pub enum Stream {
    /// Over a network.
    Tcp(TcpStream),
    /// Within this machine.
    Unix(UnixStream),
}

impl Stream {
    /// Connects to `address`. The caller sets the deadline.
    ///
    /// # Errors
    /// As the system says.
    pub async fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => TcpStream::connect(address).await.map(Self::Tcp),
            Address::Unix(path) => Self::connect_at(path).await,
        }
    }

    /// A unix socket with a full queue says so at once, where TCP would try again: whoever listens is only busy.
    async fn connect_at(path: &Path) -> io::Result<Self> {
        loop {
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(QUEUED).await,
                outcome => return outcome.map(Self::Unix),
            }
        }
    }

    /// Ready when there may be something to read: bytes, the end, or what broke the connection.
    ///
    /// # Errors
    /// When the runtime is ending.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Ready when there may be room for something written.
    ///
    /// # Errors
    /// When the runtime is ending.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Reads what is there; zero bytes are the end. The kernel is asked only if the runtime believes that something
    /// is there, and what came short counts as all there was.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing is there, else what broke the connection.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let whole = buffer.len();
        self.try_all(Interest::READABLE, whole, || self.read_now(buffer))
    }

    /// Writes what there is room for. The kernel is asked only if the runtime believes that there is any, and what
    /// was taken short counts as all the room there was.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is none, else what broke the connection.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_all(Interest::WRITABLE, bytes.len(), || {
            Ok(rustix::net::send(self, bytes, SendFlags::NOSIGNAL)?)
        })
    }

    /// Reads what is there, whatever the runtime has heard of it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing is there, else what broke the connection.
    pub fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (read, _) = rustix::net::recv(self, buffer, RecvFlags::empty())?;
        Ok(read)
    }

    /// Calls `act` if the runtime believes that it can succeed; [`io::ErrorKind::WouldBlock`] from it has the runtime
    /// wait for news from the kernel.
    ///
    /// # Errors
    /// What `act` returns, or [`io::ErrorKind::WouldBlock`] if it was not called.
    pub fn try_io<R>(
        &self,
        interest: Interest,
        act: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        match self {
            Self::Tcp(stream) => stream.try_io(interest, act),
            Self::Unix(stream) => stream.try_io(interest, act),
        }
    }

    /// The same for an `act` that would move `whole` bytes if it could. One that moved fewer has found the end of
    /// what there is, and the kernel's "not now", which would come next, is taken as said: that spares every round
    /// trip a system call. Tokio's own `poll_read` does the same.
    ///
    /// No news can be lost by that. Readiness is edge-triggered, and the kernel queues an event for whatever comes
    /// (bytes, the end, a reset) *after* the call looked at the socket's queue, whether before or after this returns.
    /// If the driver has delivered it already (on another thread), it has counted the readiness on by a tick, and the
    /// older tick that is cleared here clears nothing. What came *before* the call looked was read by it, but for the
    /// end, which is never a part of a count: if its event was delivered together with that of the bytes, it stands as
    /// "read closed", which is never cleared; if not, the event is still to come. A reset is like the end.
    ///
    /// Only TCP is that simple: a read from a unix socket also stops short where somebody passed a descriptor. (One
    /// from TCP does at urgent data, which PostgreSQL knows nothing of: a peer that sends some delays what it sends
    /// behind it, to one of its next packets or its end.)
    fn try_all(
        &self,
        interest: Interest,
        whole: usize,
        act: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut moved = 0;
        let outcome = self.try_io(interest, || {
            moved = act()?;
            let is_short = 0 < moved && moved < whole;
            if is_short && matches!(self, Self::Tcp(_)) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(moved)
        });
        if moved > 0 { Ok(moved) } else { outcome }
    }

    /// Waits until the other side says something and leaves it there; zero bytes are the end.
    ///
    /// # Errors
    /// What broke the connection.
    pub async fn peek(&self) -> io::Result<usize> {
        let mut byte = [MaybeUninit::uninit(); 1];
        let look = || SockRef::from(self).peek(&mut byte);
        match self {
            Self::Tcp(stream) => stream.async_io(Interest::READABLE, look).await,
            Self::Unix(stream) => stream.async_io(Interest::READABLE, look).await,
        }
    }

    /// Waits until the other side says something, ends its half or goes; returns how much of it is over.
    ///
    /// # Errors
    /// When the runtime is ending.
    pub async fn stirs(&self) -> io::Result<Over> {
        let interest = Interest::READABLE | Interest::ERROR;
        let ready = match self {
            Self::Tcp(stream) => stream.ready(interest).await?,
            Self::Unix(stream) => stream.ready(interest).await?,
        };
        Ok(if ready.is_error() || self.is_gone() {
            Over::Both
        } else if ready.is_read_closed() {
            Over::Half
        } else {
            Over::Nothing
        })
    }

    /// Whether the other side has closed both halves. TCP tells once something is sent; a unix socket knows: where
    /// nobody would read it, even nothing cannot be sent.
    fn is_gone(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Unix(stream) => SockRef::from(stream)
                .send(&[])
                .is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock),
        }
    }

    /// The bare socket, which the runtime no longer follows. Its peer notices nothing.
    ///
    /// # Errors
    /// When the runtime cannot let go of it.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(OwnedFd::from),
            Self::Unix(stream) => stream.into_std().map(OwnedFd::from),
        }
    }
}

/// How much of a connection the other side has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nothing that is known of.
    Nothing,
    /// It sends no more.
    Half,
    /// It is gone.
    Both,
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;

    /// Both ends, the second as a bare socket.
    fn pair() -> (Stream, UnixStream) {
        let (one, other) = UnixStream::pair().unwrap();
        (Stream::Unix(one), other)
    }

    #[tokio::test]
    async fn a_unix_client_that_closed_one_half_is_told_from_one_that_left() {
        let (stream, client) = pair();
        SockRef::from(&client).shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.stirs().await.unwrap(), Over::Half);
        drop(client);
        assert_eq!(stream.stirs().await.unwrap(), Over::Both);
    }

    #[tokio::test]
    async fn what_is_peeked_at_is_still_there_and_the_end_is_seen_as_such() {
        let (stream, client) = pair();
        client.try_write(b"here").unwrap();
        assert_eq!(stream.peek().await.unwrap(), 1);
        let mut heard = [0; 8];
        assert_eq!(stream.try_read(&mut heard).unwrap(), 4);
        let none = stream.try_read(&mut heard).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        drop(client);
        assert_eq!(stream.peek().await.unwrap(), 0);
    }
}
