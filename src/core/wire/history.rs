//! The `history` key: when which timeline ended, and who led from there (Patroni 4.1, etcd values, history).

use serde_json::Value;

use super::{Invalid, Why, json, object};
use crate::{Lsn, MemberName, Timeline};

const WHAT: &str = "history value";

/// The timelines that have ended, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(pub Vec<HistoryLine>);

/// The end of one timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryLine {
    /// The timeline that ended.
    pub parent: Timeline,
    /// Where in the log.
    pub switch: Lsn,
    /// Why, in PostgreSQL's words.
    pub reason: String,
    /// When, as the node that wrote it put it; not always known.
    pub at: Option<String>,
    /// Who led from there; not always known.
    pub leader: Option<MemberName>,
}

impl History {
    /// Reads the value. A time or leader that makes no sense is as if it were not known.
    ///
    /// # Errors
    ///
    /// If it is no list of such lines.
    pub fn parse(value: &[u8]) -> Result<Self, Invalid> {
        let value = object::json(WHAT, value)?;
        let wrong = || {
            Why::WrongKind {
                expected: "an array of lines",
                found: object::kind(&value),
            }
            .of(WHAT)
        };
        let lines = value.as_array().ok_or_else(wrong)?;
        lines
            .iter()
            .map(HistoryLine::read)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The value as Patroni would write it.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::compact(&self.written())
    }

    /// The value as the REST API answers it.
    #[must_use]
    pub fn to_spaced(&self) -> String {
        json::spaced(&self.written())
    }

    fn written(&self) -> Value {
        self.0.iter().map(HistoryLine::written).collect()
    }

    /// The timeline the cluster is on by this account: the one after the last that ended.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        let ended = self.0.last().map_or(0, |line| line.parent.0);
        Timeline(ended.saturating_add(1))
    }
}

impl HistoryLine {
    fn read(line: &Value) -> Result<Self, Invalid> {
        let Some([parent, switch, reason, more @ ..]) = line.as_array().map(Vec::as_slice) else {
            return Err(Why::WrongKind {
                expected: "lines of three to five items",
                found: object::kind(line),
            }
            .of(WHAT));
        };
        let wrong = |field, expected, item| {
            Why::WrongType {
                field,
                expected,
                found: object::kind(item),
            }
            .of(WHAT)
        };
        let text = |index: usize| more.get(index).and_then(Value::as_str);
        Ok(Self {
            parent: parent
                .as_u64()
                .and_then(|number| u32::try_from(number).ok())
                .map(Timeline)
                .ok_or_else(|| wrong("parent timeline", "a timeline", parent))?,
            switch: object::lsn(switch)
                .ok_or_else(|| wrong("switch position", "a position", switch))?,
            reason: reason
                .as_str()
                .ok_or_else(|| wrong("reason", "a string", reason))?
                .to_owned(),
            at: text(0).map(str::to_owned),
            leader: text(1).and_then(|name| object::member_name(WHAT, name).ok()),
        })
    }

    /// The line ends where nothing more is known.
    fn written(&self) -> Value {
        let mut items: Vec<Value> = vec![
            self.parent.0.into(),
            self.switch.0.into(),
            self.reason.as_str().into(),
            self.at.as_deref().into(),
            self.leader.as_ref().map(MemberName::as_str).into(),
        ];
        while items.last().is_some_and(Value::is_null) {
            items.pop();
        }
        items.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> History {
        History::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_patroni_writes_is_read_and_written_the_same() {
        for text in [
            "[]",
            r#"[[1,67430856,"no recovery target specified","2026-11-21T08:07:06.285852+00:00","pg-2"]]"#,
            r#"[[6,1,"r","t","pg-2"],[7,67433888,"no recovery target specified"],[8,2,"r","t"]]"#,
            r#"[[1,2,"",null,"pg-2"]]"#,
        ] {
            assert_eq!(parse(text).to_json(), text);
        }
    }

    #[test]
    fn the_timeline_is_the_one_after_the_last_that_ended() {
        assert_eq!(parse("[]").timeline(), Timeline(1));
        assert_eq!(parse(r#"[[1,2,""],[7,3,""]]"#).timeline(), Timeline(8));
        assert_eq!(
            parse(r#"[[4294967295,2,""]]"#).timeline(),
            Timeline(u32::MAX)
        );
    }

    #[test]
    fn a_time_or_leader_that_makes_no_sense_is_not_known() {
        let lines = parse(r#"[[1,2,"r",3,"a/b"],[2,3,"r",null,"pg-1","more"]]"#).0;
        assert_eq!((&lines[0].at, &lines[0].leader), (&None, &None));
        assert_eq!(lines[1].leader, Some("pg-1".into()));
    }

    #[test]
    fn what_is_no_list_of_lines_is_refused() {
        for bad in [
            b"".as_slice(),
            b"null",
            b"{}",
            b"[",
            b"[1]",
            b"[[]]",
            b"[[1,2]]",
            br#"[["1",2,"r"]]"#,
            br#"[[1,-2,"r"]]"#,
            b"[[1,2,3]]",
            b"\xff",
        ] {
            assert!(History::parse(bad).is_err(), "{bad:?}");
        }
    }
}
