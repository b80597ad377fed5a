//! The `sync` key: who may take over without losing a commit (Patroni 4.1, etcd values, sync).

use serde_json::Value;

use super::json::{self, Fields};
use super::number;
use super::object::{Object, kind};
use super::{Invalid, Why};
use crate::MemberName;

const WHAT: &str = "sync value";

/// Who may take over without losing a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sync {
    /// The primary that keeps the list; without one the list means nothing.
    pub leader: Option<MemberName>,
    /// How many of the listed and the leader a candidate must see besides itself; zero but in quorum mode.
    pub quorum: u32,
    /// The standbys, by name, in whatever case PostgreSQL's settings have them.
    pub standbys: Vec<String>,
}

impl Sync {
    /// Reads the value.
    ///
    /// # Errors
    ///
    /// If it is no JSON object or a field is of the wrong type. Patroni takes that for an empty one; so may the
    /// caller, who then promotes nobody on its account.
    pub fn parse(value: &[u8]) -> Result<Self, Invalid> {
        let mut fields = Object::parse(WHAT, value)?;
        let leader = fields.optional_name("leader")?;
        let quorum = fields.take("quorum");
        let standbys = fields.optional_text("sync_standby")?.unwrap_or_default();
        Ok(Self {
            quorum: match quorum {
                // Without a leader Patroni does not look at it.
                Some(quorum) if leader.is_some() => read_quorum(&quorum)?,
                Some(_) | None => 0,
            },
            leader,
            standbys: standbys
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }

    /// The value as Patroni would write it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let standbys = Some(self.standbys.join(",")).filter(|list| !list.is_empty());
        let mut fields = Fields::default();
        fields
            .put("leader", self.leader.as_ref().map(MemberName::as_str))
            .put("quorum", self.quorum)
            .put("sync_standby", standbys);
        json::compact(&fields.into_value())
    }

    /// Whether synchronous replication has not been activated: nobody keeps the list.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.leader.is_none()
    }

    /// Whether the member is listed as a standby, in any case.
    #[must_use]
    pub fn names(&self, member: &MemberName) -> bool {
        !self.is_empty()
            && self
                .standbys
                .iter()
                .any(|standby| member.is_case_insensitively(standby))
    }
}

fn read_quorum(value: &Value) -> Result<u32, Invalid> {
    let number = number::whole(value).ok_or_else(|| {
        Why::WrongType {
            field: "quorum",
            expected: "a number",
            found: kind(value),
        }
        .of(WHAT)
    })?;
    u32::try_from(number).map_err(|_| {
        Why::OutOfRange {
            field: "quorum",
            found: number.to_string(),
        }
        .of(WHAT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Sync, Invalid> {
        Sync::parse(text.as_bytes())
    }

    #[test]
    fn what_patroni_writes_is_read_and_written_the_same() {
        for text in [
            r#"{"leader":"pg-2","quorum":0,"sync_standby":"pg-3"}"#,
            r#"{"leader":"pg-2","quorum":1,"sync_standby":"pg-1,pg-3"}"#,
            r#"{"leader":"pg-2","quorum":0,"sync_standby":null}"#,
            r#"{"leader":null,"quorum":0,"sync_standby":null}"#,
        ] {
            assert_eq!(parse(text).unwrap().to_json(), text);
        }
    }

    #[test]
    fn a_standby_is_found_in_any_case_and_only_under_a_leader() {
        let sync = parse(r#"{"leader":"a","sync_standby":"PG-1, ,pg-Ü"}"#).unwrap();
        assert_eq!(sync.standbys, ["PG-1", "pg-Ü"]);
        assert!(sync.names(&"pg-1".into()) && sync.names(&"PG-ü".into()));
        assert!(!sync.names(&"a".into()) && !sync.names(&"pg".into()));
        let orphaned = parse(r#"{"leader":"","sync_standby":"pg-1"}"#).unwrap();
        assert!(orphaned.is_empty() && !orphaned.names(&"pg-1".into()));
    }

    #[test]
    fn without_a_leader_it_is_empty_whatever_else_it_says() {
        for text in ["{}", r#"{"leader":null}"#, r#"{"leader":"","quorum":"x"}"#] {
            assert!(parse(text).unwrap().is_empty(), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        for (text, reason) in [
            (
                "",
                "it is not JSON: EOF while parsing a value at line 1 column 0",
            ),
            ("null", "it is null where an object is expected"),
            (r#"["pg-1"]"#, "it is an array where an object is expected"),
            (
                r#"{"leader":1}"#,
                "`leader` is a number where a string is expected",
            ),
            (r#"{"leader":"a/b"}"#, "\"a/b\" is no member's name"),
            (
                r#"{"leader":"a","quorum":[]}"#,
                "`quorum` is an array where a number is expected",
            ),
            (r#"{"leader":"a","quorum":-1}"#, "`quorum` cannot be -1"),
            (
                r#"{"leader":"a","sync_standby":["b"]}"#,
                "`sync_standby` is an array where a string is expected",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("the sync value is invalid because {reason}"),
                "{text}"
            );
        }
    }
}
