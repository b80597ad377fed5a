//! Reading a tree key by key, and collecting everything that is wrong with it on the way.
//!
//! A [`Section`] hands out the values of its keys. What cannot be read becomes a problem and counts as not
//! written, so that one pass finds all there is to mend; a key that nobody asked for is reported at the end.

use super::node::{Key, Node, Value, quoted};
use super::problem::{Problem, Problems, Severity};
use super::value::Wrong;

/// A map of the file, its keys being read.
pub struct Section<'n, 'p> {
    path: String,
    line: Option<u64>,
    entries: &'n [(Key, Node)],
    known: Vec<&'n str>,
    problems: &'p mut Problems,
}

impl<'n, 'p> Section<'n, 'p> {
    /// The whole file. One that is empty has no keys; one that is no map is a problem.
    pub fn root(node: &'n Node, problems: &'p mut Problems) -> Self {
        let mut root = Self {
            path: String::new(),
            line: None,
            entries: node.entries(),
            known: Vec::new(),
            problems,
        };
        if !matches!(node.value, Value::Map(_) | Value::Null) {
            root.error(Some(node.line), "", not_a_map(node), KEYS);
        }
        root
    }

    /// The value of a key, unless it is missing or empty.
    pub fn take(&mut self, key: &'static str) -> Option<&'n Node> {
        self.known.push(key);
        let (_, node) = self.entries.iter().find(|(known, _)| known.text == key)?;
        (node.value != Value::Null).then_some(node)
    }

    /// Lets a key be there, whatever stands under it.
    pub fn pass(&mut self, key: &'n str) {
        self.known.push(key);
    }

    /// The keys and values as written.
    #[must_use]
    pub const fn entries(&self) -> &'n [(Key, Node)] {
        self.entries
    }

