//! The agent's etcd against a real one.

mod bench;
mod endpoints;
mod lock;
mod writes;
