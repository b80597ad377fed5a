//! Running and asking a real PostgreSQL.
//!
//! PostgreSQL refuses to be run by root, and the agent is no root in production: started by root, this program starts
//! itself again as `postgres`. Told to help (as the agent's binary is), it launches a postmaster.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Trial};
use trunkline_agent::postgres::launch;

mod asking;
mod asking_over_tls;
mod cluster;
mod making;
mod mending;
mod programs;
mod running;

/// A test: its name and what it does.
type Test = (&'static str, fn() -> Result<()>);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|first| first == launch::HELP) {
        return launch::help(arguments);
    }
    match as_postgres() {
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            return ExitCode::FAILURE;
        }
        Ok(Some(code)) => return code,
        Ok(None) => {}
    }
    let trials = [
        asking::TESTS,
        asking_over_tls::TESTS,
        making::TESTS,
        mending::TESTS,
        programs::TESTS,
        running::TESTS,
    ]
    .concat()
    .into_iter()
    .map(|(name, test)| {
        Trial::test(name, move || {
            test().map_err(|error| format!("{error:#}").into())
        })
    });
    let mut arguments = Arguments::from_args();
    // Each of them runs a PostgreSQL or two.
    arguments.test_threads.get_or_insert(4);
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Runs all of this as `postgres`, where we are root; how that ended.
fn as_postgres() -> Result<Option<ExitCode>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let account = users
        .lines()
        .find_map(|line| line.strip_prefix("postgres:"));
    let account = account.context("there is no user `postgres` in /etc/passwd")?;
    let mut fields = account.split(':').skip(1);
    let mut number = || -> Result<u32> { Ok(fields.next().context("no number")?.parse()?) };
    let mut again = Command::new(std::env::current_exe()?);
    // Whoever runs the tests may have a locale that this machine does not, and a PostgreSQL of their own.
    for (name, _) in std::env::vars_os() {
        if name.as_bytes().starts_with(b"PG") {
            again.env_remove(name);
        }
    }
    let status = again
        .env("LC_ALL", "C.UTF-8")
        .args(std::env::args_os().skip(1))
        .uid(number()?)
        .gid(number()?)
        .current_dir("/")
        .status()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(Some(ExitCode::from(code.unwrap_or(1))))
}
