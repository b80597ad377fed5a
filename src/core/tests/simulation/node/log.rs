//! A write-ahead log: which branch wrote what part of it. Two logs of one length on one timeline may differ.
//!
//! It knows no node and no time.

use trunkline_core::wire::history::HistoryLine;
use trunkline_core::{Lsn, Timeline};

/// A part that one primary wrote between its promotion and its successor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    /// Its own number: no two promotions share one, whatever timeline they choose.
    branch: u64,
    timeline: u32,
    from: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    parts: Vec<Part>,
    pub(crate) end: u64,
}

impl Log {
    /// That of a cluster just made.
    pub(crate) fn new(branch: u64) -> Self {
        let first = Part {
            branch,
            timeline: 1,
            from: 0,
        };
        Self {
            parts: vec![first],
            end: 1_000_000,
        }
    }

    pub(crate) fn timeline(&self) -> u32 {
        self.parts.last().map_or(0, |part| part.timeline)
    }

    pub(crate) fn branch(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.branch)
    }

    /// A promotion: from here on another branch is written, on the next timeline.
    pub(crate) fn forks(&mut self, branch: u64) {
        let part = Part {
            branch,
            timeline: self.timeline() + 1,
            from: self.end,
        };
        self.parts.push(part);
    }

    /// Whether `other` begins with all of this.
    pub(crate) fn is_in(&self, other: &Self) -> bool {
        self.is_in_upto(self.end, other)
    }

    /// Whether `other` has this as far as `end`.
    pub(crate) fn is_in_upto(&self, end: u64, other: &Self) -> bool {
        let count = self.parts.iter().take_while(|part| part.from < end).count();
        let same = other.parts.len() >= count && other.parts[..count] == self.parts[..count];
        let ends = other.parts.get(count).map_or(other.end, |next| next.from);
        same && ends >= end
    }

    /// Goes on as `other` does; the caller knows that it begins with this.
    pub(crate) fn follow(&mut self, other: &Self) {
        if self.parts.len() != other.parts.len() || self.branch() != other.branch() {
            self.parts.clone_from(&other.parts);
        }
        self.end = other.end;
    }

    /// What the history file of its timeline says.
    pub(crate) fn history(&self) -> Vec<HistoryLine> {
        let pairs = self.parts.iter().zip(self.parts.iter().skip(1));
        let lines = pairs.map(|(part, next)| HistoryLine {
            parent: Timeline(part.timeline),
            switch: Lsn(next.from),
            reason: "no recovery target specified".to_owned(),
            at: Some("2026-11-21T08:00:00+00:00".to_owned()),
            leader: None,
        });
        lines.collect()
    }
}
