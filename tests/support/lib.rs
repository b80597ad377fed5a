//! Real parts for Trunkline's tests, demo and figures: it starts etcd, PostgreSQL, Patroni and the
//! router on loopback, breaks them on request, and leaves nothing behind however the program ends.
//!
//! Read from the outside in: [`stand`] is the whole set-up; [`etcd`], [`patroni`], [`router`] and
//! [`haproxy`] are its parts; [`writer`] is the client whose troubles are counted, [`faults`]
//! the table they are told in; [`process`], [`workdir`], [`ports`] and [`wait`] are what all of them are made of.
//!
//! It must not know the product's crates: it meets the router as an operator does, by its command
//! line, its ports and its stats page.

pub mod background;
pub mod ca;
pub mod etcd;
pub mod fake_cluster;
pub mod fake_member;
pub mod faults;
pub mod haproxy;
pub mod http;
pub mod moments;
pub mod netns;
pub mod network;
pub mod parts;
pub mod patroni;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod router;
pub mod small_disk;
pub mod sockets;
pub mod stand;
pub mod units;
pub mod vitals;
pub mod wait;
pub mod workdir;
pub mod writer;
