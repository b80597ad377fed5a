//! How many bytes a session has moved, to be read while it goes on; what all of them came to stands in [`account`].

use std::iter::Sum;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

pub mod account;

/// The byte counters of one session. Its own task counts; whoever wants to know reads.
#[derive(Debug, Default)]
pub struct Traffic {
    from_client: AtomicU64,
    from_server: AtomicU64,
}

/// How many bytes went through, both ways: a session's, or those of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// From the client to the server.
    #[serde(rename = "bytes_from_clients")]
    pub from_client: u64,
    /// From the server to the client.
    #[serde(rename = "bytes_from_servers")]
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

impl AddAssign for Bytes {
    fn add_assign(&mut self, more: Self) {
        self.from_client = self.from_client.wrapping_add(more.from_client);
        self.from_server = self.from_server.wrapping_add(more.from_server);
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, bytes| {
            sum += bytes;
            sum
        })
    }
}

/// Only one task counts a session's bytes: nobody can write between the two halves, and no bus is locked.
fn count(counter: &AtomicU64, bytes: u64) {
    let before = counter.load(Ordering::Relaxed);
    counter.store(before.wrapping_add(bytes), Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
