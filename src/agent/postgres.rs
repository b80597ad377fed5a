//! One PostgreSQL: its processes, its files, its programs, and asking it. One subject a file; nothing here decides
//! what is to be done.

pub mod launch;
pub mod postmaster;
pub mod processes;
pub mod program;
pub mod start;
pub mod stop;
