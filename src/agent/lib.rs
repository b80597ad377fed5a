//! The high-availability agent: one a PostgreSQL node, in Patroni's place.
//!
//! It observes, lets core decide, and carries out one action at a time ([`dcs`] is etcd, [`postgres`] the server,
//! [`api`] the REST API). It must not know how a decision is made.

pub mod api;
pub mod dcs;
mod jobs;
mod peers;
pub mod postgres;

/// What `trunkline-agent` tells whoever starts it until it is built.
pub const NOT_BUILT_YET: &str =
    "trunkline-agent is not built yet; run Patroni on the nodes, the router works with it as it is";
