//! What client and backend say to each other: a real start-up packet that names the work to be done, one byte for
//! sessions that do nothing else, and streams whose every byte follows from its place.
//!
//! It must not know sockets.

use anyhow::{Context, Result, bail};

/// What a session is for: the name of the database in its start-up packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// The backend repeats what it hears.
    Echo,
    /// The backend sends as many bytes of the pattern as it is granted, in grants of [`GRANT`] bytes each.
    Source,
    /// The backend checks and counts what it gets, and answers the end of it with the count.
    Sink,
}

/// The first byte of a session without a start-up packet: it is repeated, and the session ends. A start-up packet begins
/// with a zero.
pub(crate) const ONE_BYTE: u8 = b'x';
/// AuthenticationOk, ReadyForQuery: what a start-up packet is answered with.
pub(crate) const WELCOME: [u8; 15] = *b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
/// A grant: so many more bytes may be sent, in little-endian order. A count is written the same way.
pub(crate) const GRANT: usize = 8;
/// The count of a sink that got other bytes than were sent.
pub(crate) const GARBLED: u64 = u64::MAX;
/// How much is read or written at once.
pub(crate) const CHUNK: usize = 128 * 1024;
/// The pattern repeats after so many bytes: no divisor of a buffer or a pipe, so bytes that got lost or came twice
/// are noticed whatever the size of the piece.
const PERIOD: usize = 65_521;
/// How much of a piece is compared at either end of it.
const LOOK: usize = 64;
/// PostgreSQL takes no longer ones.
const LONGEST_STARTUP: usize = 10_000;

impl Work {
    const ALL: [Self; 3] = [Self::Echo, Self::Source, Self::Sink];

    const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Source => "source",
            Self::Sink => "sink",
        }
    }

    /// The start-up packet that asks for it.
    pub(crate) fn startup(self) -> Vec<u8> {
        let body = format!("user\0bench\0database\0{}\0\0", self.name());
        // A few dozen bytes.
        let length = u32::try_from(8 + body.len()).unwrap_or(u32::MAX);
        let protocol = 3_u32 << 16;
        [
            &length.to_be_bytes()[..],
            &protocol.to_be_bytes(),
            body.as_bytes(),
        ]
        .concat()
    }

    /// What the start-up packet in `bytes` asks for; nothing while it is incomplete. Whoever names no known work,
    /// as the router's own question does not, is answered and repeated to.
    pub(crate) fn asked_for(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(length) = bytes.first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if !(8..=LONGEST_STARTUP).contains(&length) {
            bail!("no start-up packet is {length} bytes long");
        }
        if bytes.len() < length {
            return Ok(None);
        }
        if bytes.len() > length {
            bail!("a client spoke on before it was welcomed");
        }
        let mut words = bytes[8..].split(|byte| *byte == 0);
        let mut database = None;
        while let Some(word) = words.next() {
            if word == b"database" {
                database = words.next();
            }
        }
        let named = |work: &Self| database == Some(work.name().as_bytes());
        Ok(Some(
            Self::ALL.into_iter().find(named).unwrap_or(Self::Echo),
        ))
    }
}

/// A stream of which every byte is known.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    /// The same one in every process.
    pub(crate) fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(0x7472_756e_6b6c_696e);
        let period: Vec<u8> = (0..PERIOD).map(|_| random.u8(..)).collect();
        let bytes = period
            .iter()
            .copied()
            .cycle()
            .take(PERIOD + CHUNK)
            .collect();
        Self(bytes)
    }

    /// The `length` bytes, at most [`CHUNK`], from `offset` of the stream on.
    pub(crate) fn at(&self, offset: u64, length: usize) -> &[u8] {
        // Smaller than the period, which is a usize.
        let start = (offset % PERIOD as u64) as usize;
        &self.0[start..start + length.min(CHUNK)]
    }

    /// Compares both ends of a piece of the stream: the whole would cost what is being measured.
    pub(crate) fn check(&self, offset: u64, piece: &[u8]) -> Result<()> {
        let look = piece.len().min(LOOK);
        let last = piece.len() - look;
        let fits = piece[..look] == *self.at(offset, look)
            && piece[last..] == *self.at(offset + last as u64, look);
        fits.then_some(())
            .with_context(|| format!("other bytes than were sent, at {offset} or soon after"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_startup_packet_names_the_work_it_asks_for() {
        for work in Work::ALL {
            let packet = work.startup();
            assert_eq!(Work::asked_for(&packet).unwrap(), Some(work));
            assert_eq!(Work::asked_for(&packet[..packet.len() - 1]).unwrap(), None);
        }
    }

    #[test]
    fn what_is_no_startup_packet_is_refused() {
        assert!(Work::asked_for(&[0, 0, 0, 1, 0, 0, 0, 0]).is_err());
        let two = [Work::Echo.startup(), b"more".to_vec()].concat();
        assert!(Work::asked_for(&two).is_err());
    }

    #[test]
    fn a_piece_of_the_stream_fits_its_own_place_only() {
        let pattern = Pattern::new();
        for offset in [0, 1, 65_520, 65_521, 1 << 40] {
            let piece = pattern.at(offset, 5_000).to_vec();
            pattern.check(offset, &piece).unwrap();
            // A lost buffer, pipe or page is noticed.
            for lost in [1, 4_096, 16_384, 65_536, 1 << 20] {
                assert!(pattern.check(offset + lost, &piece).is_err(), "{lost}");
            }
        }
        let mut changed = pattern.at(7, 3).to_vec();
        changed[1] ^= 1;
        assert!(pattern.check(7, &changed).is_err());
    }
}
