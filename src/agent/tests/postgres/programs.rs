//! Programs and the operator's scripts: what they say, their end, and that nothing of them is left.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;
use trunkline_agent::postgres::callbacks::{Callbacks, Event};
use trunkline_agent::postgres::processes;
use trunkline_agent::postgres::program::{self, Output, Patience, ProgramError};
use trunkline_io::clock;
use trunkline_io::shutdown::Tasks;
use trunkline_support::wait::until;

use super::Test;
use super::cluster::{BOUND, Cluster, on_runtime, patience};

/// The tests of this file.
pub(crate) const TESTS: &[Test] = &[
    ("a_failure_has_the_exit_code_and_the_last_lines", last_lines),
    (
        "a_program_that_takes_too_long_is_ended_with_its_children",
        too_long,
    ),
    (
        "a_program_that_is_given_up_is_ended_with_its_children",
        cancelled,
    ),
    (
        "a_program_nobody_waits_for_any_more_is_killed_with_its_children",
        dropped,
    ),
    (
        "a_child_that_keeps_the_pipes_open_holds_nobody_up",
        pipes_held_open,
    ),
    ("a_program_may_say_whatever_it_likes", flood),
    (
        "a_command_is_split_as_a_shell_would_and_sees_no_password_of_ours",
        split,
    ),
    (
        "a_newer_callback_ends_the_older_with_its_children",
        callback_replaced,
    ),
    (
        "a_reloads_callback_leaves_the_others_alone",
        callback_of_reload,
    ),
];

/// A shell that has begun a child which would stay for minutes, and waits for it.
fn with_child(folder: &Path) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("sleep 300 & echo $! > {}/child; wait", folder.display());
    shell.args(["-c", &script]);
    shell
}

async fn child(folder: &Path) -> Result<u32> {
    until("the child has begun", BOUND, async || {
        Ok(fs::read_to_string(folder.join("child"))?.trim().parse()?)
    })
    .await
}

async fn is_gone(pid: u32) -> Result<()> {
    until("the child is gone", BOUND, async || {
        let process = processes::process(pid).filter(|process| !process.zombie);
        ensure!(process.is_none(), "{process:?}");
        Ok(())
    })
    .await
}

fn last_lines() -> Result<()> {
    on_runtime(async {
        for (complains, told) in [
            ("echo 'no such thing' >&2; ", "no such thing"),
            ("", "1000"),
        ] {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{complains}seq 1 1000; exit 3")]);
            let failed = program::run(shell, Output::Logged, &patience(BOUND)).await;
            let words = failed.err().context("it did not fail")?.to_string();
            ensure!(words.starts_with("sh failed (exit code 3): "), "{words}");
            ensure!(words.ends_with(told) && words.len() < 200, "{words}");
        }
        let missing =
            program::run(Command::new("/no/such"), Output::Logged, &patience(BOUND)).await;
        ensure!(
            matches!(missing, Err(ProgramError::Start { .. })),
            "{missing:?}"
        );
        Ok(())
    })
}

fn too_long() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::empty()?;
        // The shell has to begin its child within it.
        let time = Duration::from_secs(4);
        let run = program::run(
            with_child(cluster.folder()),
            Output::Logged,
            &patience(time),
        )
        .await;
        ensure!(matches!(run, Err(ProgramError::TooLong { .. })), "{run:?}");
        is_gone(child(cluster.folder()).await?).await
    })
}

fn cancelled() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::empty()?;
        let cancel = CancellationToken::new();
        let endless = Patience::endless(&cancel);
        let run = program::run(with_child(cluster.folder()), Output::Logged, &endless);
        let give_up = async {
            let pid = child(cluster.folder()).await;
            cancel.cancel();
            pid
        };
        let (run, pid) = tokio::join!(run, give_up);
        ensure!(
            matches!(run, Err(ProgramError::Cancelled { .. })),
            "{run:?}"
        );
        is_gone(pid?).await
    })
}

fn dropped() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::empty()?;
        let endless = patience(BOUND);
        let run = program::run(with_child(cluster.folder()), Output::Logged, &endless);
        let pid = tokio::select! {
            run = run => anyhow::bail!("it ended: {run:?}"),
            pid = child(cluster.folder()) => pid?,
        };
        is_gone(pid).await
    })
}

