//! The half of Trunkline that decides and touches nothing.
//!
//! Everything here is a pure function of its arguments: no clock, no socket, no file, no randomness.
//! `now` is an argument ([`Moment`]); what could not be learnt is a value with a cause and an age
//! ([`Observed`]); a decision is a closed enum with a typed reason. The other crates do what is decided
//! here and decide nothing themselves. `clippy.toml` beside this file bans what would break that.

pub mod admission;
pub mod cluster;
pub mod config;
pub mod election;
pub mod follow;
pub mod ha;
pub mod health;
pub mod keys;
pub mod lease;
pub mod memory;
pub mod names;
pub mod observed;
pub mod postgres;
pub mod probe;
pub mod proof;
pub mod reload;
pub mod rest;
pub mod rewind;
pub mod route;
pub mod slots;
pub mod time;
pub mod wire;

pub use names::{
    ClusterId, LeaseId, Lsn, MemberName, RaftTerm, Revision, Scope, StoreNumber, SystemId, Timeline,
};
pub use observed::Observed;
pub use time::Moment;
