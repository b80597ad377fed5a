//! `trunkline-agent`: reads its arguments and its configuration, starts logging, runs the agent, and maps the ending to
//! an exit code.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use trunkline_agent::postgres::launch;
use trunkline_agent::{Failure, Read, Start, validate};
use trunkline_core::config::agent::Agent;
use trunkline_io::{logging, patroni_yml};

/// Runs PostgreSQL as a member of a Patroni cluster, from the same file, etcd keys and REST API.
#[derive(Parser, Debug)]
#[command(name = "trunkline-agent", version = VERSION, after_help = EXIT_CODES)]
struct Arguments {
    /// patroni.yml, or a directory of *.yml; without it, the environment alone (PATRONI_CONFIGURATION, PATRONI_*)
    file: Option<PathBuf>,
    /// Check the configuration and what it names on this machine, and exit: 0 in silence, or 1
    #[arg(long)]
    validate_config: bool,
    /// With --validate-config: whether the ports are free does not matter
    #[arg(short, long, requires = "validate_config")]
    ignore_listen_port: bool,
}

/// Whose etcd keys and REST API it speaks: scripts read that of Patroni's own `--version`.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (patroni 4.1.5)");

const EXIT_CODES: &str = "\
Signals: SIGTERM and SIGINT hand the lead over, stop PostgreSQL and end. SIGHUP reads the configuration again. After
SIGKILL, PostgreSQL runs on and is taken over by the next start.
Exit codes: 0 stopped in order, or a valid configuration; 1 it could not run here (another node of this name, another
cluster's data, a port in use), or --validate-config found something; 64 wrong arguments; 78 wrong configuration.";

const EX_FAILURE: u8 = 1;
const EX_USAGE: u8 = 64;
const EX_CONFIG: u8 = 78;

/// Threads for everything; what waits for a disk has others.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if words.nth(1).is_some_and(|first| first == launch::HELP) {
        return launch::help(words);
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(refusal) => {
            let code = if refusal.use_stderr() { EX_USAGE } else { 0 };
            // Nobody is left to tell if the terminal is gone.
            let _ = refusal.print();
            return ExitCode::from(code);
        }
    };
    let validate = arguments
        .validate_config
        .then_some(arguments.ignore_listen_port);
    // What is no text says nothing.
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let read: Read = Arc::new(move || patroni_yml::load(arguments.file.as_deref(), &environment));
    let refused = if validate.is_some() {
        EX_FAILURE
    } else {
        EX_CONFIG
    };
    let code = match read() {
        Err(problems) => tell(problems.lines(), refused),
        Ok((agent, warnings)) => {
            tell(warnings.lines(), 0);
            run(agent, read, validate)
        }
    };
    ExitCode::from(code)
}

/// Validates or runs; returns the exit code.
fn run(agent: Agent, read: Read, validate: Option<bool>) -> u8 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(THREADS)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return tell([format!("starting threads: {error}")], EX_FAILURE),
    };
    if let Some(ignore_ports) = validate {
        let lines = runtime.block_on(validate::validate(&agent, ignore_ports));
        let code = if lines.is_empty() { 0 } else { EX_FAILURE };
        return tell(lines, code);
    }
    let format = if agent.log.json {
        logging::Format::Json
    } else {
        logging::Format::Patroni
    };
    let log = logging::start(agent.log.level.as_str(), format);
    let read: Read = Arc::new(move || {
        let (agent, warnings) = read()?;
        log.set_level(agent.log.level.as_str());
        Ok((agent, warnings))
    });
    let code = match runtime.block_on(trunkline_agent::run(Start { agent, read })) {
        Ok(code) => code,
        Err(failure) => {
            let unusable = matches!(failure, Failure::Certificates(_));
            tracing::error!(target: logging::CRITICAL, "{failure}");
            if unusable { EX_CONFIG } else { EX_FAILURE }
        }
    };
    // Whatever a look-up still waits for is not waited for.
    runtime.shutdown_background();
    code
}

fn tell(lines: impl IntoIterator<Item = String>, code: u8) -> u8 {
    for line in lines {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    code
}
