//! Sessions that were used once and then wait: what they cost is measured by their owner.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};

use super::log_in;
use crate::wire::Work;

/// What each says once, and hears.
const WORDS: [u8; 64] = [b'i'; 64];

/// Open sessions; closed on drop.
#[derive(Debug)]
pub(crate) struct Idle(Vec<TcpStream>);

impl Idle {
    /// Logs `count` sessions in, one after another, each with one round trip behind it.
    pub(crate) fn open(address: SocketAddr, count: usize) -> Result<Self> {
        let mut sessions = Vec::with_capacity(count);
        for number in 0..count {
            let one = || -> Result<TcpStream> {
                let mut stream = log_in(address, Work::Echo)?;
                let mut heard = [0; WORDS.len()];
                stream.write_all(&WORDS)?;
                stream.read_exact(&mut heard)?;
                ensure!(heard == WORDS, "other bytes came back than were sent");
                Ok(stream)
            };
            sessions.push(one().with_context(|| format!("opening idle session {number}"))?);
        }
        Ok(Self(sessions))
    }

    /// Has each say its words again: they are all still there.
    pub(crate) fn check(&mut self) -> Result<()> {
        for (number, stream) in self.0.iter_mut().enumerate() {
            let mut heard = [0; WORDS.len()];
            let talked = stream
                .write_all(&WORDS)
                .and_then(|()| stream.read_exact(&mut heard));
            talked.with_context(|| format!("using idle session {number} again"))?;
            ensure!(heard == WORDS, "idle session {number} is garbled");
        }
        Ok(())
    }
}
