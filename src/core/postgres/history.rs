//! Timeline history files (`%08X.history`): when which timeline ended, in PostgreSQL's own words.

use crate::wire::history::HistoryLine;
use crate::{Lsn, Timeline};

/// What a timeline's history file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryFile {
    /// The timeline it is the history of.
    pub timeline: Timeline,
    /// The timelines that ended before it, oldest first, without leaders; the last one with when the file was
    /// written, ISO 8601 with the local offset.
    pub lines: Vec<HistoryLine>,
}

impl HistoryFile {
    /// Reads the text of the file of `timeline`, which was last written at `written`. As PostgreSQL does it, what is no
    /// line of three columns (comments, empty lines) is passed over (PostgreSQL, `timeline.c`).
    #[must_use]
    pub fn parse(timeline: Timeline, text: &[u8], written: &str) -> Self {
        let text = String::from_utf8_lossy(text);
        let mut lines: Vec<_> = text.lines().filter_map(line).collect();
        if let Some(last) = lines.last_mut() {
            last.at = Some(written.to_owned());
        }
        Self { timeline, lines }
    }
}

fn line(text: &str) -> Option<HistoryLine> {
    let mut columns = text.trim().splitn(3, '\t');
    let parent = columns.next()?.trim().parse().ok()?;
    let switch = Lsn::parse(columns.next()?.trim())?;
    Some(HistoryLine {
        parent: Timeline(parent),
        switch,
        reason: columns.next().unwrap_or_default().to_owned(),
        at: None,
        leader: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_timeline_that_ended_is_a_line_and_the_last_one_has_a_time() {
        let text = b"1\t0/404E9C8\tno recovery target specified\n\n# by hand\n2\t1/0\tat restore point \"x\ty\"\n";
        let read = HistoryFile::parse(Timeline(3), text, "2026-11-21T08:07:06.285852+00:00");
        let parents: Vec<_> = read.lines.iter().map(|line| line.parent.0).collect();
        assert_eq!(parents, [1, 2]);
        assert_eq!(read.lines[0].switch, Lsn(67_430_856));
        assert_eq!(read.lines[0].at, None);
        assert_eq!(read.lines[1].reason, "at restore point \"x\ty\"");
        assert_eq!(
            read.lines[1].at.as_deref(),
            Some("2026-11-21T08:07:06.285852+00:00")
        );
    }

    #[test]
    fn what_is_no_line_is_passed_over() {
        for text in [
            &b"\xff\xfe"[..],
            b"1",
            b"1\t",
            b"x\t0/0\t",
            b"1\tlsn\tx",
            b"99999999999\t0/0\tx",
        ] {
            assert_eq!(
                HistoryFile::parse(Timeline(2), text, "").lines,
                [],
                "{text:?}"
            );
        }
    }
}
