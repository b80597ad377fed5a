//! A PostgreSQL that stands still: every process of it, as on a disk that hangs.

use std::fs;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::Node;

/// For as long as this is kept, PostgreSQL can be connected to and never answers.
#[derive(Debug)]
pub struct Standstill(Vec<Pid>);

impl Node {
    /// Freezes its PostgreSQL (SIGSTOP), postmaster and children.
    pub fn freeze_postgresql(&self) -> Result<Standstill> {
        let postmaster = self.postmaster()?;
        let mut frozen = Standstill(Vec::new());
        // First the one that starts others.
        frozen.stop(postmaster)?;
        for child in children(postmaster)? {
            frozen.stop(child)?;
        }
        let count = frozen.0.len();
        ensure!(count > 1, "PostgreSQL of {} has no children", self.name());
        Ok(frozen)
    }
}

impl Standstill {
    fn stop(&mut self, server: Pid) -> Result<()> {
        match kill_process(server, Signal::STOP) {
            Ok(()) => self.0.push(server),
            // A session that ended meanwhile.
            Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error).context("freezing PostgreSQL"),
        }
        Ok(())
    }
}

impl Drop for Standstill {
    fn drop(&mut self) {
        for server in self.0.iter().rev() {
            // One that was killed meanwhile needs none.
            let _gone = kill_process(*server, Signal::CONT);
        }
    }
}

fn children(of: Pid) -> Result<Vec<Pid>> {
    let parent = of.as_raw_nonzero().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let path = entry.context("reading /proc")?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else {
            continue;
        };
        // Behind the name, which may hold anything: the state, and the parent.
        let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_name, fields)| fields);
        if fields.split_whitespace().nth(1) == Some(&parent) {
            found.push(pid);
        }
    }
    Ok(found)
}
