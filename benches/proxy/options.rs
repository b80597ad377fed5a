//! What the command line asks for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};

/// Measures trunkline beside HAProxy and a direct connection, on the same work and in the same minutes.
#[derive(Debug, Parser)]
#[command(after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// A trunkline to measure; may be given more than once
    #[arg(
        long,
        value_name = "[LABEL=]PATH[;KEY=VALUE]...",
        default_value = "target/release/trunkline"
    )]
    pub(crate) trunkline: Vec<Build>,
    /// A variable in the environment of every trunkline
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<Variable>,
    /// The HAProxy to compare with, may be given more than once; `none` for none
    #[arg(long, value_name = "PATH", default_value = "haproxy")]
    pub(crate) haproxy: Vec<PathBuf>,
    /// Workloads to run, by the beginnings of their names
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// The long list of workloads
    #[arg(long)]
    pub(crate) full: bool,
    /// Rounds: in each, every contender has its turn
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// How often a workload is measured at most, while it is too noisy to tell
    #[arg(long, default_value_t = 3)]
    pub(crate) attempts: usize,
    /// Seconds that are measured
    #[arg(long, default_value = "1.2", value_parser = seconds)]
    pub(crate) window: Duration,
    /// Seconds of work before them
    #[arg(long, default_value = "0.3", value_parser = seconds)]
    pub(crate) warm_up: Duration,
    /// Threads of the client, and of the backend
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// Idle sessions
    #[arg(long, default_value_t = 3_000)]
    pub(crate) idle_sessions: usize,
    /// How long they are idle
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub(crate) idle_seconds: Duration,
    /// pgbench's scale: 100,000 accounts each
    #[arg(long, default_value_t = 10)]
    pub(crate) scale: u32,
    /// Where to write every figure of every round
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The server behind all of them, which is started by itself.
    #[command(hide = true)]
    Backend {
        /// Where it listens.
        #[arg(long)]
        listen: Vec<SocketAddr>,
        /// How many threads it has.
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
}

/// What the rounds of all attempts may come to: the chances of as many coins are still numbers.
const MOST_ROUNDS: usize = 1_000;

const EXIT_CODES: &str = "\
Exit codes: 0 every bar is reached (or there is none to judge by); 1 a bar is missed; 2 of a bar it could not be told, which
outweighs 1; 3 something does not work, and was said.";

impl Arguments {
    /// What would only fail later.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.rounds >= 1, "--rounds must be 1 or more");
        ensure!(self.attempts >= 1, "--attempts must be 1 or more");
        ensure!(
            self.rounds.saturating_mul(self.attempts) <= MOST_ROUNDS,
            "--rounds times --attempts must be {MOST_ROUNDS} or less"
        );
        ensure!(
            (1..=64).contains(&self.threads),
            "--threads must be 1 to 64"
        );
        ensure!(self.idle_sessions >= 1, "--idle-sessions must be 1 or more");
        ensure!(self.scale >= 1, "--scale must be 1 or more");
        for build in &self.trunkline {
            ensure!(
                build.path.is_file(),
                "there is no trunkline at {}: `cargo build --release -p trunkline` makes one",
                build.path.display()
            );
        }
        let mut labels: Vec<&str> = self.trunkline.iter().map(|it| it.label.as_str()).collect();
        labels.sort_unstable();
        labels.dedup();
        ensure!(
            labels.len() == self.trunkline.len(),
            "two trunklines have the same label: give them as LABEL=PATH"
        );
        Ok(())
    }
}

/// A trunkline and how it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Build {
    pub(crate) label: String,
    pub(crate) path: PathBuf,
    pub(crate) env: Vec<Variable>,
}

impl FromStr for Build {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(';');
        let first = parts.next().unwrap_or_default();
        let (label, path) = first.split_once('=').unwrap_or(("trunkline", first));
        ensure!(
            !label.is_empty() && !path.is_empty(),
            "{text:?} is no LABEL=PATH"
        );
        ensure!(label.len() <= 20, "the label {label:?} is longer than 20");
        Ok(Self {
            label: label.to_owned(),
            path: path.into(),
            env: parts.map(Variable::from_str).collect::<Result<_>>()?,
        })
    }
}

/// A variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for Variable {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
            Some(_) | None => bail!("{text:?} is no KEY=VALUE"),
        }
    }
}

fn seconds(text: &str) -> Result<Duration> {
    let seconds: f64 = text
        .parse()
        .with_context(|| format!("{text:?} is no number of seconds"))?;
    ensure!(
        (0.0..=3_600.0).contains(&seconds),
        "{text} s is not between 0 and an hour"
    );
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_may_have_a_label_and_an_environment() {
        let plain: Build = "/a/trunkline".parse().unwrap();
        assert_eq!((plain.label.as_str(), plain.env.len()), ("trunkline", 0));
        let full: Build = "new=/a/b;TRUNKLINE_RUNTIME=shared;X=".parse().unwrap();
        assert_eq!((full.label.as_str(), full.path), ("new", "/a/b".into()));
        let keys: Vec<&str> = full.env.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["TRUNKLINE_RUNTIME", "X"]);
        for wrong in ["", "=/a", "a=", "a=/b;c", "a=/b;=c"] {
            assert!(wrong.parse::<Build>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_command_line_without_anything_measures_the_release_build() {
        let arguments = Arguments::try_parse_from(["trunkline-bench"]).unwrap();
        assert_eq!(
            arguments.trunkline[0].path,
            PathBuf::from("target/release/trunkline")
        );
        assert!(Arguments::try_parse_from(["trunkline-bench", "--window", "-1"]).is_err());
    }
}
