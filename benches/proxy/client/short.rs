//! Sessions that come, say one byte, hear it repeated, and go: a fixed number of them at a time.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use super::{Load, PATIENCE, Span, Tally};
use crate::poll::{For, Poll};
use crate::wire::ONE_BYTE;

/// One thread's sessions: as one ends, the next begins in its place.
pub(crate) struct Short {
    address: SocketAddr,
    places: usize,
}

/// Connections that were closed keep their ports for a minute, unless the kernel may reuse them: without that a few
/// seconds of this work use all of them up, the proxy's first.
pub(crate) fn check_ports() -> Result<()> {
    let path = "/proc/sys/net/ipv4/tcp_tw_reuse";
    let value = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    ensure!(
        value.trim() != "0",
        "short sessions would run out of ports: set net.ipv4.tcp_tw_reuse to 2, as is the kernel's default, or leave \
         them out with --only"
    );
    Ok(())
}

struct Session {
    stream: TcpStream,
    began: Instant,
    /// Whether it is still being connected, so that nothing could be said yet.
    silent: bool,
}

impl Short {
    pub(crate) const fn new(address: SocketAddr, places: usize) -> Self {
        Self { address, places }
    }

    fn begin(&self, poll: &Poll, number: usize) -> Result<Session> {
        let mut session = Session::connect(self.address)
            .with_context(|| format!("connecting to {}", self.address))?;
        session.speak()?;
        let watch = if session.silent {
            For::Writing
        } else {
            For::Reading
        };
        poll.add(&session.stream, number, watch)?;
        Ok(session)
    }
}

impl Load for Short {
    fn run(self, span: Span) -> Result<Tally> {
        let (mut tally, mut ready) = (Tally::new()?, Vec::new());
        let poll = Poll::new()?;
        let mut sessions = (0..self.places)
            .map(|number| self.begin(&poll, number))
            .collect::<Result<Vec<Session>>>()?;
        let mut open = sessions.len();
        while open > 0 {
            poll.wait(PATIENCE, &mut ready)?;
            ensure!(
                !ready.is_empty(),
                "nothing moved for {PATIENCE:?} in {open} sessions"
            );
            for number in ready.drain(..) {
                let session = &mut sessions[number];
                if session.silent {
                    session.speak()?;
                    if !session.silent {
                        poll.change(&session.stream, number, For::Reading)?;
                    }
                    continue;
                }
                if !session.has_heard()? {
                    continue;
                }
                let now = Instant::now();
                if span.holds(now) {
                    tally.note(now - session.began);
                }
                if now < span.until {
                    // The old one is closed as it is replaced.
                    *session = self.begin(&poll, number)?;
                } else {
                    poll.forget(&session.stream)?;
                    open -= 1;
                }
            }
        }
        Ok(tally)
    }
}

impl Session {
    fn connect(address: SocketAddr) -> Result<Self> {
        let began = Instant::now();
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            stream: socket.into(),
            began,
            silent: true,
        })
    }

    /// Says its byte, if it is connected: on one machine it is as a rule.
    fn speak(&mut self) -> Result<()> {
        match self.stream.write(&[ONE_BYTE]) {
            Ok(_) => self.silent = false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("saying a byte"),
        }
        Ok(())
    }

    fn has_heard(&mut self) -> Result<bool> {
        let mut heard = [0; 2];
        match self.stream.read(&mut heard) {
            Ok(1) if heard[0] == ONE_BYTE => Ok(true),
            Ok(0) => bail!("a session ended without an answer"),
            Ok(got) => bail!("a byte was answered with {:?}", &heard[..got]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error).context("hearing a byte"),
        }
    }
}
