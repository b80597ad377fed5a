//! The router's binary before a real etcd and members that can lie (`trunkline_support::fake_member`).
//!
//! One module a subject. The tests run side by side: each has a network, a cluster and a router of its own, and
//! they share one etcd under different scopes, unless they break it. Waits are predicates with generous bounds.

mod addresses;
mod admission;
mod balance;
mod bytes;
mod cancel;
mod client;
mod command_line;
mod ending;
mod hold;
mod live;
mod load;
mod lock;
mod memory;
mod opening;
mod reload;
mod routing;
mod rude_clients;
mod silence;
mod source;
mod stand;
mod systemd;
mod tls;
mod unix;
