//! The command line for people and scripts. Nothing is built here yet: the binary says so and exits 69.

/// What `trunklinectl` tells whoever starts it until it is built.
pub const NOT_BUILT_YET: &str = "trunklinectl is not built yet; use patronictl for the cluster and \
     the router's stats page (port 7000) for routing";
