//! The agent's decision: from what was observed to one action and its reason.
//!
//! A cycle of the agent is a handful of steps. Each step looks at everything again (a [`Snapshot`]), decides
//! ([`decide`]), carries out one [`Action`], and lets the outcome become part of the next snapshot. The cycle is
//! over when the action is [`Action::Rest`]. Work that takes long is a [`Job`]: at most one is in flight, and that
//! it is stands in the snapshot too.

pub mod action;
mod bootstrap;
mod crash;
mod dcs_lost;
mod decide;
mod diverged;
mod ending;
mod follower;
mod handover;
mod history;
mod identity;
mod job;
mod leader;
mod lost;
mod manual;
pub mod me;
pub mod member;
pub mod memory;
mod pause;
mod race;
pub mod reason;
mod sentences;
pub mod snapshot;
pub mod standing;
mod starting;
mod starved;
mod switchover;
mod upkeep;
mod words;
mod work;

pub use action::{Action, Decision, Job, JobEnd, JobOutcome, Mode, Outcome, Stop, Write};
pub use decide::{decide, settled};
pub use me::Me;
pub use memory::Memory;
pub use reason::Reason;
pub use snapshot::{InFlight, PeerWord, Snapshot};
pub use standing::{Holder, Server, Unbuilt};
