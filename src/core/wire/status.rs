//! The `status` key: the leader's position in the log and the slots on it (Patroni 4.1, etcd values, status).
//!
//! The old `optime/leader` key holds the position alone and is read here, too.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::json::{self, Fields};
use super::object::{self, Object};
use super::{Invalid, Why};
use crate::Lsn;

const WHAT: &str = "status value";

/// The leader's last word on positions and slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// How far its log reached.
    pub optime: Option<Lsn>,
    /// The position each slot holds; the leader's own name has the leader's own position.
    pub slots: BTreeMap<String, Lsn>,
    /// Slots of members that are gone but for which log is still to be kept.
    pub retain_slots: Vec<String>,
}

impl Status {
    /// Reads the value, an object or the bare position older versions keep. A field that makes no sense is as if it
    /// were absent; the object's fields may themselves be JSON in a string.
    ///
    /// # Errors
    ///
    /// If it is neither an object nor a position.
    pub fn parse(value: &[u8]) -> Result<Self, Invalid> {
        let value = object::json(WHAT, value)?;
        if value.is_object() {
            let mut fields = Object::of(WHAT, value)?;
            return Ok(Self {
                optime: fields.take_lsn("optime"),
                slots: fields.take("slots").map(slots).unwrap_or_default(),
                retain_slots: fields.take("retain_slots").map(names).unwrap_or_default(),
            });
        }
        let optime = object::lsn(&value).ok_or_else(|| {
            Why::WrongKind {
                expected: "an object or a position",
                found: object::kind(&value),
            }
            .of(WHAT)
        })?;
        Ok(Self {
            optime: Some(optime),
            ..Self::default()
        })
    }

    /// The value as Patroni would write it; the slots stand in the order of their names, since Patroni's own order
    /// says nothing.
    #[must_use]
    pub fn to_json(&self) -> String {
        let slots: Map<String, Value> = self
            .slots
            .iter()
            .map(|(name, lsn)| (name.clone(), lsn.0.into()))
            .collect();
        let mut fields = Fields::default();
        fields
            .put_some("optime", self.optime.map(|lsn| lsn.0))
            .put_some("slots", Some(slots).filter(|slots| !slots.is_empty()))
            .put_some(
                "retain_slots",
                Some(self.retain_slots.clone()).filter(|names| !names.is_empty()),
            );
        json::compact(&fields.into_value())
    }
}

fn slots(value: Value) -> BTreeMap<String, Lsn> {
    match unwrapped(value) {
        Value::Object(slots) => slots
            .into_iter()
            .filter_map(|(name, position)| Some((name, object::lsn(&position)?)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            BTreeMap::new()
        }
    }
}

fn names(value: Value) -> Vec<String> {
    match unwrapped(value) {
        Value::Array(names) => names
            .into_iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Vec::new()
        }
    }
}

/// A value that may stand as JSON in a string, as some stores keep nested values.
fn unwrapped(value: Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(&text).unwrap_or_default(),
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Status {
        Status::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_patroni_writes_is_read_and_written_the_same() {
        for text in [
            r#"{"optime":67431312,"slots":{"pg_1":67430560,"pg_2":67431312},"retain_slots":["pg_1","pg_2"]}"#,
            r#"{"optime":67431312}"#,
        ] {
            assert_eq!(parse(text).to_json(), text);
        }
    }

    #[test]
    fn slots_are_the_same_in_any_order() {
        let captured = r#"{"optime":9,"slots":{"pg_3":7,"pg_1":8,"pg_2":9}}"#;
        let ordered = r#"{"optime":9,"slots":{"pg_1":8,"pg_2":9,"pg_3":7}}"#;
        assert_eq!(parse(captured), parse(ordered));
        assert_eq!(parse(captured).to_json(), ordered);
    }

    #[test]
    fn a_position_may_be_text_or_stand_alone() {
        for text in ["67431312", "\"67431312\"", r#"{"optime":"67431312"}"#] {
            assert_eq!(parse(text).optime, Some(Lsn(67_431_312)), "{text}");
        }
        let nested = parse(r#"{"slots":"{\"a\":1}","retain_slots":"[\"a\"]"}"#);
        assert_eq!(nested.slots, BTreeMap::from([("a".to_owned(), Lsn(1))]));
        assert_eq!(nested.retain_slots, ["a"]);
    }

    #[test]
    fn a_field_that_makes_no_sense_leaves_the_others() {
        let status =
            parse(r#"{"optime":-5,"slots":{"a":"x","b":2,"c":null},"retain_slots":[1,"b"]}"#);
        assert_eq!(status.optime, None);
        assert_eq!(status.slots, BTreeMap::from([("b".to_owned(), Lsn(2))]));
        assert_eq!(status.retain_slots, ["b"]);
        let status = parse(r#"{"optime":{},"slots":"x","retain_slots":7}"#);
        assert_eq!(status, Status::default());
        assert_eq!(parse("{}"), Status::default());
    }

    #[test]
    fn what_is_neither_object_nor_position_is_refused() {
        for bad in [
            b"".as_slice(),
            b"null",
            b"[]",
            b"true",
            b"-1",
            b"\"x\"",
            b"{",
            b"\xff",
        ] {
            assert!(Status::parse(bad).is_err(), "{bad:?}");
        }
    }
}
