//! The postmaster's process: started, found, watched, stopped.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;
use trunkline_agent::postgres::launch::HELP;
use trunkline_agent::postgres::postmaster::{self, Found};
use trunkline_agent::postgres::start::Started;
use trunkline_agent::postgres::stop::{self, Stopped};
use trunkline_agent::postgres::{processes, start};
use trunkline_core::ha::Stop;
use trunkline_io::clock;
use trunkline_support::wait::until;

use super::Test;
use super::cluster::{BOUND, Cluster, on_runtime, patience, psql};

/// The tests of this file.
pub(crate) const TESTS: &[Test] = &[
    (
        "a_postmaster_is_nobodys_child_here_in_a_session_of_its_own",
        child_of_nobody,
    ),
    ("a_postmasters_exit_wakes_whoever_watches_it", exit_wakes),
    ("a_start_of_what_runs_already_finds_it", start_twice),
    (
        "a_start_that_takes_longer_than_its_time_goes_on",
        still_starting,
    ),
    (
        "a_postgresql_that_ends_while_it_starts_is_noticed_at_once",
        ends_starting,
    ),
    (
        "a_living_process_that_took_an_old_number_is_a_stranger_and_no_hindrance",
        stranger,
    ),
    (
        "a_postmaster_is_found_that_its_lock_file_does_not_name",
        unnamed,
    ),
    (
        "a_dead_postmaster_that_nobody_has_taken_notice_of_is_no_hindrance",
        zombie,
    ),
    (
        "a_stop_is_in_order_where_postgresql_is_not_held_up",
        stops_in_order,
    ),
    (
        "a_frozen_postgresql_is_gone_by_the_deadline_with_its_children",
        deadline,
    ),
    ("a_stop_without_a_deadline_can_be_given_up", stop_given_up),
    (
        "what_a_killed_postmaster_leaves_is_ended_before_a_start",
        orphans,
    ),
];

const FAST: Stop = Stop {
    immediate: false,
    checkpoint: false,
    deadline: None,
};

fn child_of_nobody() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let running = cluster.start().await?;
        let process = processes::process(running.pid()).context("it does not run")?;
        let me = std::process::id();
        ensure!(process.parent != me, "it is our child");
        ensure!(
            session(running.pid())? != session(me)?,
            "it is in our session"
        );
        let environment = fs::read(format!("/proc/{}/environ", running.pid()))?;
        let text = String::from_utf8_lossy(&environment).into_owned();
        ensure!(!text.contains("PATRONI_"), "{text}");
        let found = cluster.postmaster()?.context("it is not found")?;
        ensure!(found.pid() == running.pid());
        Ok(())
    })
}

/// The number of a process's session, as the kernel writes it: 0 where its leader is outside of this pid namespace,
/// which `getsid` cannot say.
fn session(pid: u32) -> Result<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let number = fields.split_ascii_whitespace().nth(3);
    Ok(number.context("no session")?.parse()?)
}

fn exit_wakes() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let running = cluster.start().await?;
        ensure!(!running.is_gone(), "it just started");
        let other = running.clone();
        running.signal(Signal::KILL)?;
        let both = async { tokio::join!(running.gone(), other.gone()) };
        tokio::time::timeout(BOUND, both)
            .await
            .context("nobody noticed")?;
        ensure!(running.is_gone());
        ensure!(
            cluster.postmaster()?.is_none(),
            "the lock file of a dead one"
        );
        Ok(())
    })
}

fn start_twice() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let (first, second) = (cluster.start().await?, cluster.start().await?);
        ensure!(first.pid() == second.pid());
        Ok(())
    })
}

fn still_starting() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        // It asks for its log before anything else, and hears nothing until this test has seen that it waits.
        fs::write(cluster.data().join("standby.signal"), "")?;
        let (folder, heard) = (cluster.folder(), cluster.folder().join("heard"));
        let (folder, heard) = (folder.display(), heard.display());
        let silent = format!("until test -e {heard} -o ! -e {folder}; do sleep 0.1; done; exit 1");
        let restore = format!("--restore_command={silent}");
        let started = cluster.try_start(&[&restore], Duration::ZERO).await?;
        let Started::Still(running) = started else {
            bail!("{started:?}");
        };
        ensure!(!running.is_gone());
        fs::write(cluster.folder().join("heard"), "")?;
        let ready = start::wait(running, &cluster.data(), &patience(BOUND)).await;
        ensure!(matches!(ready, Started::Ready(_)), "{ready:?}");
        Ok(())
    })
}

fn ends_starting() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let began = clock::now();
        let started = cluster.try_start(&["--no_such_parameter=1"], BOUND).await?;
        ensure!(matches!(started, Started::Ended), "{started:?}");
        ensure!(
            clock::now().since(began) < BOUND / 4,
            "that took its whole time"
        );
        Ok(())
    })
}

fn stranger() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let mut innocent = Command::new("sleep").arg("300").process_group(0).spawn()?;
        let words = format!(
            "{}\n{}\n1000\n5432\n\n\n",
            innocent.id(),
            cluster.data().display()
        );
        fs::write(cluster.data().join("postmaster.pid"), words)?;
        let found = postmaster::find(&cluster.data())?;
        let is_stranger = matches!(&found, Found::Stranger(pid) if *pid == innocent.id());
        let started = cluster.start().await;
        innocent.kill()?;
        innocent.wait()?;
        ensure!(is_stranger, "{found:?}");
        ensure!(started?.pid() != innocent.id());
        Ok(())
    })
}

