//! `make failovers`: what the same mishaps cost clients of Patroni behind HAProxy and of our agents behind our router,
//! on one machine, one after the other.
//!
//! A run that fails is said, stands in the table, and does not keep the others from being measured. What has not been
//! reached when the time is up stands there as not measured.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use trunkline_support::netns::Wire;

mod bench;
mod event;
mod faults;
mod rest;
mod table;
mod young;

use bench::{Bench, System};
use event::Event;
use table::{Run, Table};

/// No run takes longer; one that does has hung.
const LONGEST: Duration = Duration::from_secs(150);

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Our agent (a release build).
    #[arg(long, default_value = "target/release/trunkline-agent")]
    agent: PathBuf,
    /// Where the table is written to.
    #[arg(long, default_value = "target/failovers.md")]
    table: PathBuf,
    /// The folder where the logs of each run are left; of a failed one too.
    #[arg(long)]
    logs: Option<PathBuf>,
    /// Who is measured, in this order.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "ours,patroni"
    )]
    systems: Vec<System>,
    /// What happens to them; everything if nothing is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    events: Vec<Event>,
    /// Runs of what takes seconds; what waits for a long lease has one.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Writers.
    #[arg(long, default_value_t = 8)]
    writers: usize,
    /// Minutes after which nothing more is begun.
    #[arg(long, default_value_t = 15)]
    minutes: u64,
}

pub(crate) fn measure(router: &Path, plan: &Plan) -> Result<()> {
    let began = Instant::now();
    let mut table = Table::about(&[router, &plan.agent])?;
    println!("{}\n", table.heading());
    for system in &plan.systems {
        let mut lab = Lab {
            system: *system,
            router: router.to_owned(),
            agent: plan.agent.clone(),
            writers: plan.writers,
            logs: plan.logs.clone(),
            kept: None,
        };
        for event in
            Event::all().filter(|event| plan.events.is_empty() || plan.events.contains(event))
        {
            for number in 1..=event.runs(*system, plan.runs) {
                let run = match began.elapsed() < Duration::from_secs(60 * plan.minutes) {
                    true => lab.measure(event, number),
                    false => Err(anyhow::anyhow!(
                        "not measured: the {} minutes were up",
                        plan.minutes
                    )),
                };
                let since = began.elapsed().as_secs();
                println!(
                    "{:>2}:{:02}  {}, {}, run {number}: {}",
                    since / 60,
                    since % 60,
                    system.name(),
                    event.words(),
                    match &run {
                        Ok(run) => run.to_string(),
                        Err(failure) => format!("FAILED: {failure:#}"),
                    }
                );
                table.enter(event, *system, run);
            }
        }
    }
    println!("\n{table}");
    let folder = plan.table.parent().context("the table has no folder")?;
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&plan.table, table.to_string()))
        .with_context(|| format!("writing {}", plan.table.display()))?;
    println!("(also in {})", plan.table.display());
    table.complete()
}

/// One system, and its cluster from the last run if that left it whole.
struct Lab {
    system: System,
    router: PathBuf,
    agent: PathBuf,
    writers: usize,
    logs: Option<PathBuf>,
    kept: Option<(Wire, Bench)>,
}

impl Lab {
    /// Lets `event` happen to a cluster with the settings it is measured with: a fresh one where it has to be, else the
    /// last one.
    fn measure(&mut self, event: Event, number: usize) -> Result<Run> {
        let settings = event.settings(self.system);
        let same = |kept: &(Wire, Bench)| kept.1.has(&settings) && !event.needs_a_fresh_cluster();
        // The old one ends before the next begins: two at once would disturb each other.
        let kept = self.kept.take().filter(same);
        let (wire, bench) = match kept {
            Some((wire, bench)) => (wire, Some(bench)),
            None => (Wire::lay()?, None),
        };
        let (run, bench) = wire.run(async || {
            let mut bench = match bench {
                Some(bench) => bench,
                None => Bench::prepare(&wire, &*self, settings.clone()).await?,
            };
            let name = format!("{event:?}-{number}").to_lowercase();
            let over = tokio::time::timeout(LONGEST, bench.undergo(event, &name)).await;
            if let Some(folder) = &self.logs {
                bench.keep_logs(&folder.join(format!("{}-{name}", self.system.name())))?;
            }
            let run = over.with_context(|| format!("not over after {LONGEST:?}"))??;
            Ok((run, bench))
        })?;
        self.kept = Some((wire, bench));
        Ok(run)
    }
}
