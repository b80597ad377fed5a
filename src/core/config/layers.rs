//! Configuration from several files and the environment: laid over each other, and who said what.
//!
//! One tree is laid over another as Patroni does it: section by section and key by key, a key without a value takes
//! what was there away. What each key means is not known here.

use std::collections::BTreeMap;

use super::node::{Key, Node, Value};
use super::problem::Problems;

/// One file.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What it is called in messages.
    pub file: String,
    /// What stands in it.
    pub tree: Node,
}

/// What the environment says, as a tree like a file's.
#[derive(Clone, Debug, PartialEq)]
pub struct Variables {
    /// The tree; nothing in it has a line.
    pub tree: Node,
    /// The variable behind each path (`restapi.listen`).
    pub names: BTreeMap<String, String>,
}

impl Default for Variables {
    fn default() -> Self {
        Self {
            tree: Node::nowhere(Value::Map(Vec::new())),
            names: BTreeMap::new(),
        }
    }
}

impl Variables {
    /// Adds a value under a path of keys.
    pub fn put(&mut self, path: &[&str], value: Node, variable: &str) {
        let mut tree = value;
        for key in path.iter().rev() {
            let key = Key {
                text: (*key).to_owned(),
                line: 0,
            };
            tree = Node::nowhere(Value::Map(vec![(key, tree)]));
        }
        lay(&mut self.tree, &tree);
        self.names.insert(path.join("."), variable.to_owned());
    }
}

/// Every file, each laid over those before it, and the environment over all of them.
#[must_use]
pub fn merged(files: &[Layer], variables: &Variables) -> Node {
    let mut files = files.iter();
    let mut tree = files.next().map_or_else(
        || Node::nowhere(Value::Map(Vec::new())),
        |first| first.tree.clone(),
    );
    for layer in files {
        lay(&mut tree, &layer.tree);
    }
    if !variables.names.is_empty() {
        lay(&mut tree, &variables.tree);
    }
    tree
}

/// Lays `over` over `under`.
fn lay(under: &mut Node, over: &Node) {
    let Value::Map(entries) = &over.value else {
        *under = over.clone();
        return;
    };
    if over.line > 0 {
        (under.line, under.column) = (over.line, over.column);
    }
    if !matches!(under.value, Value::Map(_)) {
        under.value = Value::Map(Vec::new());
    }
    let Value::Map(known) = &mut under.value else {
        return;
    };
    for (key, node) in entries {
        let at = known.iter().position(|(other, _)| other.text == key.text);
        match (at, &node.value) {
            (Some(at), Value::Null) => {
                known.remove(at);
            }
            (Some(at), _) => {
                lay(&mut known[at].1, node);
                if key.line > 0 {
                    known[at].0.line = key.line;
                }
            }
            (None, Value::Null) => {}
            (None, _) => known.push((key.clone(), node.clone())),
        }
    }
}

/// Says of each problem which file or variable it is about.
pub fn attribute(problems: &mut Problems, files: &[Layer], variables: &Variables) {
    problems.relocate(|problem| {
        if let Some(variable) = variable_of(variables, &problem.key) {
            (problem.place, problem.line) = (Some(variable.to_owned()), None);
            return;
        }
        if problem.line == Some(0)
            && let Some(variable) = variable_within(variables, &problem.key)
        {
            (problem.place, problem.line) = (Some(variable.to_owned()), None);
            return;
        }
        problem.line = problem.line.filter(|line| *line > 0);
        if files.len() > 1 && problem.place.is_none() && problem.line.is_some() {
            let deepest = files
                .iter()
                .max_by_key(|layer| depth(&layer.tree, &problem.key));
            problem.place = deepest.map(|layer| layer.file.clone());
        }
    });
}

/// The variable that gave the value at `path`, or the value that is part of it.
fn variable_of<'v>(variables: &'v Variables, path: &str) -> Option<&'v str> {
    variables
        .names
        .iter()
        .find(|(known, _)| rest(path, known).is_some())
        .map(|(_, variable)| variable.as_str())
}

/// A variable that gave a part of the section at `path`.
fn variable_within<'v>(variables: &'v Variables, path: &str) -> Option<&'v str> {
    variables
        .names
        .iter()
        .find(|(known, _)| rest(known, path).is_some())
        .map(|(_, variable)| variable.as_str())
}

/// How many keys of `path` lead into the tree.
fn depth(tree: &Node, path: &str) -> usize {
    let mut node = tree;
    let mut left = path;
    let mut depth = 0;
    while let Some((next, after)) = node
        .entries()
        .iter()
        .find_map(|(key, node)| rest(left, &key.text).map(|after| (node, after)))
    {
        (node, left, depth) = (next, after, depth + 1);
    }
    depth
}

/// What follows `key` in `path`, if `path` begins with it.
fn rest<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    let after = path.strip_prefix(key)?;
    if after.is_empty() || after.starts_with('[') {
        return Some(after);
    }
    after.strip_prefix('.')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn layer(file: &str, json: &serde_json::Value) -> Layer {
        Layer {
            file: file.to_owned(),
            tree: Node::from(json),
        }
    }

    #[test]
    fn a_later_file_wins_key_by_key_and_its_empty_key_takes_away() {
        let files = [
            layer(
                "a",
                &json!({"x": {"one": 1, "two": [1, 2]}, "y": 1, "z": 1}),
            ),
            layer(
                "b",
                &json!({"x": {"two": [3], "three": 3}, "y": null, "z": {"n": 1}}),
            ),
        ];
        let mut variables = Variables::default();
        variables.put(&["x", "one"], Node::from(&json!("env")), "PATRONI_X_ONE");
        assert_eq!(
            merged(&files, &variables).to_json(),
            json!({"x": {"one": "env", "two": [3], "three": 3}, "z": {"n": 1}})
        );
        assert_eq!(
            merged(&[], &variables).to_json(),
            json!({"x": {"one": "env"}})
        );
    }

    #[test]
    fn who_said_what_is_found_by_the_longest_path() {
        let mut variables = Variables::default();
        variables.put(&["x", "one"], Node::from(&json!("env")), "PATRONI_X_ONE");
        assert_eq!(variable_of(&variables, "x.one[2]"), Some("PATRONI_X_ONE"));
        assert_eq!(variable_of(&variables, "x.one.a"), Some("PATRONI_X_ONE"));
        assert_eq!(variable_of(&variables, "x.ones"), None);
        assert_eq!(variable_of(&variables, "x"), None);
        let tree = Node::from(&json!({"p": {"a.b": {"c": 1}, "a": 1}}));
        assert_eq!(depth(&tree, "p.a.b.c"), 3);
        assert_eq!(depth(&tree, "p.other"), 1);
    }
}
