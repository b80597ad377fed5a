//! `trunkline`: reads its arguments and its configuration, starts logging, runs the router, and maps the ending to
//! an exit code.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use trunkline_core::config::router::{self, LogFormat, Written};
use trunkline_core::config::{Node, Problems};
use trunkline_io::{files, logging, yaml};
use trunkline_router::Start;

/// Routes PostgreSQL connections to the right member of a Patroni cluster.
#[derive(Parser, Debug)]
#[command(name = "trunkline", version, after_help = EXIT_CODES)]
struct Arguments {
    /// The router's configuration
    #[arg(
        short = 'f',
        long = "file",
        value_name = "FILE",
        default_value = "/etc/trunkline/router.yml"
    )]
    file: PathBuf,
    /// Check the configuration, print what was understood, and exit
    #[arg(long)]
    check: bool,
    /// Take scope, namespace and etcd from Patroni's own file and listen on 5000, 5001, 5002 and 7000
    #[arg(long, value_name = "PATRONI_YML", conflicts_with_all = ["file", "etcd"])]
    from_patroni: Option<PathBuf>,
    /// etcd's endpoints as HOST:PORT, separated by commas, where there is no file
    #[arg(
        long,
        value_delimiter = ',',
        requires = "scope",
        conflicts_with = "file"
    )]
    etcd: Vec<String>,
    /// Patroni's scope, with --etcd
    #[arg(long, requires = "etcd")]
    scope: Option<String>,
    /// Patroni's namespace, with --etcd (default: service)
    #[arg(long, requires = "etcd")]
    namespace: Option<String>,
}

const EXIT_CODES: &str = "\
Signals: SIGTERM and SIGINT drain (take no new clients, wait for sessions, at most `drain`); a second one ends at once.
SIGHUP reads the configuration again and applies it in place, whole or not at all.
Exit codes: 0 stopped in order or checked; 64 wrong arguments; 69 a port or the system refused; 78 wrong configuration.";

/// How many threads there are for all that is no session: etcd, members, decisions, the stats page.
const OTHERS: usize = 2;

const EX_USAGE: u8 = 64;
const EX_UNAVAILABLE: u8 = 69;
const EX_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(refusal) => {
            let code = if refusal.use_stderr() { EX_USAGE } else { 0 };
            // Nobody is left to tell if the terminal is gone.
            let _ = refusal.print();
            return ExitCode::from(code);
        }
    };
    let written = match load(&arguments) {
        Ok(written) => written,
        Err(problems) => {
            tell(&problems);
            return ExitCode::from(EX_CONFIG);
        }
    };
    tell(&written.warnings);
    if arguments.check {
        let description = router::describe(&written.router);
        let _ = std::io::stdout().write_all(description.as_bytes());
        return ExitCode::SUCCESS;
    }
    let format = match written.router.log.format {
        LogFormat::Text => logging::Format::Text,
        LogFormat::Json => logging::Format::Json,
    };
    let log = logging::start(written.router.log.level.as_str(), format);
    let start = Start {
        written,
        read: Arc::new(move || load(&arguments)),
        log,
    };
    match run(start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "trunkline: {failure:#}");
            ExitCode::from(EX_UNAVAILABLE)
        }
    }
}

fn run(start: Start) -> anyhow::Result<()> {
    // Sessions have threads of their own: this is for everything else.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(OTHERS)
        .enable_all()
        .build()?;
    runtime.block_on(trunkline_router::run(start))?;
    // Whatever a look-up still waits for is not waited for.
    runtime.shutdown_background();
    Ok(())
}

/// Where systemd lets a service keep its state: the first directory of `StateDirectory=`.
fn state_directory() -> Option<PathBuf> {
    let directories = std::env::var_os("STATE_DIRECTORY")?;
    std::env::split_paths(&directories).next()
}

/// The configuration that the arguments name, if this release can do all that it asks for.
fn load(arguments: &Arguments) -> Result<Written, Problems> {
    let mut written = understood(arguments)?;
    if written.router.state.is_none() {
        written.router.state = state_directory();
    }
    let mut refused = router::unbuilt(&written.router);
    refused.extend(trunkline_router::certificates::check(&written.router));
    if refused.is_empty() {
        return Ok(written);
    }
    Err(written.unusable(refused))
}

fn understood(arguments: &Arguments) -> Result<Written, Problems> {
    if let Some(scope) = &arguments.scope {
        return router::from_flags(&arguments.etcd, scope, arguments.namespace.as_deref())
            .map(|understood| Written::new(understood, None));
    }
    if let Some(patroni) = &arguments.from_patroni {
        let (node, problems) = read(patroni)?;
        // What is no text says nothing.
        let variables: BTreeMap<_, _> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        return router::from_patroni(&node, &variables, problems)
            .map(|understood| Written::new(understood, None));
    }
    let (node, problems) = read(&arguments.file)?;
    router::understand(&node, problems).map(|understood| Written::new(understood, Some(node)))
}

fn read(path: &Path) -> Result<(Node, Problems), Problems> {
    let name = path.display().to_string();
    let text =
        files::read_small(path).map_err(|error| Problems::unreadable(&name, &error.to_string()))?;
    yaml::parse(&name, &text)
}

fn tell(problems: &Problems) {
    for line in problems.lines() {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
