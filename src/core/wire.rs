//! Every value Patroni keeps in etcd and every answer of its REST API that Trunkline reads, both directions.
//!
//! One file a value. A parser takes whatever bytes somebody else wrote and never panics: it gives the value, or
//! [`Invalid`] with the reason. Where Patroni keeps a value in spite of one bad field, so does the parser here, and
//! the field is as if it were absent. What is written is what Patroni would have written, byte for byte.
//! Nothing here knows keys, revisions or leases, nor what a value is good for.

pub mod config;
pub mod failover;
pub mod failsafe;
pub mod history;
pub mod initialize;
pub mod leader;
pub mod member;
pub mod number;
pub mod rest;
mod role;
mod state;
pub mod status;
pub mod sync;
mod tags;
pub(crate) mod url;

pub(crate) mod json;
mod object;

/// A value that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {what} is invalid because {why}")]
pub struct Invalid {
    /// Which value: `member value`, `sync value`, `status document` …
    pub what: &'static str,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Its bytes are no text.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// Its text is no JSON; the parser's own words.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// It is longer than anything that is meant.
    #[error("it is {bytes} bytes long, more than {limit}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The longest that is read.
        limit: usize,
    },
    /// As a whole it is of another kind than it should be.
    #[error("it is {found} where {expected} is expected")]
    WrongKind {
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A field it cannot do without is not there.
    #[error("`{field}` is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field is of another kind than it should be.
    #[error("`{field}` is {found} where {expected} is expected")]
    WrongType {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A field is of the right kind, but no value of it makes sense here.
    #[error("`{field}` cannot be {found}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What it says.
        found: String,
    },
    /// It should name a member and does not.
    #[error("{0:?} is no member's name")]
    NotAName(String),
    /// It should be a URL and is not; what is wrong with it, without the URL, which may hold a password.
    #[error("it is no URL that can be used: {0}")]
    NotAUrl(&'static str),
}

impl Why {
    const fn of(self, what: &'static str) -> Invalid {
        Invalid { what, why: self }
    }
}
