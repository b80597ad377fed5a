//! One direction, copied through a buffer that belongs to the thread.
//!
//! Only what the receiver did not take at once is kept with the direction; an idle session owns no buffer.

use std::cell::RefCell;
use std::io::{self, Read};
use std::net::Shutdown;

use socket2::SockRef;

use super::{Side, would_block};
use crate::stream::Stream;

/// How much is read at once.
const BUFFER: usize = 64 * 1024;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// Bytes on their way from one socket to another.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// Read, not yet written.
    rest: Vec<u8>,
    ended: bool,
}

impl Direction {
    /// Whether the end has been passed on.
    pub(super) const fn is_over(&self) -> bool {
        self.ended
    }

    /// Gives up: the receiver takes no more.
    pub(super) fn abandon(&mut self) {
        *self = Self {
            rest: Vec::new(),
            ended: true,
        };
    }

    /// Whether nothing is waiting to be written.
    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Moves what can be moved; returns how many bytes were written. Passes the end on once everything before
    /// it is. Cancel safe: what was read is kept.
    pub(super) async fn step(&mut self, from: &Stream, to: &Stream) -> Result<u64, Side> {
        if !self.rest.is_empty() {
            to.writable().await.map_err(|_| Side::To)?;
            return self.write_rest(to);
        }
        from.readable().await.map_err(|_| Side::From)?;
        let read = |buffer: &mut [u8]| from.try_read(buffer);
        self.move_once(read, to).map(|moved| moved.unwrap_or(0))
    }

    /// The same for what is there already: `None` when there is nothing to read now. The kernel is asked, not the
    /// runtime, which may not have heard yet of the last bytes that came.
    pub(super) async fn step_if_ready(
        &mut self,
        from: &Stream,
        to: &Stream,
    ) -> Result<Option<u64>, Side> {
        if !self.rest.is_empty() {
            return self.step(from, to).await.map(Some);
        }
        if self.ended {
            Ok(None)
        } else {
            self.move_once(|buffer| (&*SockRef::from(from)).read(buffer), to)
        }
    }

    fn move_once(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
        to: &Stream,
    ) -> Result<Option<u64>, Side> {
        SHARED.with_borrow_mut(|buffer| match read(buffer) {
            Ok(0) => {
                self.ended = true;
                shutdown(to).map_err(|_| Side::To)?;
                Ok(Some(0))
            }
            Ok(count) => self
                .write(buffer.get(..count).unwrap_or_default(), to)
                .map(Some),
            Err(error) if would_block(&error) => Ok(None),
            Err(_) => Err(Side::From),
        })
    }

    fn write(&mut self, bytes: &[u8], to: &Stream) -> Result<u64, Side> {
        let written = match to.try_write(bytes) {
            Ok(written) => written,
            Err(error) if would_block(&error) => 0,
            Err(_) => return Err(Side::To),
        };
        self.rest
            .extend_from_slice(bytes.get(written..).unwrap_or_default());
        Ok(written as u64)
    }

    fn write_rest(&mut self, to: &Stream) -> Result<u64, Side> {
        match to.try_write(&self.rest) {
            Ok(written) => {
                self.rest.drain(..written);
                if self.rest.is_empty() {
                    self.rest = Vec::new();
                }
                Ok(written as u64)
            }
            Err(error) if would_block(&error) => Ok(0),
            Err(_) => Err(Side::To),
        }
    }
}

/// Tells the receiver that nothing more will come; it may still send.
pub(super) fn shutdown(stream: &Stream) -> io::Result<()> {
    match SockRef::from(stream).shutdown(Shutdown::Write) {
        // The other side is gone already: it knows.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        outcome => outcome,
    }
}
