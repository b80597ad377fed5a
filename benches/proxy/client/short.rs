//! Sessions that come, say one byte, hear it repeated and the end of it, and go: a fixed number of them at a time.
//!
//! They go last on purpose. The side that closes first keeps the connection's ports for a minute (TIME_WAIT), and a
//! client that did would have the kernel search through its own used ports at every connect: the search would be
//! measured, not the proxy.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

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

struct Session {
    stream: TcpStream,
    began: Instant,
    /// Whether it is still being connected, so that nothing could be said yet.
    silent: bool,
    /// How long the answer took, once it is there.
    took: Option<Duration>,
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
                let Some(took) = session.heard_out()? else {
                    continue;
                };
                // One that began in time is waited for and counts: a stall at the window's end is one, too.
                if span.holds(session.began) {
                    tally.note(took);
                }
                if Instant::now() < span.until {
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
            took: None,
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

    /// How long the answer took, once the other side has ended after it.
    fn heard_out(&mut self) -> Result<Option<Duration>> {
        loop {
            let mut heard = [0; 2];
            match (self.stream.read(&mut heard), self.took) {
                (Ok(1), None) if heard[0] == ONE_BYTE => self.took = Some(self.began.elapsed()),
                (Ok(0), Some(took)) => return Ok(Some(took)),
                (Ok(0), None) => bail!("a session ended without an answer"),
                (Ok(got), None) => bail!("a byte was answered with {:?}", &heard[..got]),
                (Ok(got), Some(_)) => bail!("{got} bytes came that nobody asked for"),
                (Err(error), _) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                (Err(error), _) => return Err(error).context("hearing a byte"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const WINDOW: Duration = Duration::from_millis(100);

    /// What a server that answers `answer` after twice the window makes of one session.
    fn against(answer: &'static [u8]) -> Result<Tally> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let short = Short::new(listener.local_addr().unwrap(), 1);
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = [0];
            stream.read_exact(&mut heard).unwrap();
            std::thread::sleep(2 * WINDOW);
            stream.write_all(answer).unwrap();
        });
        let from = Instant::now();
        let until = from + WINDOW;
        let tally = short.run(Span { from, until });
        server.join().unwrap();
        tally
    }

    #[test]
    fn a_session_that_began_in_the_window_counts_however_late_it_ends() {
        let tally = against(&[ONE_BYTE]).unwrap();
        assert_eq!(tally.done, 1);
        assert!(tally.microseconds_at(1.0) >= 199_000.0);
    }

    #[test]
    fn an_answer_that_is_missing_wrong_or_too_long_ends_the_measurement() {
        for wrong in [&b""[..], b"y", b"xx"] {
            let failure = against(wrong).unwrap_err().to_string();
            assert!(!failure.is_empty(), "{wrong:?}");
        }
    }
}
