//! Configuration: as written in the file, and as meant.

pub mod router;
