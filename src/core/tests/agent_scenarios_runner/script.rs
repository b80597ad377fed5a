//! A script: blocks of commands, each with the steps of the cycle after it.

use std::fmt::Write as _;

use super::reached::Reached;
use super::{commands, report};
use crate::agent_world::World;

/// What separates the commands of a block from the steps.
const RULE: &str = "----";

/// What a line begins with that says why a command could not be carried out.
pub(crate) const PROBLEM: &str = "!!";

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

/// The first place where two texts differ, with what stands around it.
pub(crate) fn difference(expected: &str, played: &str) -> String {
    let (expected, played): (Vec<_>, Vec<_>) =
        (expected.lines().collect(), played.lines().collect());
    let same = expected
        .iter()
        .zip(&played)
        .take_while(|(a, b)| a == b)
        .count();
    let mut out = format!("  from line {} on:\n", same + 1);
    for line in &expected[same.saturating_sub(8)..same] {
        let _ = writeln!(out, "    {line}");
    }
    for line in expected.iter().skip(same).take(8) {
        let _ = writeln!(out, "  - {line}");
    }
    for line in played.iter().skip(same).take(8) {
        let _ = writeln!(out, "  + {line}");
    }
    out
}
