//! Effects shared by the programs.

pub mod yaml;
