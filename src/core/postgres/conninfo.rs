//! Connection strings of libpq: `host=… port=… user=…`, in the order and with the escapes that Patroni writes
//! (contract 4.1).

use std::collections::BTreeMap;

use super::MajorVersion;
use crate::config::agent::Credentials;

/// The keywords in their order, with the first version of libpq that knows each; 0: all of them.
const KEYWORDS: [(&str, u32); 20] = [
    ("dbname", 0),
    ("user", 0),
    ("passfile", 0),
    ("password", 0),
    ("host", 0),
    ("port", 0),
    ("sslmode", 0),
    ("sslcompression", 0),
    ("sslcert", 0),
    ("sslkey", 0),
    ("sslpassword", 13),
    ("sslrootcert", 0),
    ("sslcrl", 0),
    ("sslcrldir", 14),
    ("application_name", 0),
    ("krbsrvname", 0),
    ("gssencmode", 12),
    ("channel_binding", 13),
    ("target_session_attrs", 10),
    ("sslnegotiation", 17),
];

/// A connection string in the making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conninfo(BTreeMap<String, String>);

impl Conninfo {
    /// The user of these credentials with its options, but without its password: that one goes into the password
    /// file.
    #[must_use]
    pub fn of(credentials: &Credentials) -> Self {
        let mut conninfo = Self(credentials.options.clone());
        // Whatever the options say, where to go and as whom is not theirs.
        for taken in ["host", "port", "user", "password", "passfile"] {
            conninfo.0.remove(taken);
        }
        if let Some(user) = &credentials.username {
            conninfo = conninfo.set("user", user);
        }
        conninfo
    }

    /// Sets a keyword.
    #[must_use]
    pub fn set(mut self, keyword: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.0.insert(keyword.to_owned(), value.to_string());
        self
    }

    /// Sets a keyword that is not set yet.
    #[must_use]
    pub fn or(mut self, keyword: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.0
            .entry(keyword.to_owned())
            .or_insert_with(|| value.to_string());
        self
    }

    /// The text for programs and servers of this version: what they do not know is left out.
    #[must_use]
    pub fn to_text(&self, version: MajorVersion) -> String {
        let known = KEYWORDS
            .iter()
            .filter(|(_, since)| *since <= version.number());
        let set = known.filter_map(|(keyword, _)| Some((keyword, self.0.get(*keyword)?)));
        let words: Vec<String> = set
            .map(|(keyword, value)| format!("{keyword}={}", escaped(value)))
            .collect();
        words.join(" ")
    }
}

/// A value as it stands in a connection string.
fn escaped(value: &str) -> String {
    if value.is_empty() {
        return "''".to_owned();
    }
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, '\'' | '\\') || is_space(character) {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// Reads a connection string of keywords as libpq does; `None` if it is none. Of a keyword that stands there twice the last
/// one counts.
#[must_use]
pub fn parse(text: &str) -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let end = rest.find(|other: char| other == '=' || is_space(other))?;
        let keyword = &rest[..end];
        let value = rest[end..]
            .trim_start_matches(is_space)
            .strip_prefix('=')?
            .trim_start_matches(is_space);
        let (value, after) = parse_value(value)?;
        if keyword.is_empty() {
            return None;
        }
        found.insert(keyword.to_owned(), value);
        rest = after.trim_start_matches(is_space);
    }
    Some(found)
}

/// The value at the beginning of `text`, and what follows it.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let (quoted, start) = match text.strip_prefix('\'') {
        Some(inside) => (true, inside),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = start.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, next)| next)),
            '\'' if quoted => return Some((value, &start[at + 1..])),
            other if !quoted && is_space(other) => return Some((value, &start[at..])),
            other => value.push(other),
        }
    }
    // A quote that was opened must be closed.
    (!quoted).then_some((value, ""))
}

/// What ends a value: C's `isspace`.
const fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t'..='\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_keywords_have_their_order_and_what_the_version_does_not_know_is_left_out() {
        let conninfo = Conninfo::default()
            .set("sslnegotiation", "direct")
            .set("sslcrldir", "/crl")
            .set("host", "::1")
            .set("user", "u")
            .set("nonsense", "x")
            .or("user", "other");
        let text = |number| conninfo.to_text(MajorVersion::of_server(number).unwrap());
        assert_eq!(text(130_000), "user=u host=::1");
        assert_eq!(text(140_000), "user=u host=::1 sslcrldir=/crl");
        assert_eq!(
            text(170_000),
            "user=u host=::1 sslcrldir=/crl sslnegotiation=direct"
        );
    }

    #[test]
    fn an_option_of_a_user_changes_neither_the_server_nor_the_password() {
        let options = [("host", "evil"), ("password", "x"), ("sslmode", "require")];
        let credentials = Credentials {
            username: Some("repl".to_owned()),
            password: None,
            options: options.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        };
        let text = Conninfo::of(&credentials).to_text(MajorVersion::NEWEST);
        assert_eq!(text, "user=repl sslmode=require");
    }

    #[test]
    fn an_empty_value_does_not_swallow_the_next_keyword() {
        let text = Conninfo::default()
            .set("user", "")
            .set("host", "a b")
            .to_text(MajorVersion::OLDEST);
        assert_eq!(text, r"user='' host=a\ b");
        let read = parse(&text).unwrap();
        assert_eq!((read["user"].as_str(), read["host"].as_str()), ("", "a b"));
    }

    #[test]
    fn what_is_no_connection_string_is_none() {
        for bad in ["host", "host localhost", "host='a", "=a", "postgres://h/db"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse("host = 'a b'  port= 1").unwrap()["host"], "a b");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(user in "[^\\x00]*", host in "[^\\x00]*") {
            let text = Conninfo::default()
                .set("user", &user)
                .set("host", &host)
                .to_text(MajorVersion::OLDEST);
            let read = parse(&text).unwrap();
            prop_assert_eq!((&read["user"], &read["host"]), (&user, &host));
        }
    }
}
