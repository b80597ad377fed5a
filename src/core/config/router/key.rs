//! Where a setting stands in the file, for messages about a configuration that was understood already.

use super::Router;
use crate::config::node::Node;
use crate::config::problem::{Problem, Problems, Severity};

/// A setting, by what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Of a cluster, by its name.
    Cluster(String, &'static str),
    /// Of a cluster's listener, by their names.
    Listener(String, String, &'static str),
    /// Of the router as a whole, with dots where it stands in a section: `log.level`.
    Whole(&'static str),
}

/// A configuration with the file it was understood from.
#[derive(Clone, Debug)]
pub struct Written {
    /// What it means.
    pub router: Router,
    /// What was remarked upon while it was read, and the file's name.
    pub warnings: Problems,
    /// The file as written; `None` where there was none, or it is another program's.
    pub file: Option<Node>,
}

impl Written {
    /// What was understood, with its warnings, and the file it stands in.
    #[must_use]
    pub fn new((router, warnings): (Router, Problems), file: Option<Node>) -> Self {
        Self {
            router,
            warnings,
            file,
        }
    }

    /// The file refused because of these, each a sentence.
    #[must_use]
    pub fn unusable(&self, because: Vec<String>) -> Problems {
        let mut problems = Problems::of(&self.warnings.file);
        for what in because {
            problems.push(Problem {
                severity: Severity::Error,
                place: None,
                line: None,
                key: String::new(),
                what,
                expected: String::new(),
            });
        }
        problems
    }

    /// The file refused because of what its settings mean: each with what is wrong and what to write.
    #[must_use]
    pub fn refused(&self, because: impl IntoIterator<Item = (Key, String, String)>) -> Problems {
        let mut problems = Problems::of(&self.warnings.file);
        for (key, what, expected) in because {
            let path = key.path(self.file.as_ref());
            problems.push(Problem {
                severity: Severity::Error,
                place: None,
                line: self.file.as_ref().and_then(|file| line_of(file, &path)),
                key: path.join("."),
                what,
                expected,
            });
        }
        problems
    }
}

impl Key {
    /// The keys that lead to the setting in `file`, or would if it were written.
    pub(super) fn path(&self, file: Option<&Node>) -> Vec<String> {
        let alone = file.is_none_or(|file| file.get("clusters").is_none());
        let path: Vec<&str> = match self {
            Self::Cluster(_, key) if alone => vec!["cluster", key],
            Self::Cluster(cluster, key) => vec!["clusters", cluster, key],
            Self::Listener(_, listener, key) if alone => vec!["listeners", listener, key],
            Self::Listener(cluster, listener, key) => {
                vec!["clusters", cluster, "listeners", listener, key]
            }
            Self::Whole(key) => key.split('.').collect(),
        };
        path.into_iter().map(str::to_owned).collect()
    }
}

/// The line of the value at a path, or of the nearest section that is written.
pub(super) fn line_of(file: &Node, path: &[String]) -> Option<u64> {
    let mut node = file;
    for key in path {
        let Some(next) = node.get(key) else { break };
        node = next;
    }
    Some(node.line)
}
