//! `make mutants`: the router's and the agent's decisions broken on purpose, one at a time, each to be caught by a test.
//!
//! A mutant that no test catches is a missing test; one whose text is not in the code any more, or that does
//! not compile, is an error of the list. Nothing is ever changed in the tree that is asked about: it is copied.
#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

mod list;
mod tree;
mod trial;

use list::{Mutant, Tests};
use tree::Tree;
use trial::{Bench, Outcome, Suite};

/// Breaks decisions on purpose and shows which test catches each.
#[derive(Debug, Parser)]
struct Arguments {
    /// The workspace to break (a copy of).
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))]
    workspace: PathBuf,
    /// Where the copy and what is built of it are kept from run to run.
    #[arg(long, default_value = "target/mutants")]
    scratch: PathBuf,
    /// Only mutants whose sentence or file contains this; several are written `this|that`.
    #[arg(long)]
    only: Option<String>,
    /// List the mutants and do nothing.
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(failure) => {
            println!("mutants: {failure:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let wanted = |mutant: &&Mutant| {
        let named = |part| mutant.says.contains(part) || mutant.file.contains(part);
        let only = arguments.only.as_deref();
        only.is_none_or(|parts| parts.split('|').any(named))
    };
    let mutants: Vec<&Mutant> = list::all().filter(wanted).collect();
    ensure!(!mutants.is_empty(), "no mutant is called so");
    if arguments.list {
        for mutant in mutants {
            println!("{}: {}", mutant.file, mutant.says);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rotten = rotten(&arguments.workspace, &mutants);
    ensure!(rotten.is_empty(), "{}", rotten.join("\n"));

    let began = Instant::now();
    let tree = Tree::copy(&arguments.workspace, &arguments.scratch)?;
    let mut bench = Bench::new(&tree, &arguments.scratch.join("build"))?;
    baseline(&mut bench, &mutants).await?;
    println!(
        "unbroken, all of it passes ({} s)\n",
        began.elapsed().as_secs()
    );
    println!("| mutant | caught by | s |\n|---|---|---|");
    let mut survivors = Vec::new();
    for mutant in &mutants {
        let began = Instant::now();
        let caught = {
            let _broken = tree.broken(mutant)?;
            catch(&mut bench, mutant).await?
        };
        let by = match &caught {
            Outcome::Passed => "NOBODY",
            Outcome::Caught(by) => by,
        };
        let seconds = began.elapsed().as_secs_f64();
        println!("| {} | {by} | {seconds:.1} |", mutant.says);
        if caught == Outcome::Passed {
            survivors.push(mutant);
        }
    }
    println!(
        "\n{} mutants, {} caught, {} s",
        mutants.len(),
        mutants.len() - survivors.len(),
        began.elapsed().as_secs()
    );
    for survivor in &survivors {
        println!(
            "survives: {} ({}): a test is missing",
            survivor.says, survivor.file
        );
    }
    Ok(if survivors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What is wrong with the list by now: each mutant has to fit the code exactly once.
fn rotten(workspace: &Path, mutants: &[&Mutant]) -> Vec<String> {
    let check = |mutant: &&Mutant| {
        let path = workspace.join(mutant.file);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        tree::mutate(&text, mutant).map(drop)
    };
    mutants
        .iter()
        .filter_map(|mutant| check(mutant).err())
        .map(|failure| format!("{failure:#}"))
        .collect()
}

/// Everything the mutants will be tried with, on the code as it is.
async fn baseline(bench: &mut Bench<'_>, mutants: &[&Mutant]) -> Result<()> {
    let mut suites = Vec::new();
    if mutants.iter().any(|mutant| mutant.tests.are_core()) {
        suites.extend(Suite::core(bench.tree())?);
    }
    let (mut programs, mut named, mut agents) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for mutant in mutants {
        match mutant.tests {
            Tests::Core(_) => {}
            Tests::Library(program) => drop(programs.insert(program)),
            Tests::Router(names) => named.extend(names),
            Tests::Agent(names) => drop(agents.insert(names)),
        }
    }
    suites.extend(programs.into_iter().map(Suite::library));
    suites.extend(agents.into_iter().map(Suite::agent));
    if !named.is_empty() {
        suites.push(Suite::router(
            &named.into_iter().copied().collect::<Vec<_>>(),
        ));
    }
    for suite in bench.build(&suites).await? {
        if let Outcome::Caught(by) = bench.run(&suite).await? {
            bail!(
                "the tests fail without any mutant: {by}\n{}",
                bench.last_words()
            );
        }
    }
    Ok(())
}

/// The first test that fails; those that are named are tried before the others are built.
async fn catch(bench: &mut Bench<'_>, mutant: &Mutant) -> Result<Outcome> {
    let stages: Vec<Vec<Suite>> = match mutant.tests {
        Tests::Core(first) => {
            let all = Suite::core(bench.tree())?;
            let (first, rest): (Vec<_>, Vec<_>) = all
                .into_iter()
                .partition(|suite| first.contains(&suite.name()));
            vec![first, rest]
        }
        Tests::Library(program) => vec![vec![Suite::library(program)]],
        Tests::Router(names) => vec![vec![Suite::router(names)]],
        Tests::Agent(names) => vec![vec![Suite::agent(names)]],
    };
    for stage in stages.iter().filter(|stage| !stage.is_empty()) {
        let built = bench.build(stage).await;
        let built = built.with_context(|| format!("{:?} does not compile", mutant.says))?;
        for suite in built {
            let outcome = bench.run(&suite).await?;
            if outcome != Outcome::Passed {
                return Ok(outcome);
            }
        }
    }
    Ok(Outcome::Passed)
}

/// How long whatever is tried may take; a mutant that hangs is caught by that.
const PROGRAM: Duration = Duration::from_secs(120);
/// How long building it may.
const BUILD: Duration = Duration::from_secs(900);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_fits_the_code_as_it_is() {
        let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let rotten = rotten(workspace, &list::all().collect::<Vec<_>>());
        assert!(rotten.is_empty(), "{}", rotten.join("\n"));
    }

    #[test]
    fn no_two_mutants_have_one_name() {
        let mut names: Vec<_> = list::all().map(|mutant| mutant.says).collect();
        names.sort_unstable();
        let twice: Vec<_> = names.windows(2).filter(|two| two[0] == two[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
