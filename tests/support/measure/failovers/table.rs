//! What was measured, as the table the README shows.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trunkline_support::haproxy;
use trunkline_support::parts::Parts;
use trunkline_support::writer::Report;

use super::bench::System;
use super::event::Event;
use crate::median;

/// What happened once.
#[derive(Debug, Default)]
pub(super) struct Run {
    seconds: Option<f64>,
    /// What clients suffered besides waiting, with how often.
    counts: Vec<(&'static str, u64)>,
    notes: Vec<String>,
}

impl Run {
    /// Something took so long, and no client was there.
    pub(super) fn took(time: Duration) -> Self {
        Self {
            seconds: Some(time.as_secs_f64()),
            ..Self::default()
        }
    }

    /// There is no time to tell.
    pub(super) fn said(note: String) -> Self {
        Self::default().with(note)
    }

    /// What the writers saw.
    pub(super) fn suffered(report: &Report, lost: usize) -> Self {
        Self {
            seconds: Some(report.outage_ms / 1_000.0),
            counts: vec![
                ("sessions cut", report.breaks.values().sum()),
                ("logins refused", report.logins_refused()),
                ("writes refused as read-only", report.read_only),
                ("rows lost", lost as u64),
            ],
            notes: Vec::new(),
        }
    }

    pub(super) fn with(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }
}

impl fmt::Display for Run {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds.map(|seconds| format!("{seconds:.2} s"));
        let counts = self
            .counts
            .iter()
            .map(|(what, count)| format!("{count} {what}"));
        let parts: Vec<String> = seconds
            .into_iter()
            .chain(counts)
            .chain(self.notes.iter().cloned())
            .collect();
        out.write_str(&parts.join(", "))
    }
}

/// Everything, by event and system.
pub(super) struct Table {
    about: String,
    runs: BTreeMap<(Event, System), Vec<Result<Run>>>,
}

impl Table {
    /// An empty one that says when, where and with which builds.
    pub(super) fn about(builds: &[&Path]) -> Result<Self> {
        for build in builds {
            ensure!(
                build.is_file(),
                "there is no {}: build it first",
                build.display()
            );
        }
        Ok(Self {
            about: about(builds)?,
            runs: BTreeMap::new(),
        })
    }

    pub(super) fn heading(&self) -> &str {
        &self.about
    }

    pub(super) fn enter(&mut self, event: Event, system: System, run: Result<Run>) {
        self.runs.entry((event, system)).or_default().push(run);
    }

    /// Fails if a run did.
    pub(super) fn complete(&self) -> Result<()> {
        let failed = self
            .runs
            .values()
            .flatten()
            .filter(|run| run.is_err())
            .count();
        ensure!(
            failed == 0,
            "{failed} runs failed or were not measured: see the table"
        );
        Ok(())
    }

    fn cell(&self, event: Event, system: System) -> String {
        match self.runs.get(&(event, system)) {
            Some(runs) => cell(runs),
            None => "not measured".to_owned(),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}\n", self.about)?;
        writeln!(
            out,
            "| event | to reach | Patroni + HAProxy | trunkline-agent + trunkline |"
        )?;
        writeln!(out, "|---|---|---|---|")?;
        let mut events: Vec<Event> = self.runs.keys().map(|(event, _)| *event).collect();
        events.dedup();
        for event in events {
            writeln!(
                out,
                "| {} | {} | {} | {} |",
                event.words(),
                event.goal(),
                self.cell(event, System::Patroni),
                self.cell(event, System::Ours),
            )?;
        }
        Ok(())
    }
}

/// The median with its range, what was suffered in all runs together, and what else is to be said.
fn cell(runs: &[Result<Run>]) -> String {
    let good: Vec<&Run> = runs.iter().flatten().collect();
    let mut parts: Vec<String> = time(&good).into_iter().collect();
    let mut counts: BTreeMap<usize, (&str, u64)> = BTreeMap::new();
    for run in &good {
        for (place, (what, count)) in run.counts.iter().enumerate() {
            counts.entry(place).or_insert((what, 0)).1 += count;
        }
    }
    if !counts.is_empty() {
        let some = counts.values().filter(|(_, count)| *count > 0);
        let some: Vec<String> = some
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        parts.push(match some.is_empty() {
            true => "nothing cut, refused or lost".to_owned(),
            false => some.join(", "),
        });
    }
    parts.extend(good.iter().flat_map(|run| run.notes.clone()));
    parts.extend(
        runs.iter()
            .filter_map(|run| run.as_ref().err())
            .map(|failure| {
                let text = format!("{failure:#}");
                let first = text.lines().next().unwrap_or_default().replace('|', "/");
                format!("FAILED: {first}")
            }),
    );
    parts.join("; ")
}

fn time(runs: &[&Run]) -> Option<String> {
    let seconds: Vec<f64> = runs.iter().filter_map(|run| run.seconds).collect();
    let least = seconds.iter().copied().min_by(f64::total_cmp)?;
    let most = seconds.iter().copied().max_by(f64::total_cmp)?;
    let middle = median(&seconds);
    Some(match seconds.len() {
        1 => format!("**{middle:.2} s**"),
        count => format!("**{middle:.2} s** ({least:.2}–{most:.2}, {count} runs)"),
    })
}

/// When, on what, with what.
fn about(builds: &[&Path]) -> Result<String> {
    let parts = Parts::find()?;
    let postgresql = parts.postgresql("postgres");
    let haproxy = said(&haproxy::program()?, &["-v"]);
    let profile = |build: &&Path| {
        let folder = build.parent().and_then(Path::file_name);
        folder.map(|name| name.to_string_lossy().into_owned())
    };
    let mut profiles: Vec<String> = builds.iter().filter_map(profile).collect();
    profiles.dedup();
    Ok(format!(
        "{}; {}; {}; {}; {}; {}; trunkline {} ({} build). Eight writers that wait for their login; outage: the longest \
         time in which no row was acknowledged; medians.",
        said(Path::new("date"), &["-u", "+%Y-%m-%d %H:%M UTC"]),
        machine()?,
        said(&postgresql, &["--version"]),
        said(&parts.etcd, &["--version"]),
        said(&parts.python, &["-m", "patroni", "--version"]),
        haproxy.split(" - ").next().unwrap_or_default(),
        said(Path::new("git"), &["describe", "--always", "--dirty"]),
        profiles.join(", "),
    ))
}

fn machine() -> Result<String> {
    let read =
        |path: &str| std::fs::read_to_string(path).with_context(|| format!("reading {path}"));
    let (cpus, release) = (read("/proc/cpuinfo")?, read("/etc/os-release")?);
    let after = |text: &str, name: &str, separator: char| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|line| line.split_once(separator));
        value.map_or_else(
            || "?".to_owned(),
            |(_, value)| value.trim().trim_matches('"').to_owned(),
        )
    };
    let cores = std::thread::available_parallelism().context("counting cores")?;
    Ok(format!(
        "{cores} cores of {}, {}, Linux {}",
        after(&cpus, "model name", ':'),
        after(&release, "PRETTY_NAME", '='),
        read("/proc/sys/kernel/osrelease")?.trim(),
    ))
}

/// The first line a program says.
fn said(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or("?").to_owned()
}
