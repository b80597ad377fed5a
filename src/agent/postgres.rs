//! One PostgreSQL: its processes, its files, its programs, and asking it. One subject a file; nothing here decides
//! what is to be done.

pub mod answer;
pub mod backups;
pub mod binaries;
pub mod bootstrap;
pub mod callbacks;
pub mod clone;
pub mod control;
pub mod directory;
pub mod disk;
pub mod dynamic;
pub mod files;
pub mod heartbeat;
pub mod history;
pub mod launch;
pub mod postmaster;
pub mod processes;
pub mod program;
pub mod promote;
pub mod query;
pub mod recover;
pub mod remote;
pub mod rewind;
pub mod roles;
pub mod secret;
pub mod slots;
pub mod sql;
pub mod start;
pub mod stop;
pub mod trial;
pub mod unfinished;
pub mod wipe;
