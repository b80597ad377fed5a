//! What is wrong with a configuration, in words for the person who wrote it.

use std::fmt;

/// One thing that is wrong, where it is, and what should stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the configuration can be used in spite of it.
    pub severity: Severity,
    /// Where it stands if not in the file at hand: another file, or an environment variable.
    pub place: Option<String>,
    /// The line in the file, from 1; `None` where it stands in no file.
    pub line: Option<u64>,
    /// The path of the key: `listeners.read.max_lag`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead; empty where there is nothing to add.
    pub expected: String,
}

/// Whether a configuration can be used in spite of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It can; what was written has no effect, or another one than it seems to have.
    Warning,
    /// It cannot.
    Error,
}

/// All that is wrong with one configuration.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Problems {
    /// The file, as it was named to us.
    pub file: String,
    /// The problems in the order of their lines.
    list: Vec<Problem>,
}

impl Problems {
    /// No problems yet with this file.
    #[must_use]
    pub fn of(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            list: Vec::new(),
        }
    }

    /// The one problem with a file that cannot be read.
    #[must_use]
    pub fn unreadable(file: &str, cause: &str) -> Self {
        let mut problems = Self::of(file);
        problems.push(Problem {
            severity: Severity::Error,
            place: None,
            line: None,
            key: String::new(),
            what: format!("cannot be read: {cause}"),
            expected: String::new(),
        });
        problems
    }

    /// Every problem, in the order of the lines.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.list
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the configuration cannot be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    /// One line a problem, each beginning with the file: what is printed or logged.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.list.iter().map(|problem| {
            let place = problem.place.as_ref().unwrap_or(&self.file);
            match (problem.line, problem.severity) {
                (Some(line), Severity::Error) => format!("{place}:{line}: {problem}"),
                (Some(line), Severity::Warning) => format!("{place}:{line}: warning: {problem}"),
                (None, Severity::Error) => format!("{place}: {problem}"),
                (None, Severity::Warning) => format!("{place}: warning: {problem}"),
            }
        })
    }

    /// Says of every problem where it really stands; they are put in the order of those places.
    pub fn relocate(&mut self, to: impl Fn(&mut Problem)) {
        self.list.iter_mut().for_each(to);
        self.list
            .sort_by(|one, other| (&one.place, one.line).cmp(&(&other.place, other.line)));
    }

    /// Adds a problem behind those of the same line.
    pub fn push(&mut self, problem: Problem) {
        let at = self
            .list
            .partition_point(|known| known.line <= problem.line);
        self.list.insert(at, problem);
    }

    /// Adds the problems of another file.
    pub fn take_over(&mut self, other: Self) {
        for mut problem in other.list {
            let file = other.file.clone();
            problem.place = problem.place.or(Some(file));
            self.list.push(problem);
        }
    }

    /// The problems alone if the configuration cannot be used; else what was understood, and the warnings.
    ///
    /// # Errors
    ///
    /// If there is an error among the problems.
    pub fn or<T>(self, understood: T) -> Result<(T, Self), Self> {
        if self.has_errors() {
            Err(self)
        } else {
            Ok((understood, self))
        }
    }
}

impl fmt::Display for Problem {
    /// Without file and line: [`Problems::lines`] puts them in front.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if self.expected.is_empty() {
            Ok(())
        } else {
            write!(f, "; {}", self.expected)
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in self.lines().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
