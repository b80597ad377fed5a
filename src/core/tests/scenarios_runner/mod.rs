//! The language of the scenarios: scripts, their commands, the report of a look, and what was reached.

pub(crate) mod commands;
pub(crate) mod reached;
pub(crate) mod report;
pub(crate) mod script;
