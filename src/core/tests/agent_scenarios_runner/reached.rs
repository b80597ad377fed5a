//! What the scenarios reached, of all that can be decided.
//!
//! A variant's name is what `Debug` begins with; that the lists below are whole is checked against the source of the
//! enums, so that a new variant cannot be forgotten.

use std::collections::BTreeSet;

use trunkline_core::ha::{Action, Decision, Reason};

const ACTIONS: &str = include_str!("../../ha/action.rs");
const REASONS: &str = include_str!("../../ha/reason.rs");
const OBSTACLES: &str = include_str!("../../election.rs");

/// What was reached.
#[derive(Debug, Default)]
pub(crate) struct Reached(BTreeSet<String>);

impl Reached {
    /// Takes in a decision.
    pub(crate) fn note(&mut self, decision: &Decision) {
        self.name("Action", &decision.action);
        match &decision.action {
            Action::Begin(job) => self.name("Job", job),
            Action::Write(write) => self.name("Write", write),
            _ => {}
        }
        self.name("Reason", &decision.reason);
        match &decision.reason {
            Reason::Demoting(why) => self.name("Demotion", why),
            Reason::Refused(why) => self.name("Refusal", why),
            Reason::NotHealthiest(why) => self.name("Obstacle", why),
            Reason::Writing(key) => self.name("Key", key),
            _ => {}
        }
    }

    fn name(&mut self, kind: &str, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        let name = text
            .split(|c: char| !c.is_alphanumeric())
            .next()
            .unwrap_or_default();
        self.0.insert(format!("{kind}::{name}"));
    }

    /// What was not.
    pub(crate) fn missing(&self) -> Vec<String> {
        let all = [
            (ACTIONS, "Action"),
            (ACTIONS, "Job"),
            (ACTIONS, "Write"),
            (REASONS, "Reason"),
            (REASONS, "Demotion"),
            (REASONS, "Refusal"),
            (REASONS, "Key"),
            (OBSTACLES, "Obstacle"),
        ];
        all.into_iter()
            .flat_map(|(source, kind)| variants(source, kind))
            .filter(|variant| !self.0.contains(variant))
            .collect()
    }
}

/// The variants of an enum, from its source: the lines of its body that are indented once and begin with a capital.
fn variants(source: &str, kind: &str) -> Vec<String> {
    let (_, body) = source
        .split_once(&format!("pub enum {kind} {{\n"))
        .expect("the enum is there");
    let (body, _) = body.split_once("\n}").expect("the enum ends");
    let own = |line: &&str| {
        line.starts_with("    ") && line.as_bytes().get(4).is_some_and(u8::is_ascii_uppercase)
    };
    let name = |line: &str| {
        line.trim()
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .collect::<String>()
    };
    let variants: Vec<String> = body
        .lines()
        .filter(own)
        .map(|line| format!("{kind}::{}", name(line)))
        .collect();
    assert!(!variants.is_empty(), "{kind} has no variants");
    variants
}
