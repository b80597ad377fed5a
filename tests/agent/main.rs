//! The agent as a program: its arguments, its configuration, its service.

mod command_line;
mod systemd;

/// The program.
const BINARY: &str = env!("CARGO_BIN_EXE_trunkline-agent");
