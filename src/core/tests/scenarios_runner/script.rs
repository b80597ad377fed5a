//! A script: blocks of commands, each with what the router decides after it.

use std::fmt::Write as _;

use super::commands;
use super::reached::Reached;
use super::report::{self, Shown};
use crate::world::World;

/// What separates the commands of a block from the decision.
const RULE: &str = "----";

/// Plays a script and returns it with the decisions the router took.
pub(crate) fn play(name: &str, text: &str, reached: &mut Reached) -> String {
    let mut world = World::new();
    let mut shown = Shown::default();
    let mut played = String::new();
    let mut in_decision = false;
    for (number, line) in text.lines().enumerate() {
        match line.trim_end() {
            "" if in_decision => {
                in_decision = false;
                played.push('\n');
            }
            _ if in_decision => {}
            RULE => {
                let change = world.look();
                let table = world.table.as_ref().expect("the router looked");
                reached.note(table);
                let decision = report::of(table, &change, &world, shown);
                let _ = write!(played, "{RULE}\n{decision}");
                in_decision = true;
            }
            command => {
                if let Err(problem) = commands::carry_out(command, &mut world, &mut shown) {
                    panic!("{name}:{}: {command:?}: {problem}", number + 1);
                }
                let _ = writeln!(played, "{command}");
            }
        }
    }
    played
}
