//! YAML files as Patroni reads them: the only file that knows the YAML crate.
//!
//! Patroni reads with PyYAML, which follows YAML 1.1: `on` and `no` are booleans, `0644` is octal, `1:30` is
//! ninety, `<<` merges. So does this, because people copy sections from one file to the other. What a key
//! means is not known here.

use std::fmt::Display;

use serde_saphyr::granit_parser::{
    ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag,
};
use trunkline_core::config::{Key, Node, Problem, Problems, Severity, Value};

mod scalar;

/// The longest file that is read, in bytes.
pub const LONGEST: usize = 1 << 20;
/// How deep lists and maps may stand in each other.
const DEEPEST: usize = 64;
/// How many values there may be, those that aliases and merges repeat included.
const MOST: usize = 100_000;

/// Reads the text of a file; `file` is what it is called in messages. An empty file is [`Value::Null`].
///
/// # Errors
///
/// If it is no YAML, several documents, or too much. Otherwise the problems are warnings: of keys that stand
/// twice the last one counts.
pub fn parse(file: &str, text: &str) -> Result<(Node, Problems), Problems> {
    let mut problems = Problems::of(file);
    let mut reader = Reader {
        parser: Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)),
        anchors: Vec::new(),
        path: Vec::new(),
        left: MOST,
        problems: &mut problems,
    };
    let outcome = if text.len() > LONGEST {
        let what = format!("the file is longer than {LONGEST} bytes");
        Err(Failure::at(1, what, "is it the right one?"))
    } else {
        reader.stream()
    };
    match outcome {
        Ok(node) => problems.or(node),
        Err(failure) => {
            problems.push(failure.problem());
            Err(problems)
        }
    }
}

/// Why reading ended before the end.
struct Failure {
    line: u64,
    what: String,
    expected: String,
}

impl Failure {
    fn at(line: u64, what: impl Display, expected: &str) -> Self {
        Self {
            line,
            what: what.to_string(),
            expected: expected.to_owned(),
        }
    }

    fn problem(self) -> Problem {
        Problem {
            severity: Severity::Error,
            place: None,
            line: Some(self.line),
            key: String::new(),
            what: self.what,
            expected: self.expected,
        }
    }
}

impl From<ScanError> for Failure {
    /// The parser's own words; for what people stumble over most, also what to do.
    fn from(error: ScanError) -> Self {
        let said = error.info();
        let expected = if matches!(error.kind(), ErrorKind::UnknownAnchor) || said.contains("alias")
        {
            "a value that begins with * or & needs quotation marks (\"*:5000\")"
        } else if said.contains("tab") {
            "indent with spaces"
        } else {
            ""
        };
        let (line, column) = (error.marker().line(), error.marker().col() + 1);
        let what = format!("this is no YAML: {said} (column {column})");
        Self::at(wide(line), what, expected)
    }
}

struct Reader<'t, 'p> {
    parser: Parser<'t, StrInput<'t>>,
    /// What stands at each anchor; `None` while it is being read.
    anchors: Vec<(usize, Option<Node>)>,
    path: Vec<String>,
    left: usize,
    problems: &'p mut Problems,
}