fn unnamed() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let running = cluster.start().await?;
        let data = cluster.data();
        let found = || postmaster::find_unnamed("postgres".as_ref(), &data);
        for text in ["1\n/elsewhere\n1000\n", ""] {
            fs::write(data.join("postmaster.pid"), text)?;
            ensure!(cluster.postmaster()?.is_none(), "{text:?} names it");
            let found = found()?.context("it is not found")?;
            ensure!(found.pid() == running.pid(), "{found:?}");
        }
        // What it leaves behind is none. (One that was forked a moment ago would still have its arguments.)
        let all_titled = until("its children have their titles", BOUND, async || {
            let mut titles = Vec::new();
            for child in processes::children(running.pid())? {
                let title = processes::arguments(child.pid).concat();
                ensure!(title.starts_with(b"postgres: "), "{child:?} has none");
                titles.push((child.pid, String::from_utf8_lossy(&title).into_owned()));
            }
            let checkpointer = titles.iter().find(|it| it.1.contains("checkpointer"));
            Ok(checkpointer.context("no checkpointer")?.0)
        });
        let held = all_titled.await?;
        kill_process(pid_of(held)?, Signal::STOP)?;
        running.signal(Signal::KILL)?;
        running.gone().await;
        ensure!(processes::process(held).is_some_and(|it| !it.zombie));
        ensure!(found()?.is_none(), "an orphan was taken for it");
        start::end_orphans("postgres".as_ref(), &data).await?;
        Ok(())
    })
}

fn pid_of(number: u32) -> Result<Pid> {
    Pid::from_raw(i32::try_from(number)?).context("no number of a process")
}

fn zombie() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        // A parent that lives on and does not care, as process 1 of some containers.
        let mut parent = Command::new(std::env::current_exe()?)
            .arg(HELP)
            .arg(cluster.program("postgres"))
            .args(cluster.arguments(&[]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let found = until("it takes connections", BOUND, async || {
            let found = cluster.postmaster()?.context("there is no postmaster")?;
            psql(&cluster, "SELECT 1").await?;
            Ok(found)
        });
        let running = found.await?;
        running.signal(Signal::KILL)?;
        running.gone().await;
        start::end_orphans("postgres".as_ref(), &cluster.data()).await?;
        // As pg_rewind leaves it: only the lock of the socket names the dead one.
        fs::remove_file(cluster.data().join("postmaster.pid"))?;
        let dead = processes::process(running.pid()).context("its parent took notice")?;
        ensure!(dead.zombie, "{dead:?}");
        let again = cluster.start().await?;
        ensure!(again.pid() != running.pid());
        parent.kill()?;
        parent.wait()?;
        Ok(())
    })
}

fn stops_in_order() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let running = cluster.start().await?;
        let how = Stop {
            deadline: Some(clock::now().after(BOUND)),
            ..FAST
        };
        let stopped = stop::stop(&running, how, &CancellationToken::new()).await?;
        ensure!(stopped == Stopped::InOrder, "{stopped:?}");
        ensure!(cluster.postmaster()?.is_none());
        Ok(())
    })
}

fn deadline() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let running = cluster.start().await?;
        // Frozen, neither the postmaster nor a child hears any signal but the last.
        let children = processes::children(running.pid())?;
        ensure!(children.len() > 3, "{children:?}");
        running.signal(Signal::STOP)?;
        for child in &children {
            let pid = Pid::from_raw(i32::try_from(child.pid)?).context("no number")?;
            kill_process(pid, Signal::STOP)?;
        }
        // It is killed at three quarters of that, and a busy machine takes its time over it.
        let deadline = clock::now().after(Duration::from_secs(8));
        let how = Stop {
            deadline: Some(deadline),
            ..FAST
        };
        let stopped = stop::stop(&running, how, &CancellationToken::new()).await?;
        let done = clock::now();
        ensure!(stopped == Stopped::Killed, "{stopped:?}");
        ensure!(done <= deadline, "late by {:?}", done.since(deadline));
        for child in children {
            let left = processes::process(child.pid).filter(|process| !process.zombie);
            ensure!(
                left.is_none_or(|left| left.started != child.started),
                "{child:?} lives"
            );
        }
        Ok(())
    })
}

fn stop_given_up() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let running = cluster.start().await?;
        running.signal(Signal::STOP)?;
        let cancel = CancellationToken::new();
        cancel.cancel();
        let stopped = stop::stop(&running, FAST, &cancel).await?;
        ensure!(stopped == Stopped::Cancelled, "{stopped:?}");
        running.signal(Signal::CONT)?;
        tokio::time::timeout(BOUND, running.gone())
            .await
            .context("it was asked to end")
    })
}

fn orphans() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let running = cluster.start().await?;
        // A backend that is at work does not see that its postmaster is dead.
        let busy = "SELECT count(*) FROM generate_series(1, 100000000000)";
        let mut backend = tokio::process::Command::new(cluster.program("psql"))
            .args([
                "-h",
                &cluster.host(),
                "-U",
                "postgres",
                "-c",
                busy,
                "postgres",
            ])
            .kill_on_drop(true)
            .spawn()?;
        let what = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query ~ 'series'";
        until("it is busy", BOUND, async || {
            ensure!(psql(&cluster, what).await? == "1");
            Ok(())
        })
        .await?;
        running.signal(Signal::KILL)?;
        running.gone().await;
        let postgres = std::ffi::OsStr::new("postgres");
        ensure!(
            !processes::of_program_in(postgres, &cluster.data())?.is_empty(),
            "nobody is left"
        );
        let again = cluster.start().await?;
        ensure!(again.pid() != running.pid());
        backend.wait().await?;
        Ok(())
    })
}
