//! `make bench`: trunkline beside HAProxy and a direct connection, on the same work, in turns.
//!
//! Read from the outside in: [`plan`] says what is measured and what is asked of it; [`rounds`] has every contender
//! take its turn; [`runs`] makes one run of one contender, with the load of [`client`] on one side and [`backend`] on
//! the other; [`judge`] and [`report`] say what came of it.
//!
//! It must not know the product's crates: it meets the router as an operator does.
#![allow(
    clippy::print_stdout,
    reason = "the tables are what this program is for"
)]

mod backend;
mod client;
mod contender;
mod json;
mod judge;
mod noise;
mod options;
mod pgbench;
mod plan;
mod poll;
mod report;
mod rounds;
mod runs;
mod stand;
mod stats;
mod usage;
mod wire;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use contender::Contender;
use judge::{Judged, Outcome};
use options::{Arguments, Command};
use rounds::{Course, Measured, progress};
use stand::Stand;

/// Something does not work: neither reached nor missed.
const BROKEN: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Command::Backend { listen, threads }) => {
            backend::serve(listen, *threads).map(|()| Outcome::Reached)
        }
        None => bench(&arguments),
    };
    match done {
        Ok(outcome) => ExitCode::from(outcome as u8),
        Err(failure) => {
            progress(&format!("{failure:#}"));
            ExitCode::from(BROKEN)
        }
    }
}

fn bench(arguments: &Arguments) -> Result<Outcome> {
    arguments.check()?;
    // The load has threads of its own: this one keeps a lease alive and answers for a member.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("starting a runtime")?;
    runtime.block_on(measure(arguments))
}

async fn measure(arguments: &Arguments) -> Result<Outcome> {
    let all = if arguments.full {
        plan::full()
    } else {
        plan::quick()
    };
    let known: Vec<String> = all.iter().map(|it| it.name.clone()).collect();
    let workloads = plan::chosen(all, &arguments.only);
    ensure!(
        !workloads.is_empty(),
        "--only names no workload; there are {}",
        known.join(", ")
    );
    let contenders = Contender::all(arguments).await?;
    let idle = contenders.iter().filter(|it| !it.is_spare_when_idle());
    // The direct connection has no idle sessions.
    let at_once = (idle.count() - 1) * arguments.idle_sessions;
    stand::raise_the_limit(at_once, arguments.idle_sessions)?;
    let stand = Stand::start(contenders.len()).await?;
    let machine = machine()?;
    println!("{}", report::head(&contenders, &machine));

    let mut course = Course::new(&stand, &contenders, arguments);
    let mut done: Vec<(Measured, Vec<Judged>)> = Vec::new();
    for workload in &workloads {
        progress(&format!("{} ...", workload.title));
        let (measured, judged) = course.measure(workload).await?;
        println!("{}", report::workload(&measured, &judged, &contenders));
        done.push((measured, judged));
    }
    let pairs = || {
        done.iter()
            .map(|(measured, judged)| (measured, &judged[..]))
    };
    println!("{}", report::bars(pairs(), &contenders));
    let noisy = pairs().any(|(measured, _)| measured.noise.is_too_much());
    let outcome = judge::outcome(noisy, pairs().flat_map(|(_, judged)| judged));
    println!("{}", words(outcome));
    if let Some(file) = &arguments.json {
        let document = json::document(pairs(), &contenders, &machine, outcome);
        std::fs::write(file, format!("{document:#}\n"))
            .with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(outcome)
}

const fn words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Reached => "Every bar that was judged is reached.",
        Outcome::Missed => "A bar is missed: see the table.",
        Outcome::Untold => {
            "Not everything could be told: see the table. Nothing is said to be reached."
        }
    }
}

/// What all of it ran on.
fn machine() -> Result<String> {
    let read =
        |path: &str| std::fs::read_to_string(path).with_context(|| format!("reading {path}"));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let about = read("/proc/cpuinfo")?;
    let model = about
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model.trim());
    let kernel = read("/proc/sys/kernel/osrelease")?;
    Ok(format!(
        "{processors} processors ({model}), Linux {};\n\
         client, proxies and backend share them, over loopback",
        kernel.trim()
    ))
}
