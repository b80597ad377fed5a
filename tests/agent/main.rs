//! The agent as a program: its arguments, its configuration, its service.

mod bad_files;
mod command_line;
mod notify;
mod systemd;

/// The program.
const BINARY: &str = env!("CARGO_BIN_EXE_trunkline-agent");
