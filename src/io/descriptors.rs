//! The file descriptors this process may have, and has.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What no process reaches, where the system names no limit.
const UNLIMITED: u64 = 1 << 30;

/// Raises the soft limit of open files to the hard one and returns what is allowed now. Nothing here uses select(2),
/// for whose sake the soft limit is low.
#[must_use]
pub fn raise() -> u64 {
    let had = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: had.maximum,
        maximum: had.maximum,
    };
    // Where it is not allowed, the limit stays what it was.
    let _ = setrlimit(Resource::Nofile, wanted);
    allowed()
}

/// How many descriptors this process may have.
#[must_use]
pub fn allowed() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED)
}

/// Whether an error is this machine's want of something, and says nothing of whoever was to be connected to.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::ADDRNOTAVAIL,
        ]
        .contains(&errno)
    })
}
