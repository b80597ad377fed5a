//! Plays the agent's scenarios: reads scripts, carries out what happens, writes down what is decided.

mod commands;
pub(crate) mod reached;
mod report;
pub(crate) mod script;
