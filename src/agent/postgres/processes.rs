//! The machine's processes, as /proc has them. It knows nothing of PostgreSQL but that its processes work in the data
//! directory.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// One process, as `/proc/PID/stat` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// The name of its program, cut to fifteen bytes by the kernel.
    pub name: Vec<u8>,
    /// Whether it has ended and nobody has taken notice yet.
    pub zombie: bool,
    /// When it was started, in clock ticks since boot.
    pub started: u64,
}

/// The process of that number; `None` if there is none, or none that can be seen.
#[must_use]
pub fn process(pid: u32) -> Option<Process> {
    parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Every process that can be seen now.
///
/// # Errors
/// When /proc cannot be read.
pub fn all() -> io::Result<Vec<Process>> {
    let entries = fs::read_dir("/proc")?.filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(process).collect())
}

/// The living children of a process.
///
/// # Errors
/// When /proc cannot be read.
pub fn children(of: u32) -> io::Result<Vec<Process>> {
    let mut all = all()?;
    all.retain(|process| process.parent == of && !process.zombie);
    Ok(all)
}

/// Whether the process works in this directory; `None` where that cannot be seen: it is gone, or another user's.
#[must_use]
pub fn works_in(pid: u32, directory: &Path) -> Option<bool> {
    let there = fs::metadata(format!("/proc/{pid}/cwd")).ok()?;
    let here = fs::metadata(directory).ok()?;
    Some((there.dev(), there.ino()) == (here.dev(), here.ino()))
}

/// The living processes of `program` that work in this directory: PostgreSQL's, with or without a postmaster.
///
/// # Errors
/// When /proc cannot be read.
pub fn of_program_in(program: &OsStr, directory: &Path) -> io::Result<Vec<Process>> {
    let shown = program.as_bytes();
    let shown = &shown[..shown.len().min(15)];
    let mut all = all()?;
    all.retain(|process| {
        !process.zombie
            && process.pid != std::process::id()
            && process.name == shown
            && works_in(process.pid, directory) == Some(true)
    });
    Ok(all)
}

/// The living processes of `program` that this directory was named to.
///
/// # Errors
/// When /proc cannot be read.
pub fn of_program_on(program: &OsStr, directory: &Path) -> io::Result<Vec<Process>> {
    let shown = program.as_bytes();
    let shown = &shown[..shown.len().min(15)];
    let named = |pid: u32| {
        let arguments = arguments(pid);
        arguments
            .iter()
            .any(|argument| argument == directory.as_os_str().as_bytes())
    };
    let mut all = all()?;
    all.retain(|process| !process.zombie && process.name == shown && named(process.pid));
    Ok(all)
}

/// The arguments a process was started with, its program first; of a process of PostgreSQL's that is no postmaster: its
/// title. Empty where they cannot be seen.
#[must_use]
pub fn arguments(pid: u32) -> Vec<Vec<u8>> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments = line.split(|byte| *byte == 0);
    arguments.map(<[u8]>::to_vec).collect()
}

/// When a process of that start (in clock ticks since boot) was started, in seconds of the Unix epoch.
#[must_use]
pub fn wall_seconds(ticks: u64) -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = stat
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(boot + ticks / per_second)
}

/// A process held by a descriptor: its number cannot come to mean another one.
///
/// # Errors
/// As the system says; ESRCH if there is none.
pub fn hold(pid: u32) -> io::Result<OwnedFd> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = raw.ok_or_else(|| io::Error::from(rustix::io::Errno::SRCH))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Sends a signal; that the process is gone already is no error.
///
/// # Errors
/// As the system says.
pub fn signal(process: &OwnedFd, signal: Signal) -> io::Result<()> {
    match pidfd_send_signal(process, signal) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        sent => Ok(sent?),
    }
}

fn parse(pid: u32, stat: &[u8]) -> Option<Process> {
    // The name stands in parentheses and may have any bytes in it, parentheses too.
    let opening = stat.iter().position(|byte| *byte == b'(')?;
    let closing = stat.iter().rposition(|byte| *byte == b')')?;
    let name = stat.get(opening + 1..closing)?.to_vec();
    let rest = std::str::from_utf8(stat.get(closing + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    // The 22nd field of the line; the state is the third.
    let started = fields.nth(17)?.parse().ok()?;
    Some(Process {
        pid,
        parent,
        name,
        zombie: matches!(state, "Z" | "X"),
        started,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_with_its_parent_and_its_start() {
        let me = process(std::process::id()).unwrap();
        assert_eq!(me.parent, std::os::unix::process::parent_id());
        let begun = wall_seconds(me.started).unwrap();
        let now = u64::try_from(trunkline_io::clock::wall().as_second()).unwrap();
        assert!(now.abs_diff(begun) < 3600, "{begun} {now}");
        let here = std::env::current_dir().unwrap();
        assert_eq!(works_in(me.pid, &here), Some(true));
        assert_eq!(works_in(me.pid, Path::new("/proc")), Some(false));
    }

    #[test]
    fn a_program_at_work_on_a_directory_is_found_by_its_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let mut tail = std::process::Command::new("tail")
            .arg("-f")
            .arg("/dev/null")
            .arg(folder.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let until = trunkline_io::clock::now().after(std::time::Duration::from_secs(5));
        let found = |directory: &Path| of_program_on("tail".as_ref(), directory).unwrap();
        while found(folder.path()).is_empty() && trunkline_io::clock::now() < until {
            std::thread::yield_now();
        }
        let (there, elsewhere) = (found(folder.path()), found(Path::new("/nowhere")));
        tail.kill().unwrap();
        tail.wait().unwrap();
        assert_eq!(there.first().map(|it| it.pid), Some(tail.id()));
        assert!(elsewhere.is_empty());
        assert!(found(folder.path()).is_empty());
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_hides_nothing() {
        let line = b"7 (a) b (c) S 3 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let process = parse(7, line).unwrap();
        assert_eq!(process.name, b"a) b (c");
        assert_eq!((process.parent, process.started), (3, 4242));
        for cut in 0..line.len() {
            let _ = parse(7, &line[..cut]);
        }
    }
}
