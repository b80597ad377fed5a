//! `make figures`: the router's figures, with the peers' measured in the same run.
//!
//! Figures are printed, not asserted: they depend on the machine, and what must hold whatever the
//! machine is a test's business.
#![allow(
    clippy::print_stdout,
    reason = "the tables are what this program is for"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod backend;
mod failovers;
mod idle;
mod kill;
mod killed;
mod observer;
mod starts;
mod switchover;
mod vanished;

/// Measures a trunkline binary before a real cluster on loopback.
#[derive(Debug, Parser)]
struct Arguments {
    /// The router to measure (a release build).
    #[arg(long, default_value = "target/release/trunkline")]
    router: PathBuf,
    #[command(subcommand)]
    figure: Figure,
}

#[derive(Debug, Subcommand)]
enum Figure {
    /// What writers see of planned switchovers, by each path in turn.
    Switchover {
        /// Switchovers by each path.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Writers.
        #[arg(long, default_value_t = 8)]
        writers: usize,
        /// The paths, in the order of their turns.
        #[arg(
            long,
            value_enum,
            value_delimiter = ',',
            default_value = "libpq,trunkline,haproxy"
        )]
        paths: Vec<switchover::Path>,
    },
    /// Where the first logins of a router land that starts at any moment of a switchover.
    Starts {
        /// Routers to start.
        #[arg(long, default_value_t = 50)]
        routers: usize,
        /// Logins through each.
        #[arg(long, default_value_t = 20)]
        logins: usize,
    },
    /// What writers see of a primary whose PostgreSQL is killed: straight to its node and through the router in turn.
    Killed {
        /// Kills by each path.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Writers.
        #[arg(long, default_value_t = 8)]
        writers: usize,
    },
    /// When the next leader of a cluster whose leader's machine vanished takes a write: straight and through the router
    /// at once (needs root).
    Vanished {
        /// Machines that vanish.
        #[arg(long, default_value_t = 3)]
        runs: usize,
    },
    /// How fast thousands of idle sessions end when the lock changes hands, and the next ones begin.
    Kill {
        /// How often it does.
        #[arg(long, default_value_t = 6)]
        flips: usize,
        /// Idle sessions.
        #[arg(long, default_value_t = 5_000)]
        sessions: usize,
    },
    /// A PostgreSQL that only holds connections: what `kill` starts beside itself.
    #[command(hide = true)]
    Backend {
        /// Where it listens.
        #[arg(long)]
        listen: SocketAddr,
    },
    /// What mishaps cost clients of our agents and router, and of Patroni and HAProxy (needs root).
    Failovers(failovers::Plan),
    /// What a router costs that has nothing to do.
    Idle {
        /// Seconds to watch it for.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("figures: {failure:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: Arguments) -> Result<()> {
    match arguments.figure {
        Figure::Switchover {
            runs,
            writers,
            paths,
        } => switchover::measure(&arguments.router, runs, writers, &paths).await,
        Figure::Starts { routers, logins } => {
            starts::measure(&arguments.router, routers, logins).await
        }
        Figure::Killed { runs, writers } => killed::measure(&arguments.router, runs, writers).await,
        Figure::Vanished { runs } => vanished::measure(&arguments.router, runs),
        Figure::Kill { flips, sessions } => kill::measure(&arguments.router, flips, sessions).await,
        Figure::Failovers(plan) => failovers::measure(&arguments.router, &plan),
        Figure::Backend { listen } => backend::serve(listen),
        Figure::Idle { seconds } => idle::measure(&arguments.router, seconds).await,
    }
}

/// The middle one; of an even number the greater of the two.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
