//! Streams in one direction, as fast as they go: every one has a length both sides know and is checked to its end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::{Load, PATIENCE, Span, Tally, log_in_nonblocking};
use crate::poll::{For, Poll};
use crate::wire::{CHUNK, GARBLED, GRANT, Pattern, Work};

/// How much the backend is granted at once: never so little that it has to wait.
const PORTION: u64 = 32 << 20;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the server to the client.
    Down,
    /// From the client to the server.
    Up,
}

/// One thread's streams.
pub(crate) struct Bulk {
    poll: Poll,
    streams: Vec<Stream>,
    pattern: Pattern,
    way: Way,
}

struct Stream {
    socket: TcpStream,
    /// Bytes of the pattern that were read, or written.
    moved: u64,
    /// Down: how many there will be.
    granted: u64,
    /// Up: the count the server answered with, as it comes in.
    count: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Working,
    /// Our side has ended.
    Ending,
    Ended,
}

impl Bulk {
    pub(crate) fn open(address: SocketAddr, streams: usize, way: Way) -> Result<Self> {
        let (work, watch) = match way {
            Way::Down => (Work::Source, For::Reading),
            Way::Up => (Work::Sink, For::Writing),
        };
        let poll = Poll::new()?;
        let mut open = Vec::with_capacity(streams);
        for number in 0..streams {
            let socket = log_in_nonblocking(address, work)?;
            poll.add(&socket, number, watch)?;
            open.push(Stream {
                socket,
                moved: 0,
                granted: 0,
                count: Vec::new(),
                state: State::Working,
            });
        }
        Ok(Self {
            poll,
            streams: open,
            pattern: Pattern::new(),
            way,
        })
    }
}

impl Load for Bulk {
    fn run(mut self, span: Span) -> Result<Tally> {
        let (mut tally, mut ready) = (Tally::new()?, Vec::new());
        let mut scratch = vec![0; CHUNK];
        let mut open = self.streams.len();
        if self.way == Way::Down {
            for stream in &mut self.streams {
                stream.grant(2 * PORTION)?;
            }
        }
        while open > 0 {
            self.poll.wait(PATIENCE, &mut ready)?;
            ensure!(
                !ready.is_empty(),
                "nothing moved for {PATIENCE:?} in {open} streams"
            );
            for number in ready.drain(..) {
                let stream = &mut self.streams[number];
                match self.way {
                    Way::Down => stream.take(span, &mut tally, &self.pattern, &mut scratch)?,
                    Way::Up => {
                        stream.give(span, &mut tally, &self.pattern)?;
                        if stream.state == State::Ending {
                            self.poll.change(&stream.socket, number, For::Reading)?;
                        }
                    }
                }
                if stream.state == State::Ended {
                    self.poll.forget(&stream.socket)?;
                    open -= 1;
                }
            }
        }
        Ok(tally)
    }
}

impl Stream {
    fn grant(&mut self, more: u64) -> Result<()> {
        // Eight bytes into an empty buffer: they fit.
        self.socket
            .write_all(&more.to_le_bytes())
            .context("granting the server more")?;
        self.granted += more;
        Ok(())
    }

    fn take(
        &mut self,
        span: Span,
        tally: &mut Tally,
        pattern: &Pattern,
        scratch: &mut [u8],
    ) -> Result<()> {
        let got = match self.socket.read(scratch) {
            Ok(0) => {
                ensure!(
                    self.state == State::Ending,
                    "a stream ended {} bytes before its end",
                    self.granted - self.moved
                );
                self.state = State::Ended;
                return Ok(());
            }
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("reading a stream"),
        };
        pattern.check(self.moved, &scratch[..got])?;
        self.moved += got as u64;
        ensure!(
            self.moved <= self.granted,
            "a stream is longer than was asked for"
        );
        let now = Instant::now();
        if span.holds(now) {
            tally.done += got as u64;
        }
        if now < span.until {
            if self.granted - self.moved < PORTION {
                self.grant(PORTION)?;
            }
        } else if self.moved == self.granted {
            self.socket
                .shutdown(Shutdown::Write)
                .context("ending a stream")?;
            self.state = State::Ending;
        }
        Ok(())
    }

    fn give(&mut self, span: Span, tally: &mut Tally, pattern: &Pattern) -> Result<()> {
        if self.state == State::Ending {
            return self.hear_count();
        }
        let written = match self.socket.write(pattern.at(self.moved, CHUNK)) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("writing a stream"),
        };
        self.moved += written as u64;
        let now = Instant::now();
        if span.holds(now) {
            tally.done += written as u64;
        }
        if now >= span.until {
            self.socket
                .shutdown(Shutdown::Write)
                .context("ending a stream")?;
            self.state = State::Ending;
        }
        Ok(())
    }

    fn hear_count(&mut self) -> Result<()> {
        let mut heard = [0; 2 * GRANT];
        let got = match self.socket.read(&mut heard) {
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("waiting for the server's count"),
        };
        self.count.extend_from_slice(&heard[..got]);
        if got > 0 {
            return Ok(());
        }
        let count = <[u8; GRANT]>::try_from(&self.count[..]).ok();
        match count.map(u64::from_le_bytes) {
            Some(GARBLED) => bail!("the server got other bytes than were sent"),
            Some(count) => ensure!(
                count == self.moved,
                "{} bytes were sent and {count} came",
                self.moved
            ),
            None => bail!("the server answered with {:?}, not a count", self.count),
        }
        self.state = State::Ended;
        Ok(())
    }
}
