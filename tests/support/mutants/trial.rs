//! Building test programs in the copy and running them: which test fails first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use trunkline_support::process::{Process, describe};
use trunkline_support::workdir::WorkDir;

use crate::tree::Tree;
use crate::{BUILD, PROGRAM};

/// The core's test programs that say nothing of decisions: what clippy bans.
const NOT_ABOUT_DECISIONS: [&str; 1] = ["bans"];
/// Those that play long random stories: tried when the others have found nothing.
const LONG: [&str; 2] = ["safety", "simulation"];
/// How many stories the simulation is to play for one mutant.
const SEEDS: &str = "3000";

/// One test program of one package.
#[derive(Clone, Debug)]
pub(crate) struct Suite {
    package: &'static str,
    /// `None` is the package's own unit tests.
    target: Option<String>,
    filters: Vec<String>,
}

impl Suite {
    /// What decisions are tried with, the quick ones first.
    pub(crate) fn core(tree: &Tree) -> Result<Vec<Self>> {
        let folder = tree.root().join("src/core/tests");
        let mut names = Vec::new();
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let is_program =
                path.extension().is_some_and(|it| it == "rs") || path.join("main.rs").is_file();
            let name = path.file_stem().and_then(|stem| stem.to_str());
            names.extend(name.filter(|_| is_program).map(str::to_owned));
        }
        names.retain(|name| !NOT_ABOUT_DECISIONS.contains(&name.as_str()));
        names.sort_by_key(|name| (LONG.contains(&name.as_str()), name.clone()));
        let suite = |target| Self {
            package: "trunkline-core",
            target,
            filters: Vec::new(),
        };
        let programs = names.into_iter().map(|name| suite(Some(name)));
        Ok([suite(None)].into_iter().chain(programs).collect())
    }

    /// A test program of the router's library.
    pub(crate) fn library(program: &str) -> Self {
        Self {
            package: "trunkline-router",
            target: Some(program.to_owned()),
            filters: Vec::new(),
        }
    }

    /// Some unit tests of the agent.
    pub(crate) fn agent(tests: &str) -> Self {
        Self {
            package: "trunkline-agent",
            target: None,
            filters: vec![tests.to_owned()],
        }
    }

    /// Some tests of the router's binary.
    pub(crate) fn router(tests: &[&str]) -> Self {
        Self {
            package: "trunkline",
            target: Some("router".to_owned()),
            filters: tests.iter().map(ToString::to_string).collect(),
        }
    }

    /// The name mutants know it by.
    pub(crate) fn name(&self) -> &str {
        self.target.as_deref().unwrap_or("unit")
    }
}

/// A suite, built.
#[derive(Debug)]
pub(crate) struct Built {
    suite: Suite,
    program: PathBuf,
}

/// What a suite made of the code it was built with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Outcome {
    /// Every test passed.
    Passed,
    /// This one did not, or did not end.
    Caught(String),
}

/// Where suites are built and run, one after another.
#[derive(Debug)]
pub(crate) struct Bench<'t> {
    tree: &'t Tree,
    target: PathBuf,
    logs: Arc<WorkDir>,
    runs: u32,
    last: String,
}

impl<'t> Bench<'t> {
    /// Builds into `target`.
    pub(crate) fn new(tree: &'t Tree, target: &Path) -> Result<Self> {
        Ok(Self {
            tree,
            target: std::path::absolute(target)?,
            logs: Arc::new(WorkDir::new()?),
            runs: 0,
            last: String::new(),
        })
    }

    pub(crate) const fn tree(&self) -> &Tree {
        self.tree
    }

    /// What the last program wrote, where that is the reason for something.
    pub(crate) fn last_words(&self) -> &str {
        &self.last
    }

