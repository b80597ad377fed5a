//! The high-availability agent: one a PostgreSQL node, in Patroni's place.
//!
//! It observes, lets core decide, and carries out one action at a time ([`dcs`] is etcd, [`postgres`] the server,
//! [`api`] the REST API). It must not know how a decision is made.

pub mod api;
mod cycle;
pub mod dcs;
mod instance;
mod jobs;
mod observe;
mod peers;
pub mod postgres;
mod run;
mod settings;
mod spoken;
pub mod validate;

pub use run::{Failure, Start, run};
pub use settings::Read;
