//! The high-availability agent. Nothing is built here yet: the binary says so and exits 69.

/// What `trunkline-agent` tells whoever starts it until it is built.
pub const NOT_BUILT_YET: &str =
    "trunkline-agent is not built yet; run Patroni on the nodes, the router works with it as it is";

pub mod dcs;
