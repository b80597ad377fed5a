//! A listening socket, whatever it listens on, and the file that a unix socket has.
//!
//! The file is this router's only as long as it listens there: what a router that died has left is cleared away, what
//! somebody else answers on or what is no socket at all is left alone.

use std::fs::{self, File, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

use crate::peer::Peer;
use crate::socket::BACKLOG;
use crate::stream::Stream;

/// Who may connect: everybody, as with PostgreSQL's own sockets. It is PostgreSQL that asks who is there.
const MODE: u32 = 0o777;
/// How long another process may keep the directory to itself while it opens a socket there.
const TURN: Duration = Duration::from_secs(2);
/// How soon it is tried again to have a socket watched.
const NO_WATCH: Duration = Duration::from_millis(100);
/// How often it is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// One listening socket. It does not block, and no runtime knows of it: whoever answers there watches it for as long as
/// they do.
#[derive(Debug)]
pub enum Doorstep {
    /// A TCP port.
    Tcp(TcpListener),
    /// A unix socket; its file goes first, so that nobody who looks finds it deserted.
    Unix {
        /// The file, where it is ours to remove: a service manager's is not.
        file: Option<SocketFile>,
        /// The socket.
        listener: UnixListener,
    },
}

impl Doorstep {
    /// The next client of those who are connected already.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is none, else as the system says: a client that left, or no
    /// descriptor to be had.
    pub fn next(&self) -> io::Result<Client> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (socket, address) = acceptfrom_with(self, flags)?;
        Ok(Client {
            peer: Peer::of(socket.as_fd(), address),
            socket: match self {
                Self::Tcp(_) => Accepted::Tcp(socket),
                Self::Unix { .. } => Accepted::Unix(socket),
            },
        })
    }

    /// Has the runtime that runs this watch the socket. As long as the system has no place for it, that is tried again.
    pub async fn watch(self: Arc<Self>) -> Watched {
        loop {
            #[expect(
                unsafe_code,
                reason = "tokio has no safe way to register a descriptor of one's own"
            )]
            // SAFETY: a doorstep owns its listening socket, never changes it for another, and lives as long as the
            // `Arc` that the AsyncFd keeps.
            let watched =
                unsafe { AsyncFd::register_with_interest(Arc::clone(&self), Interest::READABLE) };
            match watched {
                Ok(watched) => return Watched(watched),
                Err(error) => {
                    tracing::error!("a listening socket cannot be watched: {error}");
                    sleep(NO_WATCH).await;
                }
            }
        }
    }
}

impl AsFd for Doorstep {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix { listener, .. } => listener.as_fd(),
        }
    }
}

impl AsRawFd for Doorstep {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// A listening socket that a runtime watches. It is not watched any more when this is dropped.
#[derive(Debug)]
pub struct Watched(AsyncFd<Arc<Doorstep>>);

impl Watched {
    /// Waits for clients and adds up to `most` of them to `clients`: a wake-up costs more than an accept. Cancel safe.
    ///
    /// # Errors
    /// As the system says, of the first one; what happens after that is met by the next call.
    pub async fn accept(&self, clients: &mut Vec<Client>, most: usize) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        for taken in 0..most {
            match ready.try_io(|doorstep| doorstep.get_ref().next()) {
                Ok(Ok(client)) => clients.push(client),
                Ok(Err(error)) if taken == 0 => return Err(error),
                // The queue is empty, or the same will be said again.
                Ok(Err(_)) | Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// A client that was accepted.
#[derive(Debug)]
pub struct Client {
    /// Who it is.
    pub peer: Peer,
    /// Its socket.
    pub socket: Accepted,
}

/// A connection that no runtime knows of yet: it may be handed to any.
#[derive(Debug)]
pub enum Accepted {
    /// Over a network.
    Tcp(OwnedFd),
    /// Within this machine.
    Unix(OwnedFd),
}

impl Accepted {
    /// The connection, watched by the runtime that runs this.
    ///
    /// # Errors
    /// When the system has no place for one more socket to be watched.
    pub fn stream(self) -> io::Result<Stream> {
        match self {
            Self::Tcp(socket) => TcpStream::from_std(socket.into()).map(Stream::Tcp),
            Self::Unix(socket) => UnixStream::from_std(socket.into()).map(Stream::Unix),
        }
    }
}

/// Whether an error of accepting is the one connection's that it came of, and says nothing of the next (accept(2): Linux
/// passes on what had happened to the new socket already).
#[must_use]
pub fn is_of_one_client(error: &io::Error) -> bool {
    const ITS_OWN: [Errno; 15] = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::INTR,
        Errno::NETDOWN,
        Errno::NETRESET,
        Errno::NETUNREACH,
        Errno::NONET,
        Errno::NOPROTOOPT,
        Errno::OPNOTSUPP,
        Errno::PERM,
        Errno::PIPE,
        Errno::PROTO,
        Errno::TIMEDOUT,
    ];
    Errno::from_io_error(error).is_some_and(|errno| ITS_OWN.contains(&errno))
}

/// The file of a socket that is listened on.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Its device and its number there: another file of that name is somebody else's.
    id: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            id: id(&fs::symlink_metadata(path)?),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|found| id(&found) == self.id);
        // A directory that was made unwritable meanwhile keeps it: the next start clears it away.
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            let path = self.path.display();
            tracing::warn!(%path, "removing the file of a closed socket failed: {error}");
        }
    }
}

