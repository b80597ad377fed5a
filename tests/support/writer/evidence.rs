//! What acknowledged rows and the lives of sessions prove about who took writes when.
//!
//! A node takes writes on one timeline; whoever takes over begins a newer one. So a row that an old
//! timeline takes after a newer one took its first, and two nodes on one timeline, are two primaries.
//! Only rows sent after the other's acknowledgement count: what overlaps proves nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// How long a client may take to notice that its session has ended, on a busy machine, in ms.
const NOTICED_MS: f64 = 500.0;

/// A row the server acknowledged. Times are in ms since the clients began.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "(i64, f64, f64, String, u32)")]
pub struct Acknowledged {
    /// Its number within its writer.
    pub number: i64,
    /// When it was sent.
    pub sent: f64,
    /// When it was acknowledged.
    pub at: f64,
    /// Where the PostgreSQL listens that took it.
    pub node: String,
    /// The timeline it was written on.
    pub timeline: u32,
}

/// A session from its login to its end. Times are in ms since the clients began.
#[derive(Debug, Clone, Deserialize)]
pub struct Session {
    /// When the login succeeded.
    pub opened: f64,
    /// When it ended, or when the clients were stopped.
    pub closed: f64,
    /// Where the PostgreSQL at its far end listens, if the session lived long enough to be asked.
    pub node: Option<String>,
    /// Whether that PostgreSQL took no writes.
    pub reads_only: bool,
}

impl From<(i64, f64, f64, String, u32)> for Acknowledged {
    fn from((number, sent, at, node, timeline): (i64, f64, f64, String, u32)) -> Self {
        Self {
            number,
            sent,
            at,
            node,
            timeline,
        }
    }
}

impl fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            at,
            node,
            timeline,
            ..
        } = self;
        write!(
            f,
            "a row sent at {sent:.0} ms, taken at {at:.0} ms by {node} on timeline {timeline}"
        )
    }
}

/// What a timeline took: who took its first row, and until when it took any.
struct Reign<'a> {
    first: &'a Acknowledged,
    last: f64,
}

fn reigns<'a>(rows: impl Iterator<Item = &'a Acknowledged>) -> BTreeMap<u32, Reign<'a>> {
    let mut reigns: BTreeMap<u32, Reign<'a>> = BTreeMap::new();
    for row in rows {
        let reign = reigns.entry(row.timeline).or_insert(Reign {
            first: row,
            last: row.at,
        });
        if row.at < reign.first.at {
            reign.first = row;
        }
        reign.last = reign.last.max(row.at);
    }
    reigns
}

pub(super) fn two_timelines<'a>(
    rows: impl Iterator<Item = &'a Acknowledged> + Clone,
) -> Vec<String> {
    let reigns = reigns(rows.clone());
    rows.filter_map(|row| {
        let newer = reigns.range(row.timeline + 1..).map(|(_, reign)| reign);
        let overtaken = newer
            .map(|reign| reign.first)
            .find(|first| first.at < row.sent);
        let own = reigns.get(&row.timeline).map(|reign| reign.first);
        let other = own.filter(|first| first.node != row.node);
        Some(format!("{row}, although {}", overtaken.or(other)?))
    })
    .collect()
}

pub(super) fn wrong_sessions<'a>(
    rows: impl Iterator<Item = &'a Acknowledged>,
    sessions: &[Session],
) -> Vec<String> {
    let reigns = reigns(rows);
    let wrong = |session: &Session| {
        let node = session.node.as_deref().unwrap_or("a node unknown");
        let Session { opened, closed, .. } = session;
        let lived = format!("a session on {node} from {opened:.0} to {closed:.0} ms");
        if session.reads_only {
            return Some(format!("{lived}, which took no writes"));
        }
        let node = session.node.as_deref()?;
        let elsewhere = reigns.values().find(|reign| {
            reign.first.node != node
                && *closed > reign.first.at + NOTICED_MS
                && *opened < reign.last
        })?;
        Some(format!("{lived}, although {}", elsewhere.first))
    };
    sessions.iter().filter_map(wrong).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sent: f64, at: f64, node: &str, timeline: u32) -> Acknowledged {
        (1, sent, at, node.to_owned(), timeline).into()
    }

    fn session(opened: f64, closed: f64, node: &str) -> Session {
        Session {
            opened,
            closed,
            node: Some(node.to_owned()),
            reads_only: false,
        }
    }

    #[test]
    fn a_handover_is_no_second_primary() {
        let rows = [row(1.0, 2.0, "a", 1), row(8.0, 9.0, "b", 2)];
        assert!(two_timelines(rows.iter()).is_empty());
        let sessions = [session(0.0, 5.0, "a"), session(7.0, 5_000.0, "b")];
        assert!(wrong_sessions(rows.iter(), &sessions).is_empty());
    }

    #[test]
    fn a_row_on_the_old_timeline_after_one_on_the_new_is_found() {
        let rows = [
            row(1.0, 2.0, "a", 1),
            row(8.0, 9.0, "b", 2),
            row(9.5, 10.0, "a", 1),
        ];
        assert_eq!(two_timelines(rows.iter()).len(), 1);
    }

    #[test]
    fn a_row_that_was_under_way_proves_nothing() {
        let rows = [row(8.0, 9.0, "b", 2), row(8.5, 20.0, "a", 1)];
        assert!(two_timelines(rows.iter()).is_empty());
    }

    #[test]
    fn two_nodes_on_one_timeline_are_found() {
        let rows = [row(1.0, 2.0, "a", 2), row(1.0, 3.0, "b", 2)];
        assert_eq!(two_timelines(rows.iter()).len(), 1);
    }

    #[test]
    fn a_session_that_outlives_its_nodes_reign_is_found() {
        let rows = [
            row(1.0, 2.0, "a", 1),
            row(8.0, 9.0, "b", 2),
            row(899.0, 900.0, "b", 2),
        ];
        assert_eq!(
            wrong_sessions(rows.iter(), &[session(0.0, 800.0, "a")]).len(),
            1
        );
        // Noticed within the time a client may take.
        assert!(wrong_sessions(rows.iter(), &[session(0.0, 400.0, "a")]).is_empty());
    }

    #[test]
    fn a_session_opened_on_the_new_node_before_its_first_row_is_right() {
        let rows = [row(1.0, 2.0, "a", 1), row(8_000.0, 9_000.0, "b", 2)];
        assert!(wrong_sessions(rows.iter(), &[session(7_000.0, 9_900.0, "b")]).is_empty());
    }

    #[test]
    fn a_session_on_a_replica_is_found() {
        let replica = Session {
            reads_only: true,
            ..session(0.0, 1.0, "c")
        };
        assert_eq!(wrong_sessions([].iter(), &[replica]).len(), 1);
    }
}
