//! The `failsafe` key: whom a leader must reach to go on without etcd (Patroni 4.1, etcd values, failsafe).

use std::collections::BTreeMap;

use serde_json::Value;

use super::json::{self, Fields};
use super::object::{self, Object, kind};
use super::{Invalid, Why};
use crate::MemberName;

const WHAT: &str = "failsafe value";

/// Every member a leader must reach, with the URL of its REST API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failsafe(pub BTreeMap<MemberName, String>);

impl Failsafe {
    /// Reads the value.
    ///
    /// # Errors
    ///
    /// If it is no object of texts. Here nothing is lenient: a member left out is one a leader would not ask.
    pub fn parse(value: &[u8]) -> Result<Self, Invalid> {
        Object::parse(WHAT, value)?
            .rest()
            .into_iter()
            .map(|(name, url)| {
                let url = url.as_str().map(str::to_owned).ok_or_else(|| {
                    Why::WrongKind {
                        expected: "an object of strings",
                        found: kind(&url),
                    }
                    .of(WHAT)
                })?;
                Ok((object::member_name(WHAT, &name)?, url))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The value as Patroni would write it; the members stand in the order of their names, since Patroni's own
    /// order says nothing.
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
        let mut fields = Fields::default();
        for (name, url) in &self.0 {
            fields.put(name.as_str(), url.as_str());
        }
        fields.into_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_patroni_writes_is_read_and_written_the_same() {
        for text in [
            r#"{"pg-1":"http://127.0.0.1:20081/patroni","pg-2":"http://127.0.0.2:20082/patroni"}"#,
            "{}",
        ] {
            assert_eq!(Failsafe::parse(text.as_bytes()).unwrap().to_json(), text);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            b"".as_slice(),
            b"null",
            b"[]",
            b"{",
            br#"{"a":1}"#,
            br#"{"":"x"}"#,
            b"\xff",
        ] {
            assert!(Failsafe::parse(bad).is_err(), "{bad:?}");
        }
    }
}
