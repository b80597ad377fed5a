//! What the agent's REST API answers, byte for byte as Patroni 4.1 does (contract, section 2).
//!
//! Pure: from what the cycle told ([`Told`]), what PostgreSQL answered and a request to a [`Reply`]. Nothing here
//! reads a socket, waits, or asks PostgreSQL; the server that does is the agent's `api`.

pub mod cluster;
pub mod failsafe;
pub mod handover;
pub mod health;
pub mod metrics;
pub mod reply;
pub mod request;
pub mod status;
pub mod told;

pub use reply::{Kind, Reply, Signature};
pub use request::{Method, Request, Target};
pub use told::Told;

/// The version of Patroni whose API this is.
pub const VERSION: &str = "4.1.5";
