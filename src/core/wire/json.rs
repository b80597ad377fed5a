//! Writing JSON as Python's `json` does: fields in the order given, everything beyond ASCII escaped.

use std::io;

use serde_json::ser::Formatter;
use serde_json::{Map, Serializer, Value};

/// The separators of etcd values: none but the comma and the colon.
const COMPACT: Python = Python {
    comma: b",",
    colon: b":",
};

/// The separators of REST answers, Python's default.
const SPACED: Python = Python {
    comma: b", ",
    colon: b": ",
};

/// A value as it stands in etcd.
pub(crate) fn compact(value: &Value) -> String {
    written(value, COMPACT)
}

/// A value as the REST API answers it.
pub(crate) fn spaced(value: &Value) -> String {
    written(value, SPACED)
}

/// An object whose absent fields are left out.
#[derive(Default)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Adds a field that is always written.
    pub(crate) fn put(&mut self, field: &str, value: impl Into<Value>) -> &mut Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    /// Adds a field that is written where there is a value.
    pub(crate) fn put_some(&mut self, field: &str, value: Option<impl Into<Value>>) -> &mut Self {
        match value {
            Some(value) => self.put(field, value),
            None => self,
        }
    }

    /// Adds a flag, which is written where it is raised and never as `false`.
    pub(crate) fn put_flag(&mut self, field: &str, raised: bool) -> &mut Self {
        self.put_some(field, raised.then_some(true))
    }

    /// Adds fields as they are, after those already there.
    pub(crate) fn put_all(&mut self, fields: &Map<String, Value>) -> &mut Self {
        for (field, value) in fields {
            self.put(field, value.clone());
        }
        self
    }

    /// The object.
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

fn written(value: &Value, style: Python) -> String {
    use serde::Serialize as _;

    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, style);
    #[expect(clippy::expect_used, reason = "a value in memory, its keys are text")]
    value
        .serialize(&mut serializer)
        .expect("a JSON value can be written to memory");
    #[expect(clippy::expect_used, reason = "the formatter escapes all the rest")]
    String::from_utf8(bytes).expect("all that is written is ASCII")
}

/// Python's way of writing, with one of its two pairs of separators.
#[derive(Clone, Copy)]
struct Python {
    comma: &'static [u8],
    colon: &'static [u8],
}

impl Python {
    fn separate<W: ?Sized + io::Write>(self, writer: &mut W, first: bool) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(self.comma)
        }
    }
}

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.separate(writer, first)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.separate(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.colon)
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for character in fragment.chars() {
            if matches!(character, ' '..='~') {
                writer.write_all(&[character as u8])?;
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_separators_are_pythons() {
        let value = json!({"b": [1, 2.5, null], "a": {"x": true}, "e": {}, "l": []});
        assert_eq!(
            compact(&value),
            r#"{"b":[1,2.5,null],"a":{"x":true},"e":{},"l":[]}"#
        );
        assert_eq!(
            spaced(&value),
            r#"{"b": [1, 2.5, null], "a": {"x": true}, "e": {}, "l": []}"#
        );
    }

    #[test]
    fn what_is_not_printable_ascii_is_escaped() {
        let value = json!("\u{1}\n\t\"\\/\u{7f}é中😀");
        assert_eq!(
            compact(&value),
            r#""\u0001\n\t\"\\/\u007f\u00e9\u4e2d\ud83d\ude00""#
        );
    }
}
