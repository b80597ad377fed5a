//! A member's own word, read from an answer of its REST API by the specification's terms (P2).

use std::time::Duration;

use serde::Deserialize;
use trunkline_core::Moment;

use crate::node::{SCOPE, SYSTEM_ID};

/// A member's own word.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) asked: Moment,
    pub(super) code: u16,
    pub(super) role: String,
    pub(super) runs: bool,
    pub(super) timeline: Option<u64>,
    /// Until when it says itself that it will run as primary.
    pub(super) until: Option<Moment>,
}

impl Word {
    /// Whether nobody can write there: it is in recovery.
    pub(super) fn is_demoted(&self) -> bool {
        (self.runs && self.role == "replica") || self.role == "standby_leader"
    }
}

/// The word of `member` in an answer; none, if somebody else answered or it is no status document.
pub(super) fn word(
    code: u16,
    body: &str,
    member: &str,
    asked: Moment,
    identified: bool,
) -> Option<Word> {
    let document: Document<'_> = serde_json::from_str(body).ok()?;
    let who = &document.patroni;
    let fits = |given: Option<&str>, ours: &str| given.is_none_or(|given| given == ours);
    let ours = fits(who.name, member)
        && fits(who.scope, SCOPE)
        && (!identified || fits(document.database_system_identifier, SYSTEM_ID));
    ours.then(|| Word {
        asked,
        code,
        role: document.role.to_owned(),
        runs: document.state == Some("running"),
        timeline: document.timeline,
        until: document
            .leader_until_ms
            .map(|left| asked.after(Duration::from_millis(left))),
    })
}

/// What of the status document the specification goes by.
#[derive(Deserialize)]
struct Document<'a> {
    role: &'a str,
    #[serde(borrow)]
    state: Option<&'a str>,
    timeline: Option<u64>,
    database_system_identifier: Option<&'a str>,
    leader_until_ms: Option<u64>,
    patroni: Who<'a>,
}

/// Whose it is.
#[derive(Deserialize)]
struct Who<'a> {
    name: Option<&'a str>,
    scope: Option<&'a str>,
}
