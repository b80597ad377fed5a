//! The configuration of a PostgreSQL on a disk: what is written there, and that the real server takes it.
//!
//! The tests run as whoever runs them, root on most machines of this kind; PostgreSQL's own programs run as `postgres` then.

#![expect(clippy::unwrap_used, reason = "a test that cannot be prepared fails")]

mod configuration;
mod directory;
mod disk;
mod node;
mod real;
mod running;
