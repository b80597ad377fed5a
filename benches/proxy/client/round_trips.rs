//! Questions and answers: each session has one message under way, and sends the next when all of it came back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::{Load, PATIENCE, Span, Tally, log_in_nonblocking};
use crate::poll::{For, Poll};
use crate::wire::{CHUNK, Pattern, Work};

/// One thread's sessions.
pub(crate) struct RoundTrips {
    poll: Poll,
    sessions: Vec<Session>,
}

struct Session {
    stream: TcpStream,
    /// The message under way: no two of a session begin alike.
    message: Vec<u8>,
    number: u64,
    sent: usize,
    got: usize,
    began: Instant,
    state: State,
    watched: For,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Working,
    /// Nothing but the end is to come.
    Ending,
    Ended,
}

impl RoundTrips {
    /// Logs `sessions` in that will send messages of `size` bytes, at most a buffer's length.
    pub(crate) fn open(address: SocketAddr, sessions: usize, size: usize) -> Result<Self> {
        ensure!(
            (8..=CHUNK).contains(&size),
            "messages are 8 to {CHUNK} bytes long, not {size}"
        );
        let (poll, pattern) = (Poll::new()?, Pattern::new());
        let mut open = Vec::with_capacity(sessions);
        for number in 0..sessions {
            let stream = log_in_nonblocking(address, Work::Echo)?;
            poll.add(&stream, number, For::Reading)?;
            open.push(Session {
                stream,
                message: pattern.at(number as u64 * 64, size).to_vec(),
                number: (number as u64) << 40,
                sent: 0,
                got: 0,
                began: Instant::now(),
                state: State::Working,
                watched: For::Reading,
            });
        }
        Ok(Self {
            poll,
            sessions: open,
        })
    }
}

impl Load for RoundTrips {
    fn run(mut self, span: Span) -> Result<Tally> {
        let (mut tally, mut ready) = (Tally::new()?, Vec::new());
        let mut scratch = vec![0; CHUNK];
        let mut open = self.sessions.len();
        for (number, session) in self.sessions.iter_mut().enumerate() {
            session.begin(Instant::now())?;
            session.watch(&self.poll, number)?;
        }
        while open > 0 {
            self.poll.wait(PATIENCE, &mut ready)?;
            ensure!(
                !ready.is_empty(),
                "nothing moved for {PATIENCE:?} in {open} sessions"
            );
            for number in ready.drain(..) {
                let session = &mut self.sessions[number];
                session.go_on(span, &mut tally, &mut scratch)?;
                session.watch(&self.poll, number)?;
                open -= usize::from(session.state == State::Ended);
            }
        }
        Ok(tally)
    }
}

impl Session {
    fn begin(&mut self, now: Instant) -> Result<()> {
        self.number += 1;
        self.message[..8].copy_from_slice(&self.number.to_le_bytes());
        (self.sent, self.got, self.began) = (0, 0, now);
        self.send()
    }

    fn send(&mut self) -> Result<()> {
        match self.stream.write(&self.message[self.sent..]) {
            Ok(written) => self.sent += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("sending a message"),
        }
        Ok(())
    }

    fn go_on(&mut self, span: Span, tally: &mut Tally, scratch: &mut [u8]) -> Result<()> {
        if self.state == State::Ending {
            // One byte more than was asked for would be found here.
            return match self.stream.read(scratch) {
                Ok(0) => {
                    self.state = State::Ended;
                    Ok(())
                }
                Ok(got) => bail!("{got} bytes came that nobody asked for"),
                Err(error) => Err(error).context("waiting for the end of a session"),
            };
        }
        if self.sent < self.message.len() {
            self.send()?;
        }
        let left = self.message.len() - self.got;
        let got = match self.stream.read(&mut scratch[..left]) {
            Ok(0) => bail!("a session ended amid its answer, {left} bytes before its end"),
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("reading an answer"),
        };
        ensure!(
            scratch[..got] == self.message[self.got..self.got + got],
            "an answer is not what was sent"
        );
        self.got += got;
        if self.got < self.message.len() {
            return Ok(());
        }
        let now = Instant::now();
        // One that began in time is waited for and counts: a stall at the window's end is one, too.
        if span.holds(self.began) {
            tally.note(now - self.began);
        }
        if now < span.until {
            return self.begin(now);
        }
        self.stream
            .shutdown(Shutdown::Write)
            .context("ending a session")?;
        self.state = State::Ending;
        Ok(())
    }

    fn watch(&mut self, poll: &Poll, number: usize) -> Result<()> {
        let unsent = self.state == State::Working && self.sent < self.message.len();
        let watch = if unsent { For::Both } else { For::Reading };
        if watch != self.watched && self.state != State::Ended {
            poll.change(&self.stream, number, watch)?;
            self.watched = watch;
        }
        if self.state == State::Ended {
            poll.forget(&self.stream)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::wire::WELCOME;

    const WINDOW: Duration = Duration::from_millis(100);

    #[test]
    fn a_round_trip_that_began_in_the_window_counts_however_late_it_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream
                .read_exact(&mut vec![0; Work::Echo.startup().len()])
                .unwrap();
            stream.write_all(&WELCOME).unwrap();
            let mut message = [0; 64];
            stream.read_exact(&mut message).unwrap();
            std::thread::sleep(2 * WINDOW);
            stream.write_all(&message).unwrap();
            assert_eq!(stream.read(&mut message).unwrap(), 0);
        });
        let load = RoundTrips::open(address, 1, 64).unwrap();
        let from = Instant::now();
        let until = from + WINDOW;
        let tally = load.run(Span { from, until }).unwrap();
        server.join().unwrap();
        assert_eq!(tally.done, 1);
        assert!(tally.microseconds_at(1.0) >= 199_000.0);
    }
}
