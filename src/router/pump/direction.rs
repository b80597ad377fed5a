//! One direction: bytes on their way from one socket to another.
//!
//! A step reads what is there and writes it at once; what the receiver does not take is held, and nothing more is
//! read until it has gone. So a direction holds no more than one read, and holds nothing at all while it is idle:
//! the buffer belongs to the thread, and the pipe goes back the moment it is empty.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;

use super::pace::Pace;
use super::pipes::{self, Pipe};
use crate::stream::Stream;

/// How much is copied at once.
const BUFFER: usize = 64 * 1024;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// One direction of a session.
#[derive(Debug, Default)]
pub(super) struct Direction {
    held: Held,
    pace: Pace,
    is_over: bool,
}

/// What was read and is not written yet.
#[derive(Debug, Default)]
pub(super) enum Held {
    /// Nothing is on its way.
    #[default]
    Nothing,
    /// Bytes, of which some may be written.
    Bytes(Rest),
    /// A pipe with so many bytes in it; never none.
    Piped(Pipe, usize),
}

/// Bytes of which the first are written already.
#[derive(Debug)]
pub(super) struct Rest {
    bytes: Box<[u8]>,
    written: usize,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The receiver took so many bytes; none if it has no room, or if there was nothing to read after all.
    Moved(usize),
    /// There is nothing to read now.
    Nothing,
    /// The sender has ended, and the receiver has everything before that. It is the caller who tells it.
    End,
}

/// Which end of a direction broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    From,
    To,
}

impl Direction {
    /// A direction that goes on from where another was.
    pub(super) fn resumed(held: Held, is_over: bool) -> Self {
        Self {
            held,
            pace: Pace::default(),
            is_over,
        }
    }

    /// Whether nothing will be moved any more.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether nothing waits to be written.
    pub(super) const fn is_empty(&self) -> bool {
        matches!(self.held, Held::Nothing)
    }

    /// What waits to be written, and whether nothing will be moved any more.
    pub(super) fn into_parts(self) -> (Held, bool) {
        (self.held, self.is_over)
    }

    /// Gives up: the receiver takes no more.
    pub(super) fn abandon(&mut self) {
        self.held = Held::Nothing;
        self.is_over = true;
    }

