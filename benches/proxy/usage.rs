//! What a process costs, and what the rest of the machine does meanwhile: all of it from /proc.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The unit of /proc/…/stat, on every Linux there is.
const TICK: Duration = Duration::from_millis(10);
/// The parent of all kernel threads.
const KTHREADD: u32 = 2;

/// The processor time of a process so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// Of each thread that runs, to the nanosecond.
    threads: BTreeMap<u32, Duration>,
    /// Of all, those that have ended included, in ticks.
    ticks: Duration,
}

impl Cpu {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let read = || -> Result<Self> {
            let mut threads = BTreeMap::new();
            for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
                let thread = thread?;
                // One that ended meanwhile is missing, and missed in `since`.
                let Ok(text) = std::fs::read_to_string(thread.path().join("schedstat")) else {
                    continue;
                };
                let number = thread
                    .file_name()
                    .to_str()
                    .context("a thread's number")?
                    .parse()?;
                threads.insert(number, on_processor(&text).context("schedstat is empty")?);
            }
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
            let process = Process::parse(&stat).context("stat is short")?;
            Ok(Self {
                threads,
                ticks: process.spent,
            })
        };
        read().with_context(|| format!("reading the processor time of process {pid}"))
    }

    /// What was used since then: by threads where all of them still run, else in ticks.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let mut spent = Duration::ZERO;
        for thread in before.threads.keys() {
            if !self.threads.contains_key(thread) {
                return self.ticks.saturating_sub(before.ticks);
            }
        }
        for (thread, now) in &self.threads {
            let then = before.threads.get(thread).copied().unwrap_or_default();
            spent += now.saturating_sub(then);
        }
        spent
    }
}

/// The first figure of a thread's schedstat.
fn on_processor(schedstat: &str) -> Option<Duration> {
    let nanoseconds = schedstat.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// A process's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Pages of its own that were written to: heap, stacks, data.
    pub(crate) dirty: u64,
    /// All that it has in memory, code and files too.
    pub(crate) resident: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        Self::parse(&text).with_context(|| format!("{path} has no such lines"))
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
            Some(kib * 1_024)
        };
        Some(Self {
            // What was swapped out was dirty before.
            dirty: field("Private_Dirty:")? + field("Swap:").unwrap_or(0),
            resident: field("Rss:")?,
        })
    }
}

/// The processor time that others took: every process that is not this one or below it, and what a hypervisor stole.
#[derive(Debug)]
pub(crate) struct Others {
    at: Instant,
    /// What each has spent itself.
    spent: HashMap<u32, Duration>,
    /// What all of them have spent, their ended children included.
    total: Duration,
    stolen: Duration,
}

impl Others {
    /// What they have taken so far.
    pub(crate) fn now() -> Result<Self> {
        let processes = processes()?;
        let ours = family(std::process::id(), &processes);
        let strangers: Vec<Process> = processes
            .into_iter()
            .filter(|process| !ours.contains(&process.pid) && !process.is_kernel())
            .collect();
        let stat = std::fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
        Ok(Self {
            at: Instant::now(),
            spent: strangers
                .iter()
                .map(|process| (process.pid, process.spent))
                .collect(),
            total: strangers
                .iter()
                .map(|process| process.spent + process.of_children)
                .sum(),
            stolen: stolen(&stat).context("/proc/stat does not tell stolen time")?,
        })
    }

    /// The share of all processors that they took since then, 0 to 1.
    pub(crate) fn share_since(&self, before: &Self, processors: usize) -> f64 {
        let living: Duration = self
            .spent
            .iter()
            .map(|(pid, spent)| {
                let earlier = before.spent.get(pid).copied().unwrap_or_default();
                spent.saturating_sub(earlier)
            })
            .sum();
        // The living alone miss who came and went meanwhile; the total misses all of a child that nobody waited for.
        let spent = living.max(self.total.saturating_sub(before.total));
        let stolen = self.stolen.saturating_sub(before.stolen);
        let elapsed = self.at.saturating_duration_since(before.at).as_secs_f64();
        (spent + stolen).as_secs_f64() / elapsed.max(0.001) / processors.max(1) as f64
    }
}

/// One line of /proc/PID/stat, as far as it is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    spent: Duration,
    /// What its ended children left.
    of_children: Duration,
}

impl Process {
    /// Kernel threads work for whoever makes them: for us, while we measure.
    const fn is_kernel(&self) -> bool {
        self.pid == KTHREADD || self.parent == KTHREADD
    }

    fn parse(text: &str) -> Option<Self> {
        let (pid, _) = text.split_once(' ')?;
        // The name may hold spaces and parentheses; the fields behind its last ")" do not.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |first: usize| {
            let two = (first..first + 2).map(|field| fields.get(field)?.parse::<u32>().ok());
            Some(TICK * two.sum::<Option<u32>>()?)
        };
        Some(Self {
            pid: pid.parse().ok()?,
            parent: fields.get(1)?.parse().ok()?,
            spent: ticks(11)?,
            of_children: ticks(13)?,
        })
    }
}

