//! Asking members' REST APIs.

pub mod client;
