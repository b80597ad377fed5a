//! The pipes that bytes are spliced through: made when they are wanted, kept for the next, never more than allowed.
//!
//! A direction has a pipe only while something is in it, so a few serve many sessions. Each thread keeps the ones it
//! has emptied; how many there are is counted for the process, because descriptors are the process's. No pipe is
//! never an error: whoever wanted one copies.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
};

use crate::stream::Stream;

/// How large a pipe is wanted: the most an unprivileged process may ask for (`fs.pipe-max-size`). That is 256 slots,
/// and a slot takes what came in one piece: 1,448 bytes from many a network.
const SIZE: usize = 1024 * 1024;
/// How much is put into one at once; the sender's window opens after each. A quarter or four times as much made no
/// difference that stood out (benches/README.md).
const FILL: usize = 256 * 1024;
/// Past `fs.pipe-user-pages-soft` the kernel makes smaller pipes without a word. Below this they are worse than
/// copying.
const LEAST: usize = 64 * 1024;
/// How many pipes a process may have unless it was told otherwise.
const MOST: u32 = 64;

/// How many empty ones a thread keeps. One is enough for all of its directions that are not stalled, and what one
/// thread keeps another cannot have.
const SPARE: usize = 2;

static ALLOWED: AtomicU32 = AtomicU32::new(MOST);
static WANTED: AtomicUsize = AtomicUsize::new(SIZE);
static OPEN: AtomicU32 = AtomicU32::new(0);
static DENIED: AtomicU64 = AtomicU64::new(0);
static SHRUNK: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static EMPTY: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// How it stands with the process's pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipes {
    /// How many there are, empty ones included.
    pub open: u32,
    /// How often there was none to be had, since the start.
    pub denied: u64,
    /// How many the kernel made smaller than wanted, since the start.
    pub shrunk: u64,
}

/// Sets how many pipes the process may have, two descriptors each. Those it has already stay until they are empty.
pub fn allow(pipes: u32) {
    ALLOWED.store(pipes, Ordering::Relaxed);
}

/// Sets how many bytes a pipe made from now on is to hold, if not [the most there can be](SIZE). It is used if it is
/// granted that or [enough](LEAST).
pub fn want(bytes: usize) {
    WANTED.store(bytes.min(SIZE), Ordering::Relaxed);
}

/// How it stands now.
#[must_use]
pub fn count() -> Pipes {
    Pipes {
        open: OPEN.load(Ordering::Relaxed),
        denied: DENIED.load(Ordering::Relaxed),
        shrunk: SHRUNK.load(Ordering::Relaxed),
    }
}

/// An empty pipe, if there is one to be had.
pub(super) fn take() -> Option<Pipe> {
    let kept = EMPTY.with_borrow_mut(Vec::pop);
    let pipe = kept.or_else(Pipe::make);
    if pipe.is_none() {
        DENIED.fetch_add(1, Ordering::Relaxed);
    }
    pipe
}

/// Takes back a pipe that is empty. One with bytes in it must be dropped instead.
pub(super) fn give_back(pipe: Pipe) {
    EMPTY.with_borrow_mut(|kept| {
        let too_many = OPEN.load(Ordering::Relaxed) > ALLOWED.load(Ordering::Relaxed);
        if kept.len() < SPARE && !too_many {
            kept.push(pipe);
        }
    });
}

/// A pipe; dropping it closes it, with whatever is in it.
#[derive(Debug)]
pub(super) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    _counted: Counted,
}

/// Counts one open pipe for as long as it lives.
#[derive(Debug)]
struct Counted;

impl Pipe {
    fn make() -> Option<Self> {
        let counted = Counted::below(ALLOWED.load(Ordering::Relaxed))?;
        // No descriptors left, most likely: sessions need them more.
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let wanted = WANTED.load(Ordering::Relaxed);
        let granted = fcntl_setpipe_size(&writer, wanted);
        let granted = granted.or_else(|_| fcntl_getpipe_size(&writer));
        let granted = granted.unwrap_or(0);
        if granted < wanted {
            SHRUNK.fetch_add(1, Ordering::Relaxed);
        }
        (granted >= wanted.min(LEAST)).then_some(Self {
            reader,
            writer,
            _counted: counted,
        })
    }

    /// A pipe that somebody else made.
    pub(super) fn adopt(reader: OwnedFd, writer: OwnedFd) -> Self {
        Self {
            reader,
            writer,
            _counted: Counted::one(),
        }
    }

    /// Both ends: what is read from, and what is written to.
    pub(super) fn into_ends(self) -> (OwnedFd, OwnedFd) {
        (self.reader, self.writer)
    }

    /// Has the kernel move what `from` received into the pipe; zero bytes are the end, or urgent data. The pipe has to be
    /// empty: only then does "would block" mean that nothing is there, and not that the pipe is full.
    pub(super) fn fill(&self, from: &Stream) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        Ok(splice(from, None, &self.writer, None, FILL, flags)?)
    }

    /// Has the kernel move the `held` bytes of the pipe on to `to`, or as many as there is room for.
    pub(super) fn pour(&self, to: &Stream, held: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        Ok(splice(&self.reader, None, to, None, held, flags)?)
    }

    /// Reads the `held` bytes of the pipe into memory.
    pub(super) fn read_out(&self, held: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; held];
        let mut read = 0;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match rustix::io::read(&self.reader, rest)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => read += count,
            }
        }
        Ok(bytes)
    }
}

impl Counted {
    fn one() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self
    }

    fn below(limit: u32) -> Option<Self> {
        let one = Self::one();
        (OPEN.load(Ordering::Relaxed) <= limit).then_some(one)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}
