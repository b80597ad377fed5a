//! The `failover` key: a switchover or failover somebody asked for (Patroni 4.1, etcd values, failover).

use jiff::Timestamp;

use super::json::{self, Fields};
use super::object::{self, Object};
use super::{Invalid, Why};
use crate::MemberName;

const WHAT: &str = "failover value";

/// What an operator asked for; with neither name nothing is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failover {
    /// The leader that is to step down. Named, this is a switchover; otherwise a failover by hand.
    pub leader: Option<MemberName>,
    /// Who is to take over; anybody if not named.
    pub candidate: Option<MemberName>,
    /// When, if not at once.
    pub scheduled_at: Option<Timestamp>,
}

impl Failover {
    /// Reads the value, or the `leader:candidate` of old versions.
    ///
    /// # Errors
    ///
    /// If a name or the time is none, or if it is JSON but no object.
    pub fn parse(value: &[u8]) -> Result<Self, Invalid> {
        let text = object::text(WHAT, value)?;
        match object::json(WHAT, value) {
            Ok(value) => {
                let mut fields = Object::of(WHAT, value)?;
                Ok(Self {
                    leader: fields.optional_name("leader")?,
                    candidate: fields.optional_name("member")?,
                    scheduled_at: fields
                        .optional_text("scheduled_at")?
                        .filter(|text| !text.is_empty())
                        .map(|text| moment(&text))
                        .transpose()?,
                })
            }
            Err(not_json) if text.starts_with(['{', '[', '"']) => Err(not_json),
            Err(_) => Self::from_names(text),
        }
    }

    /// The value as Patroni would write it: `{}` where nothing is asked for.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut fields = Fields::default();
        fields
            .put_some("leader", self.leader.as_ref().map(MemberName::as_str))
            .put_some("member", self.candidate.as_ref().map(MemberName::as_str))
            .put_some("scheduled_at", self.scheduled_at.map(iso));
        json::compact(&fields.into_value())
    }

    /// Whether anything is asked for at all.
    #[must_use]
    pub const fn is_requested(&self) -> bool {
        self.leader.is_some() || self.candidate.is_some()
    }

    fn from_names(text: &str) -> Result<Self, Invalid> {
        let mut names = text.split(':').map(str::trim).map(|name| {
            Some(name)
                .filter(|name| !name.is_empty())
                .map(|name| object::member_name(WHAT, name))
                .transpose()
        });
        Ok(Self {
            leader: names.next().transpose()?.flatten(),
            candidate: names.next().transpose()?.flatten(),
            scheduled_at: None,
        })
    }
}

fn moment(text: &str) -> Result<Timestamp, Invalid> {
    // Without an offset it would be nobody knows when; `parse` refuses that.
    text.parse().map_err(|_| {
        Why::OutOfRange {
            field: "scheduled_at",
            found: text.to_owned(),
        }
        .of(WHAT)
    })
}

/// ISO 8601 as Python writes it: the offset as a number, microseconds only where there are any.
pub(crate) fn iso(moment: Timestamp) -> String {
    let format = if moment.subsec_microsecond() == 0 {
        "%Y-%m-%dT%H:%M:%S+00:00"
    } else {
        "%Y-%m-%dT%H:%M:%S.%6f+00:00"
    };
    moment.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Failover {
        Failover::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_patroni_writes_is_read_and_written_the_same() {
        for text in [
            "{}",
            r#"{"leader":"pg-1"}"#,
            r#"{"member":"pg-2"}"#,
            r#"{"leader":"pg-1","member":"pg-2"}"#,
            r#"{"leader":"pg-2","member":"pg-1","scheduled_at":"2026-11-21T08:18:58+00:00"}"#,
            r#"{"leader":"pg-2","scheduled_at":"2026-11-21T08:18:58.000123+00:00"}"#,
        ] {
            assert_eq!(parse(text).to_json(), text);
        }
    }

    #[test]
    fn nothing_is_asked_for_without_a_name() {
        for text in [
            "{}",
            "",
            ":",
            r#"{"leader":"","member":null}"#,
            r#"{"x":1}"#,
        ] {
            assert!(!parse(text).is_requested(), "{text}");
        }
        assert!(parse(r#"{"member":"pg-2"}"#).is_requested());
    }

    #[test]
    fn names_with_a_colon_between_them_are_the_old_form() {
        let both = parse("pg-1 : pg-2");
        assert_eq!(both.leader, Some("pg-1".into()));
        assert_eq!(both.candidate, Some("pg-2".into()));
        assert_eq!(parse("pg-1").leader, Some("pg-1".into()));
        assert_eq!(parse(":pg-2").candidate, Some("pg-2".into()));
    }

    #[test]
    fn a_time_is_read_in_any_offset_and_refused_without_one() {
        let text = r#"{"leader":"a","scheduled_at":"2026-11-21T10:18:58+02:00"}"#;
        let expected = r#"{"leader":"a","scheduled_at":"2026-11-21T08:18:58+00:00"}"#;
        assert_eq!(parse(text).to_json(), expected);
        for bad in ["2026-11-21T10:18:58", "tomorrow", "2026-13-01T00:00:00Z"] {
            let text = format!(r#"{{"leader":"a","scheduled_at":"{bad}"}}"#);
            assert!(Failover::parse(text.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            b"null".as_slice(),
            b"[]",
            b"7",
            b"{",
            b"\xff",
            br#"{"leader":1}"#,
            br#"{"member":{}}"#,
            br#"{"member":"a/b"}"#,
            br#"{"leader":"a","scheduled_at":7}"#,
            b"a/b:c",
        ] {
            assert!(Failover::parse(bad).is_err(), "{bad:?}");
        }
    }
}
