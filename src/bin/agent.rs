//! `trunkline-agent`: reads its arguments and patroni.yml, starts logging, runs the agent, and maps the ending to an
//! exit code.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use trunkline_agent::postgres::launch;
use trunkline_agent::{Start, run};
use trunkline_core::config::Problems;
use trunkline_core::config::agent::{self, Agent};
use trunkline_core::config::layers::Layer;
use trunkline_io::{files, logging, yaml};

/// Runs one PostgreSQL node of a Patroni cluster.
#[derive(Parser, Debug)]
#[command(name = "trunkline-agent", version)]
struct Arguments {
    /// patroni.yml
    #[arg(value_name = "PATRONI_YML")]
    file: PathBuf,
}

const EX_UNAVAILABLE: u8 = 69;
const EX_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|first| first == launch::HELP) {
        return launch::help(arguments);
    }
    let arguments = Arguments::parse();
    let (agent, warnings) = match load(&arguments) {
        Ok(loaded) => loaded,
        Err(problems) => {
            tell(&problems);
            return ExitCode::from(EX_CONFIG);
        }
    };
    tell(&warnings);
    logging::start(agent.log.level.as_str(), logging::Format::Patroni);
    let start = Start {
        agent,
        read: Arc::new(move || load(&arguments)),
    };
    match start_up(start) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "trunkline-agent: {failure:#}");
            ExitCode::from(EX_UNAVAILABLE)
        }
    }
}

fn start_up(start: Start) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2)
        .enable_all()
        .build()?;
    let code = runtime.block_on(run(start))?;
    runtime.shutdown_background();
    Ok(code)
}

fn load(arguments: &Arguments) -> Result<(Agent, Problems), Problems> {
    let name = arguments.file.display().to_string();
    let text = files::read_small(&arguments.file)
        .map_err(|error| Problems::unreadable(&name, &error.to_string()))?;
    let (tree, problems) = yaml::parse(&name, &text)?;
    let variables: BTreeMap<_, _> = std::env::vars().collect();
    let read = |text: &str| yaml::parse("", text).ok().map(|(node, _)| node);
    agent::understand(&[Layer { file: name, tree }], &variables, &read, problems)
}

fn tell(problems: &Problems) {
    for line in problems.lines() {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