fn processes() -> Result<Vec<Process>> {
    let folders = std::fs::read_dir("/proc").context("reading /proc")?;
    let stats = folders.filter_map(|folder| {
        let folder = folder.ok()?;
        folder.file_name().to_str()?.parse::<u32>().ok()?;
        // Some end while we look.
        std::fs::read_to_string(folder.path().join("stat")).ok()
    });
    Ok(stats.filter_map(|stat| Process::parse(&stat)).collect())
}

/// A process and all below it.
fn family(ancestor: u32, processes: &[Process]) -> HashSet<u32> {
    let mut found = HashSet::from([ancestor]);
    loop {
        let before = found.len();
        for process in processes {
            if found.contains(&process.parent) {
                found.insert(process.pid);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// The eighth figure of the first line of /proc/stat.
fn stolen(stat: &str) -> Option<Duration> {
    let field = stat.lines().next()?.split_whitespace().nth(8)?;
    Some(TICK * field.parse::<u32>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_process_is_read_in_bytes() {
        let text = "55d0-7ffe ---p 00000000 00:00 0    [rollup]\nRss:                1024 kB\n\
                    Private_Clean:        4 kB\nPrivate_Dirty:      300 kB\nSwap:                 8 kB\n";
        let memory = Memory::parse(text).unwrap();
        assert_eq!((memory.dirty, memory.resident), (308 * 1_024, 1_048_576));
        assert_eq!(Memory::parse("Rss: 5 kB\n"), None);
        assert!(Memory::of(std::process::id()).unwrap().dirty > 0);
    }

    #[test]
    fn a_process_with_a_strange_name_is_read() {
        let stat = "4711 (a) b (c) S 17 4711 4711 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 900";
        let process = Process::parse(stat).unwrap();
        assert_eq!((process.pid, process.parent), (4_711, 17));
        assert_eq!(process.spent, Duration::from_millis(1_200));
        assert_eq!(process.of_children, Duration::from_millis(70));
        assert_eq!(Process::parse("1 (short) S 0"), None);
    }

    #[test]
    fn children_of_children_are_family_and_kernel_threads_nobodys() {
        let process = |pid, parent| Process {
            pid,
            parent,
            spent: TICK,
            of_children: TICK,
        };
        let all = [
            process(5, 4),
            process(4, 3),
            process(3, 1),
            process(9, 1),
            process(7, 2),
        ];
        assert_eq!(family(3, &all), HashSet::from([3, 4, 5]));
        assert!(process(7, 2).is_kernel());
        assert!(!process(9, 1).is_kernel());
    }

    #[test]
    fn time_a_hypervisor_took_is_others_time() {
        let stat = "cpu  10 20 30 40 50 60 70 80 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(stolen(stat), Some(Duration::from_millis(800)));
        assert_eq!(stolen("cpu 1 2"), None);
    }

    #[test]
    fn the_share_of_others_counts_the_living_and_who_came_and_went() {
        let (at, second) = (Instant::now(), Duration::from_secs(1));
        let others = |after: u32, spent: &[(u32, u32)], total: u32, stolen: u32| Others {
            at: at + second * after,
            spent: spent.iter().map(|(pid, it)| (*pid, second * *it)).collect(),
            total: second * total,
            stolen: second * stolen,
        };
        let before = others(0, &[(1, 5), (2, 90)], 95, 0);
        let share = |after: Others| after.share_since(&before, 2);
        let near = |told: f64, true_one: f64| (told - true_one).abs() < 1e-9;
        // One works and a new one works; nobody waited for the child with 90 seconds.
        assert!(near(share(others(10, &[(1, 9), (8, 1)], 10, 0)), 0.25));
        // Its parent took over the child's 90 seconds, and those of one that was never seen.
        assert!(near(share(others(10, &[(1, 5)], 103, 0)), 0.4));
        assert!(near(share(others(10, &[(1, 5), (2, 90)], 95, 3)), 0.15));
    }

    #[test]
    fn a_process_that_works_is_seen_to_work() {
        let ours = || Cpu::of(std::process::id()).unwrap();
        let (before, began) = (ours(), Instant::now());
        while ours().since(&before) < Duration::from_millis(5) {
            assert!(began.elapsed() < Duration::from_secs(20));
        }
    }

    #[test]
    fn the_time_of_a_thread_that_ended_is_not_lost() {
        let cpu = |threads: &[(u32, u64)], ticks: u64| Cpu {
            threads: threads
                .iter()
                .map(|(thread, it)| (*thread, Duration::from_nanos(*it)))
                .collect(),
            ticks: Duration::from_millis(10 * ticks),
        };
        let before = cpu(&[(1, 500), (2, 700)], 5);
        let working = cpu(&[(1, 600), (2, 700), (3, 50)], 5);
        assert_eq!(working.since(&before), Duration::from_nanos(150));
        let ended = cpu(&[(1, 600)], 7);
        assert_eq!(ended.since(&before), Duration::from_millis(20));
        assert_eq!(
            on_processor("47260 12 1\n"),
            Some(Duration::from_nanos(47_260))
        );
        assert_eq!(on_processor(""), None);
    }
}
