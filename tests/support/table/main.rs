//! `trunkline-faults FOLDER`: prints the fault table of the run that kept its records there.
//!
//! It fails if a fault has none: a test that was not run says nothing about what it was written for.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use trunkline_support::faults::Table;

/// Prints what each fault cost the router's clients.
#[derive(Parser)]
struct Arguments {
    /// Where the tests kept their records.
    folder: PathBuf,
}

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn main() -> Result<ExitCode> {
    let table = Table::load(&Arguments::parse().folder)?;
    println!("{table}");
    Ok(if table.missing().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
