//! One session of the backend: greeted, then repeating, sending or counting.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::{Result, ensure};

use crate::poll::{For, Poll};
use crate::wire::{GARBLED, GRANT, ONE_BYTE, Pattern, WELCOME, Work};

/// While more than this is granted, nothing is to be heard from the client.
const PLENTY: u64 = 16 << 20;

/// Whether a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    Yes,
    No,
}

#[derive(Debug)]
pub(super) struct Session {
    stream: TcpStream,
    state: State,
    watched: For,
}

#[derive(Debug)]
enum State {
    /// Nothing heard yet, or not all of the start-up packet.
    Greeting(Vec<u8>),
    /// What is still to be written comes before anything more is read.
    Echo(Vec<u8>),
    Source {
        sent: u64,
        granted: u64,
        /// A grant that came in part.
        part: Vec<u8>,
    },
    Sink {
        got: u64,
        garbled: bool,
    },
}

impl Session {
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            state: State::Greeting(Vec::new()),
            watched: For::Reading,
        }
    }

    /// Does what can be done without waiting: one read, one write.
    pub(super) fn go_on(
        &mut self,
        poll: &Poll,
        number: usize,
        pattern: &Pattern,
        scratch: &mut [u8],
    ) -> Result<Open> {
        let (open, watch) = match &mut self.state {
            State::Greeting(_) => (self.greet(scratch)?, For::Reading),
            State::Echo(left) => echo(&mut self.stream, left, scratch)?,
            State::Source {
                sent,
                granted,
                part,
            } => source(&mut self.stream, (sent, granted, part), pattern)?,
            State::Sink { got, garbled } => {
                let open = sink(&mut self.stream, (got, garbled), pattern, scratch)?;
                (open, For::Reading)
            }
        };
        if open == Open::Yes && watch != self.watched {
            poll.change(&self.stream, number, watch)?;
            self.watched = watch;
        }
        Ok(open)
    }

    fn greet(&mut self, scratch: &mut [u8]) -> Result<Open> {
        let Some(got) = read(&mut self.stream, scratch)? else {
            return Ok(Open::Yes);
        };
        if got == 0 {
            return Ok(Open::No);
        }
        if scratch[0] == ONE_BYTE {
            // Whoever closes first keeps the port for a minute. Here it is a listener's: a client's, or a proxy's
            // towards us, would be missing among those the kernel has to choose from.
            self.stream.write_all(&scratch[..got])?;
            return Ok(Open::No);
        }
        let State::Greeting(heard) = &mut self.state else {
            return Ok(Open::No);
        };
        heard.extend_from_slice(&scratch[..got]);
        if let Some(work) = Work::asked_for(heard)? {
            // The first bytes of a session always fit.
            self.stream.write_all(&WELCOME)?;
            self.state = match work {
                Work::Echo => State::Echo(Vec::new()),
                Work::Source => State::Source {
                    sent: 0,
                    granted: 0,
                    part: Vec::new(),
                },
                Work::Sink => State::Sink {
                    got: 0,
                    garbled: false,
                },
            };
        }
        Ok(Open::Yes)
    }
}

fn echo(stream: &mut TcpStream, left: &mut Vec<u8>, scratch: &mut [u8]) -> Result<(Open, For)> {
    if !left.is_empty() {
        let written = write(stream, left)?;
        left.drain(..written);
        let watch = if left.is_empty() {
            For::Reading
        } else {
            For::Writing
        };
        return Ok((Open::Yes, watch));
    }
    let Some(got) = read(stream, scratch)? else {
        return Ok((Open::Yes, For::Reading));
    };
    if got == 0 {
        return Ok((Open::No, For::Reading));
    }
    let written = write(stream, &scratch[..got])?;
    if written == got {
        return Ok((Open::Yes, For::Reading));
    }
    left.extend_from_slice(&scratch[written..got]);
    Ok((Open::Yes, For::Writing))
}

fn source(
    stream: &mut TcpStream,
    (sent, granted, part): (&mut u64, &mut u64, &mut Vec<u8>),
    pattern: &Pattern,
) -> Result<(Open, For)> {
    if *granted - *sent < PLENTY {
        let mut heard = [0; 8 * GRANT];
        match read(stream, &mut heard)? {
            None => {}
            Some(0) => {
                ensure!(*granted == *sent, "a client left before it had everything");
                return Ok((Open::No, For::Reading));
            }
            Some(got) => part.extend_from_slice(&heard[..got]),
        }
        while let Some(more) = part.first_chunk::<GRANT>() {
            *granted += u64::from_le_bytes(*more);
            part.drain(..GRANT);
        }
    }
    let left = *granted - *sent;
    if left > 0 {
        let piece = pattern.at(*sent, usize::try_from(left).unwrap_or(usize::MAX));
        *sent += write(stream, piece)? as u64;
    }
    let watch = match *granted - *sent {
        0 => For::Reading,
        left if left < PLENTY => For::Both,
        _ => For::Writing,
    };
    Ok((Open::Yes, watch))
}

fn sink(
    stream: &mut TcpStream,
    (got, garbled): (&mut u64, &mut bool),
    pattern: &Pattern,
    scratch: &mut [u8],
) -> Result<Open> {
    let Some(read) = read(stream, scratch)? else {
        return Ok(Open::Yes);
    };
    if read > 0 {
        *garbled |= pattern.check(*got, &scratch[..read]).is_err();
        *got += read as u64;
        return Ok(Open::Yes);
    }
    let count = if *garbled { GARBLED } else { *got };
    stream.write_all(&count.to_le_bytes())?;
    Ok(Open::No)
}

/// How much was read; nothing where there was nothing to read yet.
fn read(stream: &mut TcpStream, into: &mut [u8]) -> Result<Option<usize>> {
    loop {
        match stream.read(into) {
            Ok(got) => return Ok(Some(got)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// How much there was room for.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<usize> {
    loop {
        match stream.write(bytes) {
            Ok(written) => return Ok(written),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}
