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

/// The first place where two texts differ, with what stands around it.
pub(crate) fn difference(expected: &str, played: &str) -> String {
    let (expected, played): (Vec<_>, Vec<_>) =
        (expected.lines().collect(), played.lines().collect());
    let same = expected
        .iter()
        .zip(&played)
        .take_while(|(a, b)| a == b)
        .count();
    let after = |lines: &[&str]| {
        let end = lines.iter().skip(same).position(|line| line.is_empty());
        end.map_or(lines.len(), |end| same + end)
            .min(same + 12)
            .max((same + 1).min(lines.len()))
    };
    let mut out = format!("  from line {} on:\n", same + 1);
    for line in &expected[same.saturating_sub(8)..same.min(expected.len())] {
        let _ = writeln!(out, "    {line}");
    }
    for line in &expected[same..after(&expected)] {
        let _ = writeln!(out, "  - {line}");
    }
    for line in &played[same..after(&played)] {
        let _ = writeln!(out, "  + {line}");
    }
    out
}