fn id(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Listens on a unix socket at `path`.
///
/// # Errors
/// When somebody listens there already, when something else than a socket is there, and as the system says.
pub async fn listen_at(path: &Path) -> io::Result<Doorstep> {
    // Two routers that start together must not clear each other's socket away: one at a time, as long as it takes
    // to look and to listen. Whoever closes the file gives the turn on.
    let _turn = turn(path).await?;
    clear(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::of(path)?;
    // Whoever connects before it is listened on is refused, whatever the mode is until then.
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)?;
    Ok(Doorstep::Unix {
        file: Some(file),
        listener: socket.into(),
    })
}

/// The right to open a socket in the directory of `path`, for as long as the file that comes back is open.
async fn turn(path: &Path) -> io::Result<File> {
    let directory = File::open(path.parent().unwrap_or(path)).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("its directory cannot be opened: {error}"),
        )
    })?;
    for _ in 0..TURN.as_millis() / LOOK_AGAIN.as_millis() {
        match directory.try_lock() {
            Ok(()) => return Ok(directory),
            Err(fs::TryLockError::WouldBlock) => sleep(LOOK_AGAIN).await,
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    let what = "another process keeps its directory locked";
    Err(io::Error::new(io::ErrorKind::ResourceBusy, what))
}

/// Removes a socket that nobody listens on.
fn clear(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        let what = "something is there that is no socket; it is left alone";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // One that does not take the connection at once has a queue, so somebody listens.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Err(in_use()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(in_use()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("a socket is there, and whether somebody listens cannot be told: {error}"),
        )),
    }
}

fn in_use() -> io::Error {
    let what = "address in use: somebody listens on that socket already";
    io::Error::new(io::ErrorKind::AddrInUse, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_clients(count: usize) -> (Doorstep, Vec<std::net::TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |_| std::net::TcpStream::connect(address).unwrap();
        let clients = (0..count).map(connect).collect();
        (Doorstep::Tcp(listener), clients)
    }

    #[tokio::test]
    async fn those_who_wait_are_let_in_a_few_at_a_time_and_nobody_is_forgotten() {
        let (doorstep, waiting) = with_clients(5);
        let watched = Arc::new(doorstep).watch().await;
        let mut clients = Vec::new();
        let mut seen = Vec::new();
        while clients.len() < waiting.len() {
            watched.accept(&mut clients, 2).await.unwrap();
            seen.push(clients.len());
        }
        assert_eq!(seen, [2, 4, 5]);
        for (client, waited) in clients.into_iter().zip(waiting) {
            assert_eq!(client.peer, Peer::Tcp(waited.local_addr().unwrap()));
            assert!(matches!(client.socket.stream(), Ok(Stream::Tcp(_))));
        }
    }

    #[test]
    fn an_empty_queue_is_no_error_of_a_client() {
        let (doorstep, _none) = with_clients(0);
        let error = doorstep.next().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(!is_of_one_client(&error));
    }

    #[test]
    fn what_accept_says_of_one_connection_is_told_from_what_the_machine_lacks() {
        let is_its_own = |errno: Errno| is_of_one_client(&errno.into());
        for errno in [
            Errno::CONNABORTED,
            Errno::PERM,
            Errno::NETDOWN,
            Errno::PROTO,
            Errno::NETUNREACH,
            Errno::HOSTUNREACH,
            Errno::NOPROTOOPT,
        ] {
            assert!(is_its_own(errno), "{errno}");
        }
        for errno in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::INVAL,
        ] {
            assert!(!is_its_own(errno), "{errno}");
        }
    }

    #[test]
    fn a_client_on_a_unix_socket_is_called_by_its_process() {
        let directory = std::env::temp_dir().join(format!("trunkline-peer-{}", std::process::id()));
        let listener = UnixListener::bind(&directory).unwrap();
        let _client = std::os::unix::net::UnixStream::connect(&directory).unwrap();
        fs::remove_file(&directory).unwrap();
        let doorstep = Doorstep::Unix {
            file: None,
            listener,
        };
        let peer = doorstep.next().unwrap().peer;
        let ours = format!("unix pid={} uid=", std::process::id());
        assert!(peer.to_string().starts_with(&ours), "{peer}");
        assert_eq!(peer.ip(), None);
    }
}
