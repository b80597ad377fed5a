//! The agent's decision: from what was observed to one action and its reason.
//!
//! A cycle of the agent is a handful of steps. Each step looks at everything again (a [`Snapshot`]), decides
//! ([`decide`]), carries out one [`Action`], and lets the outcome become part of the next snapshot. The cycle is
//! over when the action is [`Action::Rest`]. Work that takes long is a [`Job`]: at most one is in flight, and that
//! it is stands in the snapshot too.

pub mod action;
pub mod memory;
pub mod reason;
pub mod snapshot;

pub use action::{Action, Decision, Job, JobEnd, JobOutcome, Mode, Stop, Write};
pub use memory::Memory;
pub use reason::Reason;
pub use snapshot::{InFlight, Me, PeerWord, Snapshot};
