//! What was measured, as the table the README shows.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
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
    /// How long it took, and parts of that which have a name.
    seconds: Vec<(&'static str, f64)>,
    clients: Option<Clients>,
    notes: Vec<String>,
}

/// What clients suffered besides waiting.
#[derive(Debug, Default, Clone, Copy)]
struct Clients {
    sessions_cut: u64,
    logins_refused: u64,
    read_only: u64,
    rows_lost: u64,
}

impl Run {
    /// Something took so long, and no client was there.
    pub(super) fn took(time: Duration) -> Self {
        Self::default().part("", time)
    }

    /// There is no time to tell.
    pub(super) fn said(note: String) -> Self {
        Self::default().with(note)
    }

    /// What the writers saw.
    pub(super) fn suffered(report: &Report, lost: usize) -> Self {
        let clients = Clients {
            sessions_cut: report.breaks.values().sum(),
            logins_refused: report.logins_refused(),
            read_only: report.read_only,
            rows_lost: lost as u64,
        };
        Self {
            clients: Some(clients),
            ..Self::took(Duration::from_secs_f64(report.outage_ms / 1_000.0))
        }
    }

    /// Of the whole time, this was over so soon.
    pub(super) fn part(mut self, name: &'static str, time: Duration) -> Self {
        self.seconds.push((name, time.as_secs_f64()));
        self
    }

    pub(super) fn with(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    /// Adds whether a client's session ended that it had not ended itself.
    pub(super) fn with_sessions_cut(self) -> Self {
        let cut = self.clients.map_or(0, |clients| clients.sessions_cut);
        self.with(format!("{cut} sessions cut"))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds.iter();
        let seconds = seconds.map(|(name, seconds)| format!("{name}{seconds:.2} s"));
        let clients = self.clients.iter().map(ToString::to_string);
        let parts: Vec<String> = seconds.chain(clients).chain(self.notes.clone()).collect();
        out.write_str(&parts.join("; "))
    }
}

impl fmt::Display for Clients {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.logins_refused, "logins refused"),
            (self.read_only, "writes refused as read-only"),
            (self.rows_lost, "rows lost"),
        ];
        let some = all.iter().filter(|(count, _)| *count > 0);
        let some: Vec<String> = some
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        out.write_str(&match some.is_empty() {
            true => "nothing refused, nothing lost".to_owned(),
            false => some.join(", "),
        })
    }
}

impl Sum for Clients {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            sessions_cut: sum.sessions_cut + one.sessions_cut,
            logins_refused: sum.logins_refused + one.logins_refused,
            read_only: sum.read_only + one.read_only,
            rows_lost: sum.rows_lost + one.rows_lost,
        })
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
        writeln!(
            out,
            "{}\nSteady writers that wait for their login; the time is the longest in which no row was acknowledged: the \
             median (least to most). Where nothing else is said ttl is 30 and loop_wait 10.\n",
            self.about
        )?;
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
    let mut parts = times(&good);
    let clients: Vec<Clients> = good.iter().filter_map(|run| run.clients).collect();
    if !clients.is_empty() {
        parts.push(clients.into_iter().sum::<Clients>().to_string());
    }
    parts.extend(notes(&good));
    for failure in runs.iter().filter_map(|run| run.as_ref().err()) {
        let text = format!("{failure:#}");
        let first = text.lines().next().unwrap_or_default().replace('|', "/");
        parts.push(format!("FAILED: {first}"));
    }
    parts.join("; ")
}

fn times(runs: &[&Run]) -> Vec<String> {
    let mut named: Vec<(&str, Vec<f64>)> = Vec::new();
    for (name, seconds) in runs.iter().flat_map(|run| &run.seconds) {
        match named.iter_mut().find(|(known, _)| known == name) {
            Some((_, all)) => all.push(*seconds),
            None => named.push((name, vec![*seconds])),
        }
    }
    let told = |(name, all): (&str, Vec<f64>)| {
        let middle = median(&all);
        let least = all.iter().copied().fold(f64::INFINITY, f64::min);
        let most = all.iter().copied().fold(0.0, f64::max);
        match all.len() {
            1 => format!("{name}**{middle:.2} s**"),
            count => format!("{name}**{middle:.2} s** ({least:.2}–{most:.2}, {count} runs)"),
        }
    };
    named.into_iter().map(told).collect()
}

/// What was to be said, and how often where that is more than once.
fn notes(runs: &[&Run]) -> Vec<String> {
    let mut notes: Vec<(&str, usize)> = Vec::new();
    for note in runs.iter().flat_map(|run| &run.notes) {
        match notes.iter_mut().find(|(known, _)| known == note) {
            Some((_, times)) => *times += 1,
            None => notes.push((note, 1)),
        }
    }
    let told = |(note, times): (&str, usize)| match times {
        1 => note.to_owned(),
        _ => format!("{note} ({times} times)"),
    };
    notes.into_iter().map(told).collect()
}

/// When, on what, with what.
fn about(builds: &[&Path]) -> Result<String> {
    let parts = Parts::find()?;
    let profile = |build: &&Path| {
        let folder = build.parent().and_then(Path::file_name);
        folder.map(|name| name.to_string_lossy().into_owned())
    };
    let mut profiles: Vec<String> = builds.iter().filter_map(profile).collect();
    profiles.dedup();
    Ok(format!(
        "{}, {}: PostgreSQL {}, etcd {}, Patroni {}, HAProxy {}, trunkline {} ({} build).",
        said(Path::new("date"), &["-u", "+%Y-%m-%d %H:%M UTC"]),
        machine()?,
        version(&parts.postgresql("postgres"), &["--version"]),
        version(&parts.etcd, &["--version"]),
        version(&parts.python, &["-m", "patroni", "--version"]),
        version(&haproxy::program()?, &["-v"]),
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

/// The first word of what a program says that looks like a version.
fn version(program: &Path, arguments: &[&str]) -> String {
    let said = said(program, arguments);
    let mut words = said.split_whitespace();
    let found = words.find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    found.unwrap_or("?").to_owned()
}

/// The first line a program says.
fn said(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or("?").to_owned()
}
