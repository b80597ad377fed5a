//! Configuration: as written in the file, and as meant.
