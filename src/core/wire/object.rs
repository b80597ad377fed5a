//! Reading fields out of a JSON object, leniently or strictly.
//!
//! The `take_…` readers give `None` for a field that is absent, `null` or of the wrong type, as Patroni lives with
//! such a field; the strict ones say what is wrong. Both take the field out, so that what nobody took is left over.

use serde_json::{Map, Value};

use super::number;
use super::{Invalid, Why};
use crate::{Lsn, MemberName, Timeline};

/// A JSON object while its fields are being taken out.
#[derive(Debug)]
pub(super) struct Object {
    what: &'static str,
    /// In the order they were written; a gap for each that was taken out.
    fields: Vec<Option<(String, Value)>>,
}

/// Bytes as text.
pub(super) fn text<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, Invalid> {
    std::str::from_utf8(bytes).map_err(|_| Why::NotUtf8.of(what))
}

/// Bytes as any JSON value.
pub(super) fn json(what: &'static str, bytes: &[u8]) -> Result<Value, Invalid> {
    serde_json::from_str(text(what, bytes)?)
        .map_err(|error| Why::NotJson(error.to_string()).of(what))
}

/// What a JSON value is, for a person.
pub(super) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Whether Python would take the value for true, which is how Patroni reads most of its flags.
pub(super) fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// A position in the log: a whole number, or the same as decimal text.
pub(super) fn lsn(value: &Value) -> Option<Lsn> {
    number::whole(value)
        .and_then(|bytes| u64::try_from(bytes).ok())
        .map(Lsn)
}

/// A member's name: what can stand as one level of a key.
pub(super) fn member_name(what: &'static str, text: &str) -> Result<MemberName, Invalid> {
    if text.len() > MemberName::LONGEST {
        let (bytes, limit) = (text.len(), MemberName::LONGEST);
        return Err(Why::TooLong { bytes, limit }.of(what));
    }
    if text.is_empty() || text.contains('/') {
        return Err(Why::NotAName(text.to_owned()).of(what));
    }
    Ok(MemberName::from(text))
}

impl Object {
    /// Reads bytes that must be one JSON object.
    pub(super) fn parse(what: &'static str, bytes: &[u8]) -> Result<Self, Invalid> {
        Self::of(what, json(what, bytes)?)
    }

    /// Takes a value that must be an object.
    pub(super) fn of(what: &'static str, value: Value) -> Result<Self, Invalid> {
        match value {
            Value::Object(fields) => Ok(Self::holding(what, fields)),
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)) => Err(Why::WrongKind {
                expected: "an object",
                found: kind(&other),
            }
            .of(what)),
        }
    }

    fn holding(what: &'static str, fields: Map<String, Value>) -> Self {
        Self {
            what,
            fields: fields.into_iter().map(Some).collect(),
        }
    }

    /// The field as it is, `None` where it is absent or `null`.
    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        // A look at every name: there are few, and nothing has to close the gap.
        let is = |place: &&mut Option<(String, Value)>| {
            place.as_ref().is_some_and(|(name, _)| name == field)
        };
        let (_, value) = self.fields.iter_mut().find(is)?.take()?;
        Some(value).filter(|value| !value.is_null())
    }

    /// The field, if it is a string.
    pub(super) fn take_text(&mut self, field: &str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) => Some(text),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        }
    }

    /// Whether the field is there and true the way Python means it.
    pub(super) fn take_flag(&mut self, field: &str) -> bool {
        self.take(field).is_some_and(|value| is_truthy(&value))
    }

    /// The field, if it is a position in the log.
    pub(super) fn take_lsn(&mut self, field: &str) -> Option<Lsn> {
        self.take(field).and_then(|value| lsn(&value))
    }

    /// The field, if it is a whole number that is not negative.
    pub(super) fn take_u64(&mut self, field: &str) -> Option<u64> {
        self.take(field).and_then(|value| value.as_u64())
    }

    /// The same, if it is no greater than 32 bits hold.
    pub(super) fn take_u32(&mut self, field: &str) -> Option<u32> {
        self.take_u64(field)
            .and_then(|number| u32::try_from(number).ok())
    }

    /// The field, if it is a timeline. Patroni publishes none where it would be zero.
    pub(super) fn take_timeline(&mut self, field: &str) -> Option<Timeline> {
        self.take_u32(field)
            .filter(|number| *number > 0)
            .map(Timeline)
    }

    /// The field as an object; an empty one where it is absent or anything else.
    pub(super) fn take_object(&mut self, field: &str) -> Self {
        let fields = match self.take(field) {
            Some(Value::Object(fields)) => fields,
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_),
            )
            | None => Map::new(),
        };
        Self::holding(self.what, fields)
    }

    /// The objects in the field, which is a list of them; anything else is left out.
    pub(super) fn take_objects(&mut self, field: &str) -> impl Iterator<Item = Self> + use<> {
        let items = match self.take(field) {
            Some(Value::Array(items)) => items,
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Object(_),
            )
            | None => Vec::new(),
        };
        let what = self.what;
        items
            .into_iter()
            .filter_map(move |item| Self::of(what, item).ok())
    }

    /// The field, which must be a string if it is there.
    pub(super) fn optional_text(&mut self, field: &'static str) -> Result<Option<String>, Invalid> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(Why::WrongType {
                field,
                expected: "a string",
                found: kind(&other),
            }
            .of(self.what)),
        }
    }

    /// The field, which must be there and a string.
    pub(super) fn required_text(&mut self, field: &'static str) -> Result<String, Invalid> {
        self.optional_text(field)?
            .ok_or_else(|| Why::Missing { field }.of(self.what))
    }

    /// The field, which must be a member's name if it is there; empty is as good as absent.
    pub(super) fn optional_name(
        &mut self,
        field: &'static str,
    ) -> Result<Option<MemberName>, Invalid> {
        self.optional_text(field)?
            .filter(|name| !name.is_empty())
            .map(|name| member_name(self.what, &name))
            .transpose()
    }

    /// Whether there is nothing left to take.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.iter().all(Option::is_none)
    }

    /// The fields nobody took, in the order they were written.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.fields.into_iter().flatten().collect()
    }
}