impl<'t> Reader<'t, '_> {
    /// One document, or none.
    fn stream(&mut self) -> Result<Node, Failure> {
        let mut document = None;
        while let Some(next) = self.parser.next_event() {
            let (event, span) = next?;
            if matches!(event, Event::DocumentStart(..)) && document.is_some() {
                let what = "a second document begins here";
                return Err(Failure::at(line(&span), what, "leave out the line ---"));
            }
            if event.is_node() || event.is_alias() {
                document = Some(self.node(event, &span)?);
            }
        }
        Ok(document.unwrap_or(Node {
            line: 1,
            column: 1,
            value: Value::Null,
        }))
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Failure> {
        match self.parser.next_event() {
            Some(next) => Ok(next?),
            None => Err(Failure::at(1, "the file ends in the middle", "")),
        }
    }

    fn node(&mut self, event: Event<'t>, span: &Span) -> Result<Node, Failure> {
        self.count(1, line(span))?;
        let anchor = event.anchor_id();
        if let Some(anchor) = anchor {
            self.anchors.push((anchor, None));
        }
        if let Event::Alias(anchor) = event {
            return self.alias(anchor, span);
        }
        let value = if let Event::Scalar(text, style, _, tag) = event {
            tagged(&text, style, tag.as_deref(), span)?
        } else if let Event::SequenceStart(_, _, tag) = event {
            only(tag.as_deref(), "seq", span)?;
            Value::List(self.list(span)?)
        } else if let Event::MappingStart(_, _, tag) = event {
            only(tag.as_deref(), "map", span)?;
            Value::Map(self.map(span)?)
        } else {
            let what = "this is no YAML: a value should stand here";
            return Err(Failure::at(line(span), what, ""));
        };
        let node = at(span, value);
        if let Some(anchor) = anchor {
            self.anchors.push((anchor, Some(node.clone())));
        }
        Ok(node)
    }

    fn list(&mut self, start: &Span) -> Result<Vec<Node>, Failure> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(items);
            }
            self.enter(format!("[{}]", items.len()), start)?;
            items.push(self.node(event, &span)?);
            self.path.pop();
        }
    }

    fn map(&mut self, start: &Span) -> Result<Vec<(Key, Node)>, Failure> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let merges =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.key(event, &span)?;
            self.enter(key.text.clone(), start)?;
            let (event, span) = self.next()?;
            let node = self.node(event, &span)?;
            if merges {
                merge(&mut merged, node)?;
            } else {
                self.insert(&mut entries, key, node);
            }
            self.path.pop();
        }
        // The map's own keys come first, whatever the order they were written in.
        for (key, node) in merged {
            if !entries.iter().any(|(known, _)| known.text == key.text) {
                entries.push((key, node));
            }
        }
        Ok(entries)
    }

    /// A key is the text as written: `on` is a name here, not a boolean.
    fn key(&mut self, event: Event<'t>, span: &Span) -> Result<Key, Failure> {
        let anchor = event.anchor_id();
        let text = if let Event::Scalar(text, ..) = event {
            Some(text.into_owned())
        } else if let Event::Alias(anchor) = event {
            match self.alias(anchor, span)?.value {
                Value::Text(text) => Some(text),
                Value::Null
                | Value::Bool(_)
                | Value::Int(_)
                | Value::Float(_)
                | Value::List(_)
                | Value::Map(_) => None,
            }
        } else {
            None
        };
        let expected = "write a word before the colon";
        let text = text.ok_or_else(|| Failure::at(line(span), "this is no key", expected))?;
        if let Some(anchor) = anchor {
            let value = Value::Text(text.clone());
            self.anchors.push((anchor, Some(at(span, value))));
        }
        Ok(Key {
            text,
            line: line(span),
        })
    }

    /// Of a key that stands twice the last one counts, as in Patroni; nobody means that, so it is reported.
    fn insert(&mut self, entries: &mut Vec<(Key, Node)>, key: Key, node: Node) {
        let Some(known) = entries.iter_mut().find(|(known, _)| known.text == key.text) else {
            entries.push((key, node));
            return;
        };
        self.problems.push(Problem {
            severity: Severity::Warning,
            place: None,
            line: Some(key.line),
            key: self.path.join(".").replace(".[", "["),
            what: format!("stands in line {} too; this one counts", known.0.line),
            expected: "leave one of them out".to_owned(),
        });
        *known = (key, node);
    }

    fn alias(&mut self, anchor: usize, span: &Span) -> Result<Node, Failure> {
        let known = self.anchors.iter().rev().find(|(id, _)| *id == anchor);
        let Some((_, Some(node))) = known else {
            let what = "this alias stands inside of what it repeats";
            return Err(Failure::at(line(span), what, ""));
        };
        let node = node.clone();
        let (values, depth) = measure(&node);
        self.count(values, line(span))?;
        self.deepen(depth, span)?;
        Ok(node)
    }

    fn enter(&mut self, name: String, span: &Span) -> Result<(), Failure> {
        self.deepen(1, span)?;
        self.path.push(name);
        Ok(())
    }

    fn deepen(&self, by: usize, span: &Span) -> Result<(), Failure> {
        if self.path.len() + by <= DEEPEST {
            return Ok(());
        }
        let what = format!("lists and maps stand more than {DEEPEST} deep in each other");
        Err(Failure::at(line(span), what, ""))
    }

    fn count(&mut self, values: usize, line: u64) -> Result<(), Failure> {
        let what = || format!("the file has more than {MOST} values");
        let left = self.left.checked_sub(values);
        self.left = left.ok_or_else(|| Failure::at(line, what(), "is it the right one?"))?;
        Ok(())
    }
}

