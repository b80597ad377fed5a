//! How many bytes a session has moved, to be read while it goes on.

use std::sync::atomic::{AtomicU64, Ordering};

/// The byte counters of one session. Its own task counts; whoever wants to know reads.
#[derive(Debug, Default)]
pub struct Traffic {
    from_client: AtomicU64,
    from_server: AtomicU64,
}

/// How many bytes went through, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// From the client to the server.
    pub from_client: u64,
    /// From the server to the client.
    pub from_server: u64,
}

impl Traffic {
    /// Counts bytes that the server was given.
    pub fn up(&self, bytes: u64) {
        count(&self.from_client, bytes);
    }

    /// Counts bytes that the client was given.
    pub fn down(&self, bytes: u64) {
        count(&self.from_server, bytes);
    }

    /// What was moved so far.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        Bytes {
            from_client: self.from_client.load(Ordering::Relaxed),
            from_server: self.from_server.load(Ordering::Relaxed),
        }
    }
}

/// Only one task counts a session's bytes: nobody can write between the two halves, and no bus is locked.
fn count(counter: &AtomicU64, bytes: u64) {
    let before = counter.load(Ordering::Relaxed);
    counter.store(before.wrapping_add(bytes), Ordering::Relaxed);
}
