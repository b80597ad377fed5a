//! A copy of the workspace as it is now, and one broken file in it at a time.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::list::Mutant;

/// The copy. A file that did not change since the last run keeps its time, so that cargo does not build it again.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    /// Held for as long as the copy is ours.
    _lock: fs::File,
}

/// A file that is broken until this is dropped.
#[derive(Debug)]
pub(crate) struct Broken {
    path: PathBuf,
    whole: String,
}

impl Tree {
    /// Copies what git knows of `workspace`, changes and new files included, below `scratch`.
    pub(crate) fn copy(workspace: &Path, scratch: &Path) -> Result<Self> {
        fs::create_dir_all(scratch).with_context(|| format!("making {}", scratch.display()))?;
        let scratch = fs::canonicalize(scratch)?;
        let lock = fs::File::create(scratch.join("lock")).context("making the lock file")?;
        lock.try_lock()
            .with_context(|| format!("another run works in {}", scratch.display()))?;
        let root = scratch.join("tree");
        let wanted = known_to_git(workspace)?;
        ensure!(
            wanted.iter().any(|path| path == Path::new("Cargo.toml")),
            "{} is no workspace",
            workspace.display()
        );
        for path in &wanted {
            copy(&workspace.join(path), &root.join(path))?;
        }
        let gone = |path: &PathBuf| !wanted.contains(path);
        for path in files(&root)?.into_iter().filter(gone) {
            fs::remove_file(root.join(&path))
                .with_context(|| format!("removing {}", path.display()))?;
        }
        Ok(Self { root, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Breaks it.
    pub(crate) fn broken(&self, mutant: &Mutant) -> Result<Broken> {
        let path = self.root.join(mutant.file);
        let whole =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        fs::write(&path, mutate(&whole, mutant)?)
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Broken { path, whole })
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        // Where this fails, the next mutant of the file says that it does not fit.
        let _mended = fs::write(&self.path, &self.whole);
    }
}

/// The text with the mutant's edits, each of which has to fit in exactly one place.
pub(crate) fn mutate(text: &str, mutant: &Mutant) -> Result<String> {
    let mut text = text.to_owned();
    for (find, replacement) in mutant.edits {
        let places = text.matches(find).count();
        ensure!(
            places == 1,
            "the mutant {:?} has rotted: its text is {places} times in {}, not once:\n{find}",
            mutant.says,
            mutant.file
        );
        text = text.replacen(find, replacement, 1);
    }
    Ok(text)
}

/// What is in the index or new, and not deleted.
fn known_to_git(workspace: &Path) -> Result<BTreeSet<PathBuf>> {
    let listed = Command::new("git")
        .current_dir(workspace)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .context("asking git for its files")?;
    ensure!(
        listed.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let names = String::from_utf8(listed.stdout).context("a file's name is no text")?;
    let names = names.split_terminator('\0').map(PathBuf::from);
    Ok(names
        .filter(|path| workspace.join(path).is_file())
        .collect())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
    if fs::read(to).is_ok_and(|had| had == new) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    // With its permissions, for scripts; its time is now.
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}

/// All files below `root`, by their path in it.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(folder) = left.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path.strip_prefix(root)?.to_owned());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::Tests;

    const SWAP: Mutant = Mutant {
        says: "swaps",
        file: "a.rs",
        edits: &[("one", "two")],
        tests: Tests::Core(&[]),
    };

    #[test]
    fn a_mutant_whose_text_is_not_there_exactly_once_has_rotted() {
        assert_eq!(mutate("one + 1", &SWAP).unwrap(), "two + 1");
        for text in ["1 + 1", "one + one"] {
            let rotten = mutate(text, &SWAP).unwrap_err().to_string();
            assert!(rotten.contains("\"swaps\" has rotted"), "{rotten}");
        }
    }

    #[test]
    fn a_broken_file_is_whole_again_afterwards_and_the_copy_is_what_git_knows() {
        let here = tempfile::tempdir().unwrap();
        let (workspace, scratch) = (here.path().join("work"), here.path().join("scratch"));
        fs::create_dir(&workspace).unwrap();
        let git = Command::new("git")
            .args(["init", "-q"])
            .current_dir(&workspace)
            .status();
        assert!(git.unwrap().success());
        for (name, text) in [
            ("Cargo.toml", ""),
            ("a.rs", "one"),
            (".gitignore", "left"),
            ("left", ""),
        ] {
            fs::write(workspace.join(name), text).unwrap();
        }
        let tree = Tree::copy(&workspace, &scratch).unwrap();
        assert!(!tree.root().join("left").exists());
        let read = || fs::read_to_string(tree.root().join("a.rs")).unwrap();
        let broken = tree.broken(&SWAP).unwrap();
        assert_eq!(read(), "two");
        drop(broken);
        assert_eq!(read(), "one");
        let second = Tree::copy(&workspace, &scratch).unwrap_err();
        assert!(format!("{second:#}").contains("another run"), "{second:#}");
        drop(tree);
        fs::remove_file(workspace.join("a.rs")).unwrap();
        let tree = Tree::copy(&workspace, &scratch).unwrap();
        assert!(!tree.root().join("a.rs").exists());
    }
}
