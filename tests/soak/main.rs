//! R7, R8 and R9 of the router under load: the binary before a real etcd and members that can lie.
//!
//! A program of its own, apart from `tests/router`: what is measured here (processor time, memory, descriptors) and
//! what keeps both cores busy would disturb the timing of tests beside it. `make soak` runs the same with a release
//! build and a million sessions.

#[allow(
    dead_code,
    reason = "it is shared with tests/router, which needs more of it"
)]
#[path = "../router/client.rs"]
mod client;
mod dead_peers;
mod exact;
mod flow;
mod leaks;
mod slow_readers;
#[allow(
    dead_code,
    reason = "it is shared with tests/router, which needs more of it"
)]
#[path = "../router/stand.rs"]
mod stand;
mod storm;
mod watch;