    /// One step, as soon as one can be made. Nothing is lost between two of them.
    pub(super) fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        from: &Stream,
        to: &Stream,
    ) -> Poll<Result<Step, Side>> {
        if !self.is_empty() {
            ready!(to.poll_write_ready(cx)).map_err(|_| Side::To)?;
            return Poll::Ready(self.write_held(to));
        }
        ready!(from.poll_read_ready(cx)).map_err(|_| Side::From)?;
        Poll::Ready(if self.pace.is_stream() {
            self.splice(from, to)
        } else {
            self.copy(|buffer| from.try_read(buffer), to)
        })
    }

    /// A step with what is there already: the kernel is asked, not the runtime, which may not have heard yet of the
    /// last bytes that came.
    pub(super) fn poll_last_step(
        &mut self,
        cx: &mut Context<'_>,
        from: &Stream,
        to: &Stream,
    ) -> Poll<Result<Step, Side>> {
        if !self.is_empty() {
            return self.poll_step(cx, from, to);
        }
        if self.is_over {
            return Poll::Ready(Ok(Step::Nothing));
        }
        Poll::Ready(self.copy(|buffer| from.read_now(buffer), to))
    }

    fn copy(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
        to: &Stream,
    ) -> Result<Step, Side> {
        SHARED.with_borrow_mut(|buffer| {
            let count = match read(buffer) {
                Ok(0) => return Ok(self.end()),
                Ok(count) => count,
                Err(error) => return not_now(&error).ok_or(Side::From),
            };
            self.pace.note(count);
            let bytes = buffer.get(..count).unwrap_or_default();
            let written = taken(to.try_write(bytes))?;
            if let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
                self.held = Held::Bytes(Rest::of(rest.into()));
            }
            Ok(Step::Moved(written))
        })
    }

    /// The kernel moves what there is into an empty pipe, and on. No count of either call says that more would not
    /// have gone (a pipe is also full when its slots are): only "would block" does.
    fn splice(&mut self, from: &Stream, to: &Stream) -> Result<Step, Side> {
        let Some(pipe) = pipes::take() else {
            self.pace.found_no_pipe();
            return Ok(Step::Moved(0));
        };
        let filled = from.try_io(Interest::READABLE, || pipe.fill(from));
        match filled {
            // The end, or urgent data, before which the kernel's splice stops for good: only a read can tell.
            Ok(0) => {
                pipes::give_back(pipe);
                self.pace = Pace::default();
                Ok(Step::Moved(0))
            }
            Ok(count) => {
                self.pace.note(count);
                self.pour(pipe, count, to)
            }
            Err(error) => {
                pipes::give_back(pipe);
                if is_unsupported(&error) {
                    self.pace.cannot_splice();
                    return Ok(Step::Moved(0));
                }
                // Woken in vain some times, it reads again: behind urgent data there is nothing to be spliced, ever.
                self.pace.note(0);
                not_now(&error).ok_or(Side::From)
            }
        }
    }

    fn pour(&mut self, pipe: Pipe, held: usize, to: &Stream) -> Result<Step, Side> {
        let poured = to.try_io(Interest::WRITABLE, || pipe.pour(to, held));
        if poured.as_ref().is_err_and(is_unsupported) {
            // Never seen for a socket that takes bytes at all. What was read is not lost for it.
            self.pace.cannot_splice();
            let bytes = pipe.read_out(held).map_err(|_| Side::To)?;
            self.held = Held::Bytes(Rest::of(bytes.into()));
            return Ok(Step::Moved(0));
        }
        let written = taken(poured)?;
        if written < held {
            self.held = Held::Piped(pipe, held - written);
        } else {
            pipes::give_back(pipe);
        }
        Ok(Step::Moved(written))
    }

    fn write_held(&mut self, to: &Stream) -> Result<Step, Side> {
        match std::mem::take(&mut self.held) {
            Held::Nothing => Ok(Step::Moved(0)),
            Held::Piped(pipe, held) => self.pour(pipe, held, to),
            Held::Bytes(mut rest) => {
                let written = taken(to.try_write(rest.left()))?;
                rest.written += written;
                if !rest.left().is_empty() {
                    self.held = Held::Bytes(rest);
                }
                Ok(Step::Moved(written))
            }
        }
    }

    const fn end(&mut self) -> Step {
        self.is_over = true;
        Step::End
    }
}

impl Rest {
    pub(super) const fn of(bytes: Box<[u8]>) -> Self {
        Self { bytes, written: 0 }
    }

    pub(super) fn left(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }
}

/// How much a receiver took that may have had no room.
fn taken(outcome: io::Result<usize>) -> Result<usize, Side> {
    match outcome {
        Ok(written) => Ok(written),
        Err(error) if not_now(&error).is_some() => Ok(0),
        Err(_) => Err(Side::To),
    }
}

/// The step that was none, if the error means that there is nothing to be had now, or that somebody interrupted.
fn not_now(error: &io::Error) -> Option<Step> {
    let is = |kind| error.kind() == kind;
    if is(io::ErrorKind::WouldBlock) {
        Some(Step::Nothing)
    } else {
        is(io::ErrorKind::Interrupted).then_some(Step::Moved(0))
    }
}

/// Whether an error of splice says that these two cannot be spliced, and nothing of the connection.
fn is_unsupported(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let of = Errno::from_io_error(error);
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM]
        .iter()
        .any(|unsupported| of == Some(*unsupported))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_call_that_a_signal_interrupted_is_made_again_and_breaks_no_side() {
        let interrupted = || io::Error::from(Errno::INTR);
        assert_eq!(not_now(&interrupted()), Some(Step::Moved(0)));
        assert_eq!(taken(Err(interrupted())), Ok(0));
    }

    #[test]
    fn what_the_kernel_does_not_splice_is_no_fault_of_the_connection() {
        for errno in [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM] {
            assert!(is_unsupported(&errno.into()), "{errno}");
        }
        for errno in [Errno::CONNRESET, Errno::PIPE, Errno::AGAIN] {
            assert!(!is_unsupported(&errno.into()), "{errno}");
        }
    }
}
