//! What a process uses, as the kernel says: descriptors, pipes, memory, threads, processor time.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// One look at a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Open descriptors.
    pub descriptors: usize,
    /// Those among them that are an end of a pipe: two a pipe.
    pub pipe_ends: usize,
    /// Resident memory of its own in KiB: what it allocated, without the pages of its program.
    pub memory_kib: u64,
    /// Threads.
    pub threads: usize,
    /// Processor time used since it began, the kernel's for it included; in steps of ten milliseconds.
    pub processor: Duration,
}

impl Vitals {
    /// Looks at process `pid`.
    pub fn of(pid: u32) -> Result<Self> {
        let folder = format!("/proc/{pid}");
        let look = || {
            let folder = Path::new(&folder);
            let (descriptors, pipe_ends) = descriptors(folder)?;
            Ok(Self {
                descriptors,
                pipe_ends,
                memory_kib: memory_kib(folder)?,
                threads: fs::read_dir(folder.join("task"))?.count(),
                processor: processor(folder)?,
            })
        };
        let seen: Result<Self> = look();
        seen.with_context(|| format!("looking at {folder}"))
    }
}

/// How a process lies in memory, in KiB; pages of its program are counted, whoever else maps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Everything that is resident.
    pub resident_kib: u64,
    /// The same with each shared page divided by those who share it.
    pub proportional_kib: u64,
    /// What nobody shares.
    pub private_kib: u64,
}

impl Memory {
    /// Looks at process `pid`.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let kib =
            |name: &str| kib(&text, name).with_context(|| format!("{path} does not tell {name:?}"));
        Ok(Self {
            resident_kib: kib("Rss:")?,
            proportional_kib: kib("Pss:")?,
            private_kib: kib("Private_Clean:")? + kib("Private_Dirty:")?,
        })
    }
}

fn descriptors(process: &Path) -> Result<(usize, usize)> {
    let (mut all, mut pipe_ends) = (0, 0);
    for entry in fs::read_dir(process.join("fd"))? {
        // It may have been closed meanwhile.
        if let Ok(what) = fs::read_link(entry?.path()) {
            all += 1;
            pipe_ends += usize::from(what.to_string_lossy().starts_with("pipe:"));
        }
    }
    Ok((all, pipe_ends))
}

fn memory_kib(process: &Path) -> Result<u64> {
    let status = fs::read_to_string(process.join("status"))?;
    kib(&status, "RssAnon:").context("no RssAnon")
}

/// The number on the line that begins with `name`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line?.split_whitespace().next()?.parse().ok()
}

fn processor(process: &Path) -> Result<Duration> {
    let stat = fs::read_to_string(process.join("stat"))?;
    // The name may hold spaces and parentheses; the fields behind its last ")" do not.
    let fields = stat.rsplit_once(')').context("a stat without a name")?.1;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| -> Result<u64> { Ok(fields.get(at).context("short")?.parse()?) };
    // utime and stime, in hundredths of a second.
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_two_descriptors_and_two_pipe_ends() {
        let us = std::process::id();
        // Other tests of this program open and close theirs meanwhile.
        let seen = || {
            let before = Vitals::of(us).unwrap();
            let pipes: Vec<_> = (0..100).map(|_| std::io::pipe().unwrap()).collect();
            let now = Vitals::of(us).unwrap();
            drop(pipes);
            (
                now.descriptors - before.descriptors,
                now.pipe_ends - before.pipe_ends,
            )
        };
        let (descriptors, pipe_ends) = seen();
        assert!(descriptors.abs_diff(200) < 100, "{descriptors}");
        assert!(pipe_ends.abs_diff(200) < 60, "{pipe_ends}");
    }

    #[test]
    fn work_and_memory_show() {
        let us = std::process::id();
        let before = Vitals::of(us).unwrap();
        let memory = std::hint::black_box(vec![1_u8; 64 << 20]);
        let (mut rounds, mut now) = (0_u64, before);
        while now.processor < before.processor + Duration::from_millis(50) {
            rounds += memory.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            now = Vitals::of(us).unwrap();
        }
        assert!(rounds > 0 && now.threads > 0);
        let grown = now.memory_kib.saturating_sub(before.memory_kib);
        assert!(grown > 32 << 10, "{grown} KiB");
        let whole = Memory::of(us).unwrap();
        assert!(whole.private_kib > 64 << 10, "{whole:?}");
        assert!(whole.resident_kib >= whole.proportional_kib, "{whole:?}");
        assert!(whole.proportional_kib >= whole.private_kib, "{whole:?}");
    }
}