    /// Whether the key is written with a value.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries
            .iter()
            .any(|(known, node)| known.text == key && node.value != Value::Null)
    }

    /// The value of a key as `read` understands it.
    pub fn value<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Node) -> Result<T, Wrong>,
    ) -> Option<T> {
        let node = self.take(key)?;
        self.understood(key, node, read)
    }

    /// Puts the value of a key where its default stands.
    pub fn set<T>(
        &mut self,
        key: &'static str,
        to: &mut T,
        read: impl FnOnce(&Node) -> Result<T, Wrong>,
    ) {
        if let Some(value) = self.value(key, read) {
            *to = value;
        }
    }

    /// The values of a list; a single value counts as a list of one.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Node) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        let node = self.take(key)?;
        let Value::List(items) = &node.value else {
            return self.understood(key, node, read).map(|value| vec![value]);
        };
        let read = items
            .iter()
            .enumerate()
            .filter_map(|(at, item)| self.understood(&format!("{key}[{at}]"), item, &read));
        Some(read.collect())
    }

    /// The section under a key.
    pub fn section(&mut self, key: &'static str) -> Option<Section<'n, '_>> {
        let node = self.take(key)?;
        self.section_at(key, node)
    }

    /// The sections under a key whose own keys are names.
    pub fn names(&mut self, key: &'static str) -> Option<&'n [(Key, Node)]> {
        let node = self.take(key)?;
        if matches!(node.value, Value::Map(_)) {
            Some(node.entries())
        } else {
            self.error(Some(node.line), key, not_a_map(node), KEYS);
            None
        }
    }

    /// The section that `node` is, under the path `key` from here. An empty one has no keys.
    pub fn section_at(&mut self, key: &str, node: &'n Node) -> Option<Section<'n, '_>> {
        if !matches!(node.value, Value::Map(_) | Value::Null) {
            self.error(Some(node.line), key, not_a_map(node), KEYS);
            return None;
        }
        Some(Section {
            path: self.path_of(key),
            line: Some(node.line),
            entries: node.entries(),
            known: Vec::new(),
            problems: self.problems,
        })
    }

    /// A value as `read` understands it, under the path `key` from here.
    pub fn understood<T>(
        &mut self,
        key: &str,
        node: &Node,
        read: impl FnOnce(&Node) -> Result<T, Wrong>,
    ) -> Option<T> {
        match read(node) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.error(Some(node.line), key, wrong.what, &wrong.expected);
                None
            }
        }
    }

    /// Reports a key that has to be there and is not.
    pub fn missing(&mut self, key: &str, expected: &str) {
        let line = self.line_of(key);
        self.error(line, key, "is missing".to_owned(), expected);
    }

    /// Refuses a key that has a meaning, but not yet.
    pub fn not_built(&mut self, key: &'static str, instead: &str) {
        if let Some(node) = self.take(key) {
            self.error(Some(node.line), key, "is not built yet".to_owned(), instead);
        }
    }

    /// Reports what is wrong with a key as a whole, at the line where it stands.
    pub fn refuse(&mut self, key: &str, what: &str, expected: &str) {
        let line = self.line_of(key);
        self.error(line, key, what.to_owned(), expected);
    }

    /// Reports what has no effect, or not the one it seems to have.
    pub fn warn(&mut self, key: &str, what: &str, expected: &str) {
        let line = self.line_of(key);
        self.push(Severity::Warning, line, key, what.to_owned(), expected);
    }

    /// The same of a value whose keys are names.
    pub fn warn_at(&mut self, node: &Node, key: &str, what: &str, expected: &str) {
        let line = Some(node.line);
        self.push(Severity::Warning, line, key, what.to_owned(), expected);
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(self) {
        self.finish_with(&[]);
    }

    /// Reports the keys that nobody asked for; for some of them it is known what was meant.
    pub fn finish_with(mut self, meant: &[(&str, &str)]) {
        for (key, _) in self.entries {
            if self.known.contains(&key.text.as_str()) {
                continue;
            }
            let expected = meant
                .iter()
                .find(|(wrong, _)| *wrong == key.text)
                .map(|(_, right)| (*right).to_owned())
                .or_else(|| {
                    nearest(&key.text, &self.known).map(|known| format!("did you mean {known:?}?"))
                })
                .unwrap_or_default();
            let what = "is no key of this section and has no effect".to_owned();
            self.push(
                Severity::Warning,
                Some(key.line),
                &key.text,
                what,
                &expected,
            );
        }
    }

    /// Where the key stands, or else the section.
    fn line_of(&self, key: &str) -> Option<u64> {
        self.entries
            .iter()
            .find_map(|(known, _)| (known.text == key).then_some(known.line))
            .or(self.line)
    }

    fn path_of(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            ("", key) => key.to_owned(),
            (path, "") => path.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
    }

    fn error(&mut self, line: Option<u64>, key: &str, what: String, expected: &str) {
        self.push(Severity::Error, line, key, what, expected);
    }

    fn push(
        &mut self,
        severity: Severity,
        line: Option<u64>,
        key: &str,
        what: String,
        expected: &str,
    ) {
        let key = self.path_of(key);
        self.problems.push(Problem {
            severity,
            place: None,
            line,
            key,
            what,
            expected: expected.to_owned(),
        });
    }
}

const KEYS: &str = "write keys with values, one a line (key: value)";

fn not_a_map(node: &Node) -> String {
    format!("{} stands where keys should", node.shown())
}

/// The known word that was probably meant, if one is close enough.
#[must_use]
pub fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    let tolerated = (word.chars().count() / 3).clamp(1, 3);
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many characters have to be changed, added or left out; `-` and `_` are one, as are both cases.
fn distance(one: &str, other: &str) -> usize {
    let plain = |text: &str| -> Vec<char> {
        text.chars()
            .take(40)
            .map(|c| {
                if c == '-' {
                    '_'
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect()
    };
    let (one, other) = (plain(one), plain(other));
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// A list of words for a message: `"a", "b" or "c"`.
#[must_use]
pub fn choice(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
