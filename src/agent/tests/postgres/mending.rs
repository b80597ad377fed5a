//! Two members whose logs have gone different ways, or have not: comparing them, recovering, rewinding.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use trunkline_agent::postgres::binaries::Binaries;
use trunkline_agent::postgres::heartbeat::Heartbeat;
use trunkline_agent::postgres::postmaster::Running;
use trunkline_agent::postgres::query::{self, Target};
use trunkline_agent::postgres::remote::{Remote, RemoteError};
use trunkline_agent::postgres::rewind::{self, Restore, Rewind};
use trunkline_agent::postgres::secret::SecretFile;
use trunkline_agent::postgres::{bootstrap, control, promote, recover, roles, start};
use trunkline_core::Timeline;
use trunkline_core::config::agent::Settings;
use trunkline_core::postgres::{ControlState, files};
use trunkline_core::rewind::{Here, Verdict};
use trunkline_io::clock;
use trunkline_support::wait::until;

use super::Test;
use super::cluster::{BOUND, Cluster, on_runtime, patience, psql};
use super::making::{clone_of, conninfo};

/// The tests of this file.
pub(crate) const TESTS: &[Test] = &[
    (
        "a_former_primary_whose_shutdown_its_successor_has_needs_no_rewind",
        handed_over,
    ),
    ("a_crashed_former_primary_is_recovered_and_rewound", crashed),
    (
        "a_recovery_without_anything_to_recover_fails_with_postgresqls_words",
        nothing_to_recover,
    ),
    (
        "a_standby_says_its_timeline_with_and_without_a_wal_receiver",
        timelines,
    ),
    ("a_member_that_needs_a_password_is_asked_with_one", password),
    (
        "a_promotion_that_does_not_begin_is_woken_up_and_ends",
        woken_up,
    ),
];

/// A primary, a standby of it that has everything, and their postmasters.
async fn pair() -> Result<(Cluster, Running, Cluster, Running)> {
    let primary = Cluster::made()?;
    let running = primary.start().await?;
    psql(&primary, "CREATE TABLE t AS SELECT 1 AS a").await?;
    let standby = Cluster::empty()?;
    clone_of(&primary, &standby).copy(&patience(BOUND)).await?;
    fs::write(standby.data().join("standby.signal"), "")?;
    let follows = standby.start_with(&[&following(&primary)]).await?;
    caught_up(&primary, &standby).await?;
    Ok((primary, running, standby, follows))
}

fn following(primary: &Cluster) -> String {
    format!(
        "--primary_conninfo={} application_name=other",
        conninfo(primary)
    )
}

async fn caught_up(primary: &Cluster, standby: &Cluster) -> Result<()> {
    until("the standby has everything", BOUND, async || {
        let wants = psql(primary, "SELECT pg_current_wal_flush_lsn()").await?;
        let has = psql(standby, "SELECT pg_last_wal_replay_lsn()").await?;
        ensure!(has >= wants, "{has} of {wants}");
        Ok(())
    })
    .await
}

async fn promoted(standby: &Cluster) -> Result<()> {
    let mut heartbeat = Heartbeat::new(standby.target(), "test");
    let pg_ctl = standby.program("pg_ctl");
    promote::promote(&pg_ctl, &standby.data(), &mut heartbeat, &patience(BOUND)).await?;
    psql(standby, "CHECKPOINT").await?;
    Ok(())
}

/// How the stopped `here` compares with the primary `there`.
async fn verdict(here: &Cluster, there: &Cluster) -> Result<(Here, Verdict)> {
    let agent = here.agent();
    let says = control::read(&Binaries::of(&agent), &here.data()).await?;
    let stands = Here::of(&says).with_context(|| format!("{says:?}"))?;
    let (psql, conninfo) = (here.program("psql"), conninfo(there));
    let remote = Remote {
        psql: &psql,
        conninfo: &conninfo,
        passfile: None,
    };
    ensure!(!remote.is_in_recovery(&patience(BOUND)).await?);
    let leader = remote.identify(&patience(BOUND)).await?;
    ensure!(
        leader.system_id == says.system_id && leader.timeline == Timeline(2),
        "{leader:?}"
    );
    let history = remote.history(leader.timeline, &patience(BOUND)).await?;
    ensure!(
        history
            .as_ref()
            .is_some_and(|history| history.lines.len() == 1),
        "{history:?}"
    );
    ensure!(
        remote
            .history(Timeline(1), &patience(BOUND))
            .await?
            .is_none()
    );
    Ok((stands, stands.compared(leader.timeline, history.as_ref())))
}