fn pipes_held_open() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::empty()?;
        let mut shell = Command::new("sh");
        let script = format!("sleep 300 & echo $! > {}/child", cluster.folder().display());
        shell.args(["-c", &script]);
        let began = clock::now();
        program::run(shell, Output::Logged, &patience(BOUND)).await?;
        let took = clock::now().since(began);
        // What an operator's script leaves running on purpose is left.
        let pid = i32::try_from(child(cluster.folder()).await?)?;
        kill_process(Pid::from_raw(pid).context("no number")?, Signal::KILL)?;
        ensure!(took < BOUND / 4, "that took {took:?}");
        Ok(())
    })
}

fn flood() -> Result<()> {
    on_runtime(async {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2; echo; exit 1",
        ]);
        let failed = program::run(shell, Output::Logged, &patience(BOUND)).await;
        let words = failed.err().context("it did not fail")?.to_string();
        ensure!(words.len() < 100_000, "{} bytes are kept", words.len());
        let mut shell = Command::new("sh");
        shell.args(["-c", "head -c 20000000 /dev/zero"]);
        let kept = program::run(shell, Output::Kept, &patience(BOUND)).await?;
        ensure!(kept.len() == 4 << 20, "{} bytes", kept.len());
        Ok(())
    })
}

fn split() -> Result<()> {
    on_runtime(async {
        let command = program::split("x", r#"printf '%s|' "a b" c\ d 'e'"#)?;
        let said = program::run(command, Output::Kept, &patience(BOUND)).await?;
        ensure!(
            said == b"a b|c d|e|",
            "{:?}",
            String::from_utf8_lossy(&said)
        );
        for bad in ["", "  ", "'a", "\"\""] {
            let refused = program::split("pre_promote", bad);
            ensure!(
                matches!(refused, Err(ProgramError::NoCommand { .. })),
                "{bad:?}"
            );
        }
        Ok(())
    })
}

/// Callbacks, and the scripts of some events: each says its arguments and then what `then` does.
fn callbacks(cluster: &Cluster, then: &str) -> Result<(Callbacks, BTreeMap<String, String>)> {
    let text = format!("echo \"$@\" >> \"$(dirname \"$0\")/told\"\n{then}");
    let script = cluster.script("callback", &text)?;
    let events = [Event::Start, Event::RoleChange, Event::Reload];
    let scripts = events.map(|event| (event.name().to_owned(), script.clone()));
    let callbacks = Callbacks::new(Tasks::new(), "demo".into());
    Ok((callbacks, scripts.into()))
}

async fn told(cluster: &Cluster, wanted: &str) -> Result<()> {
    until("the scripts were told", BOUND, async || {
        let told = fs::read_to_string(cluster.folder().join("told"))?;
        ensure!(told == wanted, "{told:?}");
        Ok(())
    })
    .await
}

fn callback_replaced() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::empty()?;
        let slow = r#"test "$1" = on_start || exit 0; sleep 300 & echo $! > "$(dirname "$0")/child"; wait"#;
        let (callbacks, scripts) = callbacks(&cluster, slow)?;
        callbacks.call(&scripts, Event::Start, "replica");
        let pid = child(cluster.folder()).await?;
        callbacks.call(&scripts, Event::Stop, "nobody is told of this");
        callbacks.call(&scripts, Event::RoleChange, "primary");
        is_gone(pid).await?;
        told(
            &cluster,
            "on_start replica demo\non_role_change primary demo\n",
        )
        .await
    })
}

fn callback_of_reload() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::empty()?;
        let slow = r#"test "$1" = on_start || exit 0; sleep 300 & echo $! > "$(dirname "$0")/child"; wait"#;
        let (callbacks, scripts) = callbacks(&cluster, slow)?;
        callbacks.call(&scripts, Event::Start, "replica");
        let pid = child(cluster.folder()).await?;
        callbacks.call(&scripts, Event::Reload, "replica");
        told(&cluster, "on_start replica demo\non_reload replica demo\n").await?;
        ensure!(processes::process(pid).is_some_and(|process| !process.zombie));
        callbacks.call(&scripts, Event::RoleChange, "replica");
        is_gone(pid).await
    })
}
