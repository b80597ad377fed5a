//! The REST API over real sockets: bytes, hostile clients, requests that change something, and who routes by it.

#![expect(clippy::unwrap_used, reason = "a test that fails says so by its panic")]

mod alike;
mod balancers;
mod bytes;
#[allow(dead_code, reason = "core's own tests need more of it")]
#[path = "../../../core/tests/rest/captures.rs"]
mod captures;
mod changes;
mod handover;
mod hostile;
mod stand;