async fn end_of_shutdown(cluster: &Cluster, here: Here) -> Result<Option<trunkline_core::Lsn>> {
    let pg_waldump = cluster.program("pg_waldump");
    let data = cluster.data();
    Ok(rewind::end_of_shutdown(&pg_waldump, &data, here.timeline, here.position).await?)
}

fn handed_over() -> Result<()> {
    on_runtime(async {
        let (former, running, leader, _leads) = pair().await?;
        running.signal(Signal::INT)?;
        running.gone().await;
        promoted(&leader).await?;
        let (here, verdict) = verdict(&former, &leader).await?;
        let Verdict::UnlessShutDownAt(switch) = verdict else {
            bail!("{here:?}: {verdict:?}");
        };
        let end = end_of_shutdown(&former, here).await?;
        ensure!(end == Some(switch), "{here:?}: {end:?}, {switch}");
        // And it really can follow.
        fs::write(former.data().join("standby.signal"), "")?;
        former.start_with(&[&following(&leader)]).await?;
        psql(&leader, "INSERT INTO t VALUES (2)").await?;
        caught_up(&leader, &former).await
    })
}

fn crashed() -> Result<()> {
    on_runtime(async {
        let (former, running, leader, leads) = pair().await?;
        // The standby sees nothing of what its primary writes from here on.
        leads.signal(Signal::STOP)?;
        let receiver = trunkline_agent::postgres::processes::children(leads.pid())?;
        ensure!(!receiver.is_empty());
        let stopped = psql(
            &former,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_replication",
        );
        stopped.await?;
        psql(
            &former,
            "CREATE TABLE lost AS SELECT generate_series(1, 1000)",
        )
        .await?;
        running.signal(Signal::KILL)?;
        running.gone().await;
        leads.signal(Signal::CONT)?;
        promoted(&leader).await?;

        let agent = former.agent();
        let binaries = Binaries::of(&agent);
        let says = control::read(&binaries, &former.data()).await?;
        ensure!(
            says.state == ControlState::InProduction && Here::of(&says).is_none(),
            "{says:?}"
        );
        start::end_orphans(std::ffi::OsStr::new("postgres"), &former.data()).await?;
        let (postgres, data) = (former.program("postgres"), former.data());
        // An old lock file whose process lives, and is another.
        let mut innocent = Command::new("sleep").arg("300").spawn()?;
        let words = format!("{}\n{}\n1000\n", innocent.id(), data.display());
        fs::write(data.join("postmaster.pid"), words)?;
        let recovered = recover::recover(&postgres, &data, None, &patience(BOUND)).await;
        innocent.kill()?;
        innocent.wait()?;
        recovered?;
        let says = control::read(&binaries, &former.data()).await?;
        ensure!(says.state == ControlState::ShutDown, "{says:?}");
        let (here, verdict) = verdict(&former, &leader).await?;
        ensure!(
            matches!(verdict, Verdict::Needed(_)),
            "{here:?}: {verdict:?}"
        );

        let (pg_rewind, conninfo) = (former.program("pg_rewind"), conninfo(&leader));
        let what = Rewind {
            pg_rewind: &pg_rewind,
            data: &data,
            conninfo: &format!("{conninfo} dbname=postgres target_session_attrs=read-write"),
            passfile: None,
            restore: Restore::Never,
        };
        rewind::rewind(what, &patience(BOUND)).await?;
        fs::write(data.join("standby.signal"), "")?;
        former.start_with(&[&following(&leader)]).await?;
        psql(&leader, "INSERT INTO t VALUES (2)").await?;
        caught_up(&leader, &former).await?;
        let lost = psql(&former, "SELECT to_regclass('lost') IS NULL").await?;
        ensure!(
            lost == "t",
            "what was never acknowledged by the leader's line is still there"
        );
        Ok(())
    })
}

fn nothing_to_recover() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::empty()?;
        fs::create_dir(cluster.data())?;
        let (postgres, data) = (cluster.program("postgres"), cluster.data());
        let recovered = recover::recover(&postgres, &data, None, &patience(BOUND)).await;
        let words = recovered.err().context("it was recovered")?.to_string();
        ensure!(words.contains("postgres failed (exit code"), "{words}");
        ensure!(words.contains("postgresql.conf"), "{words}");
        Ok(())
    })
}

