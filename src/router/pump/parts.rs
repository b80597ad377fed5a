//! A session taken apart, so that another process can go on with it.
//!
//! Descriptors travel beside plain data. Nothing is closed, reset or said by taking apart: whoever has the parts has
//! the session.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::ioctl_fionread;
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockRef};
use tokio::net::{TcpStream, UnixStream};

use super::direction::{Direction, Held, Rest};
use super::pipes::Pipe;
use super::{First, Pump};
use crate::stream::Stream;
use crate::traffic::{Bytes, Traffic};

/// A session that is not being pumped: what [`Pump::take_apart`] gave.
#[derive(Debug)]
pub struct Parts {
    /// What is plain data.
    pub state: State,
    /// The client's socket, the server's, and both ends (the one to read first) of every pipe that `state` speaks of:
    /// the one up to the server first.
    pub descriptors: Vec<OwnedFd>,
}

/// What is known of a session beside its descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    up: Leg,
    down: Leg,
    first: Option<First>,
    is_client_gone: bool,
    from_client: u64,
    from_server: u64,
}

/// The same of one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Leg {
    held: Load,
    is_over: bool,
}

/// What was read and is not written yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Load {
    Nothing,
    Bytes(Vec<u8>),
    /// So many bytes are in its pipe.
    Piped(usize),
}

/// Why parts are none of a session.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// There are not as many descriptors as the state speaks of.
    #[error("taking over a session: its state speaks of {expected} descriptors, {found} came")]
    Descriptors {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A pipe does not hold what the state says.
    #[error("taking over a session: a pipe of it should hold {expected} bytes and holds {found}")]
    Pipe {
        /// How many bytes it should hold.
        expected: usize,
        /// How many it holds.
        found: u64,
    },
    /// A descriptor is none that can be used here.
    #[error("taking over a session: one of its descriptors cannot be used: {0}")]
    Descriptor(#[from] io::Error),
}

impl State {
    /// What was moved until it was taken apart.
    #[must_use]
    pub const fn bytes(&self) -> Bytes {
        Bytes {
            from_client: self.from_client,
            from_server: self.from_server,
        }
    }

    /// How many descriptors belong to it.
    #[must_use]
    pub const fn descriptors(&self) -> usize {
        2 + self.up.descriptors() + self.down.descriptors()
    }
}

impl Pump {
    /// Takes the session apart. Between two polls of [`Pump::run`] (when it was dropped, say) that loses nothing and
    /// repeats nothing.
    ///
    /// # Errors
    /// When the runtime cannot let go of a socket; the session is lost then.
    pub fn take_apart(self) -> io::Result<Parts> {
        let bytes = self.traffic.bytes();
        let mut descriptors = vec![self.client.into_fd()?, self.server.into_fd()?];
        let up = Leg::of(self.up, &mut descriptors);
        let down = Leg::of(self.down, &mut descriptors);
        let state = State {
            up,
            down,
            first: self.first,
            is_client_gone: self.is_client_gone,
            from_client: bytes.from_client,
            from_server: bytes.from_server,
        };
        Ok(Parts { state, descriptors })
    }

    /// Puts together what was taken apart, here or in another process, on the current runtime. `traffic` has to be
    /// new: it counts on from where the session was.
    ///
    /// # Errors
    /// When the parts do not belong together, or cannot be used here.
    pub fn put_together(parts: Parts, traffic: Arc<Traffic>) -> Result<Self, Unfit> {
        let Parts { state, descriptors } = parts;
        let (expected, found) = (state.descriptors(), descriptors.len());
        if expected != found {
            return Err(Unfit::Descriptors { expected, found });
        }
        let mut descriptors = descriptors.into_iter();
        let mut next = || {
            descriptors
                .next()
                .ok_or(Unfit::Descriptors { expected, found })
        };
        let client = stream(next()?)?;
        let server = stream(next()?)?;
        let up = state.up.put_together(&mut next)?;
        let down = state.down.put_together(&mut next)?;
        traffic.up(state.from_client);
        traffic.down(state.from_server);
        Ok(Self {
            up,
            down,
            first: state.first,
            is_client_gone: state.is_client_gone,
            ..Self::new(client, server, traffic)
        })
    }
}

impl Leg {
    fn of(direction: Direction, descriptors: &mut Vec<OwnedFd>) -> Self {
        let (held, is_over) = direction.into_parts();
        let held = match held {
            Held::Nothing => Load::Nothing,
            Held::Bytes(rest) => Load::Bytes(rest.left().to_vec()),
            Held::Piped(pipe, held) => {
                let (reader, writer) = pipe.into_ends();
                descriptors.extend([reader, writer]);
                Load::Piped(held)
            }
        };
        Self { held, is_over }
    }

    const fn descriptors(&self) -> usize {
        match self.held {
            Load::Nothing | Load::Bytes(_) => 0,
            Load::Piped(_) => 2,
        }
    }

    fn put_together(
        self,
        next: &mut impl FnMut() -> Result<OwnedFd, Unfit>,
    ) -> Result<Direction, Unfit> {
        let held = match self.held {
            Load::Nothing => Held::Nothing,
            Load::Bytes(bytes) => Held::Bytes(Rest::of(bytes.into())),
            Load::Piped(held) => Held::Piped(pipe(next()?, next()?, held)?, held),
        };
        Ok(Direction::resumed(held, self.is_over))
    }
}

/// The pipe of these ends, if it holds what it should.
fn pipe(reader: OwnedFd, writer: OwnedFd, expected: usize) -> Result<Pipe, Unfit> {
    let found = ioctl_fionread(&reader).map_err(io::Error::from)?;
    if found != expected as u64 {
        return Err(Unfit::Pipe { expected, found });
    }
    Ok(Pipe::adopt(reader, writer))
}

/// The connection of this socket, on the current runtime.
fn stream(socket: OwnedFd) -> io::Result<Stream> {
    let is_unix = SockRef::from(&socket).domain()? == Domain::UNIX;
    SockRef::from(&socket).set_nonblocking(true)?;
    if is_unix {
        UnixStream::from_std(socket.into()).map(Stream::Unix)
    } else {
        TcpStream::from_std(socket.into()).map(Stream::Tcp)
    }
}
