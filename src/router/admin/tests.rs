//! The stats port as those who ask it see it.

mod document;
mod page;
mod server;
mod stand;
