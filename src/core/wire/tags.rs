//! The tags a member carries: what it must not be used for, and whatever else its operator wrote (Patroni 4.1, tags).

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{number, object};

/// A member's tags, in the order they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(pub Map<String, Value>);

impl Tags {
    /// Whether it is to get no readers.
    #[must_use]
    pub fn noloadbalance(&self) -> bool {
        self.flag("noloadbalance")
    }

    /// Whether it must never become the leader: said so, or by a priority that is not positive.
    #[must_use]
    pub fn nofailover(&self) -> bool {
        self.is_excluded("nofailover", "failover_priority")
    }

    /// Whether it is not to stream from anybody, nor to have a slot anywhere.
    #[must_use]
    pub fn nostream(&self) -> bool {
        self.flag("nostream")
    }

    /// Which of equally advanced members is preferred as leader: the one with more. Zero is never.
    #[must_use]
    pub fn failover_priority(&self) -> i64 {
        self.priority("nofailover", "failover_priority")
    }

    /// Whether it must never be a synchronous standby: said so, or by a priority that is not positive.
    #[must_use]
    pub fn nosync(&self) -> bool {
        self.is_excluded("nosync", "sync_priority")
    }

    /// Which member is preferred as synchronous standby: the one with more. Zero is never.
    #[must_use]
    pub fn sync_priority(&self) -> i64 {
        self.priority("nosync", "sync_priority")
    }

    /// Whether new replicas are best copied from it.
    #[must_use]
    pub fn clonefrom(&self) -> bool {
        self.flag("clonefrom")
    }

    /// A tag as the text that health checks and route filters compare: a string as it is, anything else in Python's
    /// words and lower case (`true`, `1.4`, `none`). Lists and objects are equal to no text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.0.get(name)? {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Null => Some(Cow::Borrowed("none")),
            scalar @ (Value::Bool(_) | Value::Number(_)) => Some(Cow::Owned(scalar.to_string())),
            Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn flag(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(object::is_truthy)
    }

    /// Where the flag and the priority contradict each other, the flag holds.
    fn is_excluded(&self, flag: &str, priority: &str) -> bool {
        match self.0.get(flag) {
            Some(value) if !value.is_null() => object::is_truthy(value),
            Some(_) | None => self.written_priority(priority) <= 0,
        }
    }

    fn priority(&self, flag: &str, priority: &str) -> i64 {
        if self.is_excluded(flag, priority) {
            0
        } else {
            self.written_priority(priority)
        }
    }

    fn written_priority(&self, name: &str) -> i64 {
        self.0.get(name).and_then(number::whole).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tags(value: &Value) -> Tags {
        Tags(value.as_object().unwrap().clone())
    }

    #[test]
    fn no_tags_exclude_from_nothing() {
        let none = Tags::default();
        assert!(!none.noloadbalance() && !none.nofailover() && !none.nosync() && !none.clonefrom());
        assert_eq!((none.failover_priority(), none.sync_priority()), (1, 1));
        assert_eq!(none.get("zone"), None);
    }

    #[test]
    fn a_flag_is_true_where_python_says_so() {
        for (value, is_set) in [
            (json!(true), true),
            (json!(1), true),
            (json!("false"), true),
            (json!(false), false),
            (json!(0), false),
            (json!(""), false),
            (json!(null), false),
        ] {
            let tags = tags(&json!({ "noloadbalance": value }));
            assert_eq!(tags.noloadbalance(), is_set, "{tags:?}");
        }
    }

    #[test]
    fn a_priority_excludes_unless_the_flag_says_otherwise() {
        for (written, excluded, priority) in [
            (json!({"failover_priority": 0}), true, 0),
            (json!({"failover_priority": -1}), true, 0),
            (json!({"failover_priority": "5"}), false, 5),
            (json!({"failover_priority": "high"}), false, 1),
            (json!({"nofailover": true, "failover_priority": 5}), true, 0),
            (
                json!({"nofailover": false, "failover_priority": 0}),
                false,
                0,
            ),
            (json!({"nofailover": null, "failover_priority": 0}), true, 0),
        ] {
            let tags = tags(&written);
            assert_eq!(tags.nofailover(), excluded, "{tags:?}");
            assert_eq!(tags.failover_priority(), priority, "{tags:?}");
        }
        let tags = tags(&json!({"nosync": true, "sync_priority": 0}));
        assert!(tags.nosync());
        assert_eq!(tags.sync_priority(), 0);
    }

    #[test]
    fn a_tag_is_compared_as_lower_case_text_unless_it_is_text_already() {
        let tags = tags(&json!({"a": "Z1", "b": true, "c": 1.4, "d": null, "e": [1], "f": {}}));
        let texts = ["a", "b", "c", "d", "e", "f"].map(|name| tags.get(name));
        let expected = [
            Some("Z1"),
            Some("true"),
            Some("1.4"),
            Some("none"),
            None,
            None,
        ];
        assert_eq!(texts, expected.map(|text| text.map(Cow::Borrowed)));
    }
}