/// A scalar as its tag, or else its spelling, has it. What stands in quotation marks is a text.
fn tagged(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: &Span,
) -> Result<Value, Failure> {
    let Some(tag) = tag else {
        return Ok(if style == ScalarStyle::Plain {
            scalar::plain(text)
        } else {
            Value::Text(text.to_owned())
        });
    };
    let kind = tag.core_suffix();
    if kind == Some("str") || tag.original() == "!" {
        return Ok(Value::Text(text.to_owned()));
    }
    let value = scalar::plain(text);
    let fits = match &value {
        Value::Null => kind == Some("null"),
        Value::Bool(_) => kind == Some("bool"),
        Value::Int(_) => kind == Some("int"),
        Value::Float(_) => kind == Some("float"),
        Value::Text(_) | Value::List(_) | Value::Map(_) => false,
    };
    if fits {
        return Ok(value);
    }
    // The value is not said: it may be a password.
    let what = format!("the value is nothing the tag {} could be", tag.original());
    Err(Failure::at(line(span), what, "leave the tag out"))
}

/// A list or a map may be tagged as what it is, and as nothing else.
fn only(tag: Option<&Tag>, kind: &str, span: &Span) -> Result<(), Failure> {
    match tag {
        Some(tag) if tag.core_suffix() != Some(kind) => {
            let what = format!("the tag {} has no meaning here", tag.original());
            Err(Failure::at(line(span), what, "leave it out"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Merges what `<<` names: of two maps one after the other the later one wins, in one list the earlier one.
fn merge(into: &mut Vec<(Key, Node)>, node: Node) -> Result<(), Failure> {
    let line = node.line;
    let wrong = || {
        Failure::at(
            line,
            "<< merges maps, and this is none",
            "write << : *anchor",
        )
    };
    match node.value {
        Value::Map(entries) => {
            for (key, node) in entries {
                into.retain(|(known, _)| known.text != key.text);
                into.push((key, node));
            }
            Ok(())
        }
        Value::List(items) => items.into_iter().rev().try_for_each(|item| {
            if matches!(item.value, Value::Map(_)) {
                merge(into, item)
            } else {
                Err(wrong())
            }
        }),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
            Err(wrong())
        }
    }
}

/// How many values a tree has, and how many lists and maps stand in each other.
fn measure(node: &Node) -> (usize, usize) {
    let inner = |nodes: &mut dyn Iterator<Item = &Node>| {
        nodes
            .map(measure)
            .fold((1, 0), |(values, depth), (more, deep)| {
                (values + more, depth.max(deep + 1))
            })
    };
    match &node.value {
        Value::List(items) => inner(&mut items.iter()),
        Value::Map(entries) => inner(&mut entries.iter().map(|(_, node)| node)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => (1, 0),
    }
}

fn at(span: &Span, value: Value) -> Node {
    Node {
        line: line(span),
        column: wide(span.start.col()) + 1,
        value,
    }
}

fn line(span: &Span) -> u64 {
    wide(span.start.line())
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
