//! Scripts that are told what comes of them: files of a folder, played, and compared with what stands in them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What a line begins with that says why a command could not be carried out.
pub(crate) const PROBLEM: &str = "!!";

/// Fails unless every script of `folder`, played, is what is written there; with `UPDATE` set it is written there first.
pub(crate) fn end_as_written(folder: &str, mut play: impl FnMut(&str, &str) -> String) {
    let update = std::env::var("UPDATE").is_ok();
    let mut wrong = Vec::new();
    for (path, text) in all(folder) {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let played = play(&name, &text);
        if played.contains(PROBLEM) {
            wrong.push(format!("{name}\n{played}"));
        }
        if update && played != text {
            fs::write(&path, &played).expect("the scenario can be written");
        } else if played != text {
            wrong.push(format!("{name}\n{}", difference(&text, &played)));
        }
    }
    assert!(
        wrong.is_empty(),
        "scenarios that ended otherwise:\n\n{}",
        wrong.join("\n")
    );
}

/// Fails unless every script's name is a sentence.
pub(crate) fn have_sentences_for_names(folder: &str) {
    for (path, _) in all(folder) {
        let stem = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let plain = stem
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        assert!(
            plain && stem.split('_').count() >= 4,
            "{stem} is no sentence"
        );
    }
}

/// Every scenario with its text, in the order of their names.
pub(crate) fn all(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of the scenarios")
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scenario in {}", folder.display());
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a scenario is text");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// The first place where two texts differ, with what stands around it.
fn difference(expected: &str, played: &str) -> String {
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