fn timelines() -> Result<()> {
    on_runtime(async {
        let (primary, running, standby, _follows) = pair().await?;
        let local = query::identify(&standby.target(), clock::now().after(BOUND)).await;
        let local = local.map_err(|silence| anyhow::anyhow!("{silence:?}"))?;
        ensure!(local.timeline == Timeline(1), "{local:?}");
        let mut alone = Heartbeat::new(standby.target(), "test");
        let mut heartbeat = Heartbeat::new(standby.target(), "test").replicating(standby.target());
        running.signal(Signal::KILL)?;
        running.gone().await;
        until("the receiver is gone", BOUND, async || {
            let says = alone.ask(clock::now().after(BOUND)).await;
            let says = says.map_err(|silence| anyhow::anyhow!("{silence:?}"))?;
            ensure!(
                says.receiver.is_none() && says.timeline.is_none(),
                "{says:?}"
            );
            Ok(())
        })
        .await?;
        for _asked_then_known in 0..2 {
            let says = heartbeat.ask(clock::now().after(BOUND)).await;
            let says = says.map_err(|silence| anyhow::anyhow!("{silence:?}"))?;
            ensure!(says.timeline == Some(Timeline(1)), "{says:?}");
        }
        drop(primary);
        Ok(())
    })
}

fn password() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::empty()?;
        let agent = cluster.agent();
        let options = ["--no-sync".to_owned(), "--auth=scram-sha-256".to_owned()];
        let (initdb, data) = (cluster.program("initdb"), cluster.data());
        bootstrap::initdb(&initdb, &data, &options, &agent.superuser, &patience(BOUND)).await?;
        let hba = data.join("pg_hba.conf");
        let all = "host all all all scram-sha-256\nhost replication all all scram-sha-256\n";
        fs::write(&hba, fs::read_to_string(&hba)? + all)?;
        let _running = cluster.start().await?;
        let soon = clock::now().after(BOUND);
        let target = cluster.target_of(&agent.superuser);
        let made = roles::others(&target, &agent, soon).await;
        made.map_err(|silence| anyhow::anyhow!("{silence:?}"))?;
        let replication = Target::local_replication(&agent, &Settings::default());
        let local = query::identify(&replication, soon).await;
        let local = local.map_err(|silence| anyhow::anyhow!("{silence:?}"))?;

        let user = &agent.replication;
        let name = user.username.as_deref().context("no user")?;
        let word = user.password.as_ref().context("no password")?.reveal();
        let host = cluster.host();
        let text =
            files::pgpass(&[&host], cluster.port(), name, word).map_err(anyhow::Error::msg)?;
        let secret = SecretFile::write(&text)?;
        let psql: PathBuf = cluster.program("psql");
        let conninfo = format!(
            "user={name} host={host} port={} dbname=postgres",
            cluster.port()
        );
        let remote = Remote {
            psql: &psql,
            conninfo: &conninfo,
            passfile: Some(secret.path()),
        };
        let identified = remote.identify(&patience(BOUND)).await?;
        ensure!(
            identified.system_id == local.system_id,
            "{identified:?} {local:?}"
        );
        let without = Remote {
            passfile: None,
            ..remote
        };
        let refused = without.identify(&patience(BOUND)).await;
        ensure!(
            matches!(refused, Err(RemoteError::Program(_))),
            "{refused:?}"
        );
        Ok(())
    })
}

/// PostgreSQL may miss its wake-up; here it cannot have any at first.
fn woken_up() -> Result<()> {
    on_runtime(async {
        let (_primary, _running, standby, follows) = pair().await?;
        let children = trunkline_agent::postgres::processes::children(follows.pid())?;
        let is_startup = |pid: &u32| {
            let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            title.starts_with(b"postgres: startup")
        };
        let startup = children.iter().map(|child| child.pid).find(is_startup);
        let startup = Pid::from_raw(i32::try_from(startup.context("no startup process")?)?);
        let startup = startup.context("no number")?;
        let loaded = async || psql(&standby, "SELECT pg_conf_load_time()").await;
        let before = loaded().await?;
        kill_process(startup, Signal::STOP)?;
        let woken = async {
            let woken = until("PostgreSQL was woken up", BOUND, async || {
                ensure!(loaded().await? != before);
                Ok(())
            });
            let woken = woken.await;
            kill_process(startup, Signal::CONT)?;
            woken
        };
        tokio::try_join!(promoted(&standby), woken)?;
        Ok(())
    })
}
