//! The connection router: moves bytes, by decisions made in `trunkline_core`.
//!
//! The flow, one file a step: [`feed`] (etcd → view) and [`poll`] (members' REST → probes) wake [`control`], the
//! one task that decides; it publishes through [`published`]; a [`listener`] accepts, a [`session`] picks,
//! connects and [`pump`]s; [`admin`] shows the same snapshot to people.

pub mod admin;
pub mod admission;
pub mod certificates;
pub mod control;
pub mod door;
pub mod doorstep;
pub mod events;
pub mod feed;
mod house;
mod informed;
pub mod listener;
mod machine;
pub mod memory;
pub mod metrics;
pub mod peer;
pub mod pgping;
pub mod poll;
pub mod ports;
pub mod published;
pub mod pump;
pub mod resolve;
pub mod run;
pub mod session;
pub mod socket;
pub mod startup;
pub mod stream;
pub mod traffic;
pub mod worker;

pub use run::{Failure, Start, run};
