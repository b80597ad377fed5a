//! The REST API against what a real Patroni 4.1.5 answered: heads, bodies and the status of every path.

#![expect(clippy::unwrap_used, reason = "a test that fails says so by its panic")]

mod captured;
mod captures;
mod handover;
mod matrix;
mod requests;
