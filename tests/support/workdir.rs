//! The directory everything of one cluster lives in, and the janitor that clears it away.
//!
//! A janitor process waits at the end of a pipe. When the pipe closes — this value dropped, a test
//! panicked with its cluster in a `static`, the program killed with SIGKILL — it ends what was
//! started here and removes the directory. So nothing depends on destructors having run.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::parts::Account;

const JANITOR: &str = include_str!("janitor.sh");

/// Not `$TMPDIR`: when the tests are root, PostgreSQL is not, and it has to reach its data.
const PARENT: &str = "/var/tmp";

/// A directory with a janitor, cleared away on drop or with the process.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    janitor: Mutex<Child>,
    report: Mutex<Option<ChildStdin>>,
}

impl WorkDir {
    /// Makes a fresh directory that other users may enter but not write to.
    pub fn new() -> Result<Self> {
        let path = tempfile::Builder::new()
            .prefix("trunkline-")
            .tempdir_in(PARENT)
            .with_context(|| format!("making a directory in {PARENT}"))?
            .keep();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755))
            .with_context(|| format!("opening {} to others", path.display()))?;
        let mut janitor = Command::new("sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(&path)
            .current_dir("/")
            // A Ctrl-C at the terminal is for the program, not for who cleans up behind it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting the janitor (sh)")?;
        let report = janitor.stdin.take();
        Ok(Self {
            path,
            janitor: Mutex::new(janitor),
            report: Mutex::new(report),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory inside, for `owner` alone (or for us, where we are not root).
    pub fn folder(&self, name: &str, owner: Option<&Account>) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700))
            .with_context(|| format!("closing {} to others", path.display()))?;
        if let Some(owner) = owner {
            chown(&path, Some(owner.uid), Some(owner.gid))
                .with_context(|| format!("giving {} to {}", path.display(), owner.name))?;
        }
        Ok(path)
    }

    /// Tells the janitor of a process group to end, should we not live to do it.
    pub(crate) fn remember(&self, pid: u32, start_time: u64) -> Result<()> {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let pipe = report.as_mut().context("the janitor has been dismissed")?;
        writeln!(pipe, "{pid} {start_time}").context("telling the janitor of a process")
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        drop(
            self.report
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        // It bounds its own work, so this ends; its exit code has no reader.
        let _ended = self
            .janitor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::start_time;

    #[test]
    fn the_directory_is_gone_after_its_drop() {
        let workdir = WorkDir::new().unwrap();
        let path = workdir.path().to_owned();
        assert!(path.is_dir());
        drop(workdir);
        assert!(!path.exists());
    }

    #[test]
    fn the_janitor_ends_a_process_nobody_else_ended() {
        let workdir = WorkDir::new().unwrap();
        let mut left = Command::new("sleep")
            .arg("300")
            .process_group(0)
            .spawn()
            .unwrap();
        workdir
            .remember(left.id(), start_time(left.id()).unwrap())
            .unwrap();
        drop(workdir);
        assert_eq!(left.wait().unwrap().to_string(), "signal: 9 (SIGKILL)");
    }

    #[test]
    fn the_janitor_spares_a_process_that_only_has_the_same_number() {
        let workdir = WorkDir::new().unwrap();
        let mut stranger = Command::new("sleep")
            .arg("300")
            .process_group(0)
            .spawn()
            .unwrap();
        workdir.remember(stranger.id(), 1).unwrap();
        drop(workdir);
        assert!(stranger.try_wait().unwrap().is_none(), "it was killed");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
