//! The values of configuration files: how PostgreSQL quotes them, and how lines of `name = 'value'` are read again.
//!
//! Nothing here knows which parameters there are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Appends the line `name = 'value'`. Quotes and backslashes are doubled; a line break, which a quoted value cannot
/// hold, becomes PostgreSQL's own escape for it.
pub(super) fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{name} = {}", quoted(value));
}

/// A value in quotes, as PostgreSQL reads it.
pub(super) fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('\'');
    for character in value.chars() {
        match character {
            '\'' => text.push_str("''"),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\0' => {}
            other => text.push(other),
        }
    }
    text.push('\'');
    text
}

/// Whether PostgreSQL's configuration file can hold a parameter of this name: a word, or two with a dot between them.
pub(super) fn is_name(name: &str) -> bool {
    let mut words = name.split('.');
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && word
                .chars()
                .all(|other| other.is_ascii_alphanumeric() || other == '_' || other == '$')
    };
    let (first, second, third) = (words.next(), words.next(), words.next());
    name.len() <= 63 * 2 + 1
        && third.is_none()
        && first.is_some_and(is_word)
        && second.is_none_or(is_word)
}

/// What a configuration file sets, by name in lower case; the last one of a name wins, as with PostgreSQL. Lines that
/// are no settings are passed over: this is for files that a machine wrote.
#[must_use]
pub(super) fn settings(file: &str) -> BTreeMap<String, String> {
    file.lines().filter_map(setting).collect()
}

/// The parameter a line sets, if it sets one.
pub(super) fn name(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let end = line
        .find(|other: char| !(other.is_ascii_alphanumeric() || matches!(other, '_' | '$' | '.')))
        .unwrap_or(line.len());
    is_name(&line[..end]).then_some(&line[..end])
}

fn setting(line: &str) -> Option<(String, String)> {
    let name = name(line).filter(|name| !is_directive(name))?;
    let rest = line.trim_start()[name.len()..].trim_start();
    let value = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let value = match value.strip_prefix('\'') {
        Some(rest) => unquoted(rest),
        None => {
            let end = value.find(|other: char| other == '#' || other.is_whitespace());
            value[..end.unwrap_or(value.len())].to_owned()
        }
    };
    Some((name.to_ascii_lowercase(), value))
}

/// Whether the word at the beginning of a line names a file to read, and no parameter.
fn is_directive(word: &str) -> bool {
    ["include", "include_if_exists", "include_dir"]
        .iter()
        .any(|directive| word.eq_ignore_ascii_case(directive))
}

/// What stands before the closing quote.
fn unquoted(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' if characters.next_if_eq(&'\'').is_some() => value.push('\''),
            '\'' => break,
            '\\' => match characters.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('r') => value.push('\r'),
                Some(other) => value.push(other),
                None => {}
            },
            other => value.push(other),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_and_backslashes_are_doubled_and_a_line_break_stays_on_its_line() {
        assert_eq!(quoted(r"it's C:\"), r"'it''s C:\\'");
        assert_eq!(quoted("a\nfsync = 'off'"), r"'a\nfsync = ''off'''");
    }

    #[test]
    fn a_name_is_one_word_or_two_with_a_dot() {
        for good in ["fsync", "pg_stat_statements.track", "_x", "a$1"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "", "1a", "a.", ".a", "a.b.c", "a b", "a\nb", "a=b", "é", "a-b",
        ] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_file_is_read_as_postgresql_reads_it() {
        let file = "# port = 1\ninclude 'x'\nport = 5\n Port='6' # seven\nfsync off\nlog_line_prefix = '%m ''q'' \\\\ '\n= 3\n";
        let read = settings(file);
        assert_eq!(read["port"], "6");
        assert_eq!(read["fsync"], "off");
        assert_eq!(read["log_line_prefix"], "%m 'q' \\ ");
        assert_eq!(read.len(), 3, "{read:?}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(value in "[^\\x00\r]*") {
            let mut text = String::new();
            line(&mut text, "some.name", &value);
            prop_assert_eq!(text.lines().count(), 1);
            prop_assert_eq!(&settings(&text)["some.name"], &value);
        }

        #[test]
        fn anything_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = settings(&String::from_utf8_lossy(&bytes));
        }
    }
}
