//! A script: blocks of commands, each with the steps of the cycle after it.

use std::fmt::Write as _;

use super::reached::Reached;
use super::{commands, report};
use crate::agent_world::World;
use crate::scripts::PROBLEM;

/// What separates the commands of a block from the steps.
const RULE: &str = "----";

/// Plays a script and returns it with what the agent decided.
pub(crate) fn play(name: &str, text: &str, reached: &mut Reached) -> String {
    let mut world = World::new();
    let mut played = String::new();
    let mut in_steps = false;
    for (number, line) in text.lines().enumerate() {
        match line.trim_end() {
            "" if in_steps => {
                in_steps = false;
                played.push('\n');
            }
            _ if in_steps => {}
            problem if problem.starts_with(PROBLEM) => {}
            RULE => {
                let steps = world.cycle();
                let _ = writeln!(played, "{RULE}");
                for (_, decision, outcome) in &steps {
                    reached.note(decision);
                    let _ = writeln!(played, "{}", report::of(decision, outcome, world.now));
                }
                in_steps = true;
            }
            command => {
                let done = commands::carry_out(command, &mut world);
                let _ = writeln!(played, "{command}");
                if let Err(problem) = done {
                    let _ = writeln!(played, "{PROBLEM} {name}:{}: {problem}", number + 1);
                }
            }
        }
    }
    played
}