    /// Builds suites; an error is code that does not compile.
    pub(crate) async fn build(&mut self, suites: &[Suite]) -> Result<Vec<Built>> {
        let mut packages: BTreeMap<&str, Vec<&Suite>> = BTreeMap::new();
        for suite in suites {
            packages.entry(suite.package).or_default().push(suite);
        }
        let mut programs = BTreeMap::new();
        for (package, suites) in packages {
            programs.extend(self.build_package(package, &suites).await?);
        }
        suites
            .iter()
            .map(|suite| {
                let program = programs.get(&(suite.package.to_owned(), suite.name().to_owned()));
                let program =
                    program.with_context(|| format!("cargo built no {}", suite.name()))?;
                Ok(Built {
                    suite: suite.clone(),
                    program: program.clone(),
                })
            })
            .collect()
    }

    async fn build_package(
        &mut self,
        package: &str,
        suites: &[&Suite],
    ) -> Result<Vec<((String, String), PathBuf)>> {
        let mut cargo = self.command("cargo");
        cargo.args(["test", "--no-run", "--message-format=json", "--quiet"]);
        cargo.args(["--package", package]);
        for suite in suites {
            match &suite.target {
                None => cargo.arg("--lib"),
                Some(target) => cargo.args(["--test", target]),
            };
        }
        let (ended, log) = self.run_to_end(&mut cargo, BUILD).await?;
        let status = ended.with_context(|| format!("building took longer than {BUILD:?}"))?;
        let messages = || {
            log.lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        };
        if !status.success() {
            let told =
                messages().filter_map(|it| it["message"]["rendered"].as_str().map(str::to_owned));
            let told: String = told.filter(|text| text.starts_with("error")).collect();
            bail!("cargo ended with {}\n{told}", describe(status));
        }
        let program = |message: Value| {
            let executable = message["executable"].as_str()?.into();
            let kind = message["target"]["kind"][0].as_str()?.to_owned();
            let name = match kind.as_str() {
                "lib" => "unit".to_owned(),
                "test" => message["target"]["name"].as_str()?.to_owned(),
                _ => return None,
            };
            Some(((package.to_owned(), name), executable))
        };
        Ok(messages().filter_map(program).collect())
    }

    /// Runs a suite; what does not end in time is caught by that.
    pub(crate) async fn run(&mut self, built: &Built) -> Result<Outcome> {
        let mut program = self.command(&built.program);
        program.args(&built.suite.filters);
        let (ended, log) = self.run_to_end(&mut program, PROGRAM).await?;
        let name = built.suite.name();
        let Some(status) = ended else {
            return Ok(Outcome::Caught(format!(
                "{name}: does not end within {PROGRAM:?}"
            )));
        };
        ensure!(
            !log.contains("running 0 tests"),
            "{name} has no test called {:?}",
            built.suite.filters
        );
        if status.success() {
            return Ok(Outcome::Passed);
        }
        let failed = log.lines().find_map(|line| {
            let test = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
            Some(test.to_owned())
        });
        // A scenario's file says more than the test that plays all of them.
        let scenario = log.lines().find(|line| {
            line.ends_with(".txt") && !line.contains(' ') && built.suite.name() == "scenarios"
        });
        let by = match (scenario, failed) {
            (Some(scenario), _) => scenario.to_owned(),
            (None, Some(test)) => format!("{name}: {test}"),
            (None, None) => format!("{name}: ended with {}", describe(status)),
        };
        Ok(Outcome::Caught(by))
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.tree.root())
            .env("CARGO_TARGET_DIR", &self.target)
            // Nobody debugs a mutant: this halves the time to link one.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("RUST_BACKTRACE", "0")
            .env("SEEDS", SEEDS);
        command
    }

    /// The exit status, `None` where it had to be ended, and all it wrote.
    async fn run_to_end(
        &mut self,
        command: &mut Command,
        bound: std::time::Duration,
    ) -> Result<(Option<std::process::ExitStatus>, String)> {
        self.runs += 1;
        let name = format!("trial-{}", self.runs);
        let mut process = Process::start(&name, command, None, &self.logs)?;
        let ended = tokio::time::timeout(bound, process.wait(bound * 2)).await;
        process.kill()?;
        self.last = process.log()?;
        Ok((ended.ok().transpose()?, self.last.clone()))
    }
}
