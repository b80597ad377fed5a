//! A configuration file as written: a tree of values that remember where they stand.
//!
//! It knows neither YAML nor what any key means. Printing it shows no password.

use std::fmt;

/// A value and where it stands in the file.
#[derive(Clone, PartialEq)]
pub struct Node {
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    /// What stands there.
    pub value: Value,
}

/// What may stand in a file.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Nothing, or `null`.
    Null,
    /// `true`, `yes`, `on` or their opposites.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Any other text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and their values in the order of the file, no key twice.
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key as written.
    pub text: String,
    /// The line, from 1.
    pub line: u64,
}

impl Node {
    /// The value of a key, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find_map(|(known, node)| (known.text == key).then_some(node))
    }

    /// The keys and values, if this is a map; else none.
    #[must_use]
    pub fn entries(&self) -> &[(Key, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_) => &[],
        }
    }

    /// The value as a message quotes it: scalars as written, of all else what kind of thing it is.
    #[must_use]
    pub fn shown(&self) -> String {
        self.value.shown()
    }
}

impl From<&serde_json::Value> for Node {
    /// JSON, which stands in no file: in line 0.
    fn from(json: &serde_json::Value) -> Self {
        Self::nowhere(match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => number.as_i64().map_or_else(
                || Value::Float(number.as_f64().unwrap_or(f64::NAN)),
                Value::Int,
            ),
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => Value::List(items.iter().map(Self::from).collect()),
            serde_json::Value::Object(fields) => {
                let entry = |(text, value): (&String, &serde_json::Value)| {
                    let text = text.clone();
                    (Key { text, line: 0 }, Self::from(value))
                };
                Value::Map(fields.iter().map(entry).collect())
            }
        })
    }
}

impl Node {
    /// A value that stands in no file.
    #[must_use]
    pub const fn nowhere(value: Value) -> Self {
        Self {
            line: 0,
            column: 0,
            value,
        }
    }

    /// The same as JSON; a number that JSON has no word for is nothing.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, node)| (key.text.clone(), node.to_json()))
                .collect(),
        }
    }
}

impl Value {
    fn shown(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Text(text) => quoted(text),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a section with keys of its own".to_owned(),
        }
    }
}

/// Text in quotation marks, with control characters made visible, cut to a readable length, and without the
/// password a URL may carry.
#[must_use]
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    let text = without_password(text);
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{start:?}…")
}

/// A URL with its user and password masked; any other text as it is.
fn without_password(text: &str) -> String {
    let after_scheme = text.find("://").map_or(0, |at| at + 3);
    match text.rfind('@') {
        Some(at) if at >= after_scheme => {
            format!("{}***{}", &text[..after_scheme], &text[at..])
        }
        Some(_) | None => text.to_owned(),
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Map(entries) => {
                let mut map = f.debug_map();
                for (key, node) in entries {
                    if key.text.contains("password") {
                        map.entry(&key.text, &format_args!("***"));
                    } else {
                        map.entry(&key.text, node);
                    }
                }
                map.finish()
            }
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_) => {
                f.write_str(&self.shown())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Node {
        Node {
            line: 1,
            column: 1,
            value: Value::Text(text.to_owned()),
        }
    }

    #[test]
    fn printing_a_tree_shows_no_password() {
        let key = |text: &str| Key {
            text: text.to_owned(),
            line: 1,
        };
        let tree = Node {
            line: 1,
            column: 1,
            value: Value::Map(vec![
                (key("password"), text("hunter2")),
                (key("keyfile_password"), text("hunter2")),
                (key("url"), text("https://root:hunter2@etcd:2379")),
                (key("proxy"), text("root:hunter2@etcd:2379")),
            ]),
        };
        assert_eq!(
            format!("{tree:?}"),
            r#"{"password": ***, "keyfile_password": ***, "url": "https://***@etcd:2379", "proxy": "***@etcd:2379"}"#
        );
    }

    #[test]
    fn a_long_text_is_cut_and_its_line_breaks_are_shown() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert_eq!(quoted(&"ü".repeat(100)).chars().count(), 83);
    }
}
