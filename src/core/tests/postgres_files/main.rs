//! The text of PostgreSQL's files against what Patroni 4.1.5 and PostgreSQL themselves wrote.

#![expect(clippy::unwrap_used, reason = "a test that cannot be prepared fails")]

mod captured;
mod changes;
mod control;
mod node;
mod parameters;
