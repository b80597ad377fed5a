//! What real Patroni wrote, what anybody may write, and that no bytes whatever end in a panic.
//!
//! The fixtures were captured from a cluster of three nodes under Patroni 4.1.5.

#![expect(clippy::unwrap_used, reason = "a test that fails says so by its panic")]

mod anything;
mod captured;
mod garbage;
