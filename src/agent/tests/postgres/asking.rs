//! Asking PostgreSQL: what it says, and what its silence means.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use trunkline_agent::postgres::heartbeat::Heartbeat;
use trunkline_agent::postgres::query::Session;
use trunkline_agent::postgres::start::Started;
use trunkline_core::postgres::Silence;
use trunkline_core::{Lsn, Timeline};
use trunkline_io::clock;

use super::Test;
use super::cluster::{BOUND, Cluster, on_runtime, psql};

/// The tests of this file.
pub(crate) const TESTS: &[Test] = &[
    ("a_primary_says_where_it_is", primary_says),
    ("a_postgresql_that_is_not_there_is_unreachable", not_there),
    (
        "a_frozen_postgresql_takes_no_longer_than_the_deadline",
        frozen,
    ),
    ("a_connection_that_was_ended_is_made_anew", reconnects),
    ("a_postgresql_that_recovers_says_that_it_starts", starts),
    (
        "an_answer_that_nobody_waited_for_spoils_no_later_one",
        dropped,
    ),
];

fn primary_says() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let _running = cluster.start().await?;
        psql(
            &cluster,
            "SELECT pg_create_physical_replication_slot('pg_2', true)",
        )
        .await?;
        let mut heartbeat = Heartbeat::new(cluster.target(), "Patroni heartbeat");
        let says = heartbeat.ask(soon()).await.map_err(failed)?;
        ensure!(!says.in_recovery && says.version >= 130_000, "{says:?}");
        ensure!(says.timeline == Some(Timeline(1)), "{says:?}");
        ensure!(
            says.flushed > Some(Lsn(1 << 24)) && says.replayed.is_none(),
            "{says:?}"
        );
        ensure!(
            says.started.ends_with("+00:00") && says.started.starts_with("20"),
            "{says:?}"
        );
        ensure!(
            !says.restores_from_archive && says.receiver.is_none(),
            "{says:?}"
        );
        let [slot] = says.slots.as_slice() else {
            anyhow::bail!("{says:?}");
        };
        ensure!(slot.name == "pg_2" && slot.restart.is_some() && !slot.active && !slot.lost);
        let name = "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        let rows = heartbeat.rows(name, soon()).await.map_err(failed)?;
        ensure!(rows == [[Some("Patroni heartbeat".to_owned())]], "{rows:?}");
        Ok(())
    })
}

fn not_there() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::empty()?;
        let mut heartbeat = Heartbeat::new(cluster.target(), "test");
        let silence = heartbeat.ask(soon()).await;
        ensure!(
            matches!(silence, Err(Silence::Unreachable(_))),
            "{silence:?}"
        );
        Ok(())
    })
}

fn frozen() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let running = cluster.start().await?;
        let mut heartbeat = Heartbeat::new(cluster.target(), "test");
        heartbeat.ask(soon()).await.map_err(failed)?;
        let backend = heartbeat
            .rows("SELECT pg_backend_pid()", soon())
            .await
            .map_err(failed)?;
        let backend: i32 = backend[0][0].as_deref().unwrap_or_default().parse()?;
        let backend = rustix::process::Pid::from_raw(backend).unwrap_or(rustix::process::Pid::INIT);
        running.signal(Signal::STOP)?;
        rustix::process::kill_process(backend, Signal::STOP)?;
        for _the_kept_connection_then_a_new_one in 0..2 {
            let began = clock::now();
            let deadline = began.after(Duration::from_millis(300));
            let silence = heartbeat.ask(deadline).await;
            ensure!(silence == Err(Silence::TimedOut), "{silence:?}");
            let took = clock::now().since(began);
            ensure!(took < BOUND / 4, "that took {took:?}");
        }
        rustix::process::kill_process(backend, Signal::CONT)?;
        running.signal(Signal::CONT)?;
        heartbeat.ask(soon()).await.map_err(failed)?;
        Ok(())
    })
}

fn reconnects() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let _running = cluster.start().await?;
        let mut heartbeat = Heartbeat::new(cluster.target(), "test");
        heartbeat.ask(soon()).await.map_err(failed)?;
        let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'test'";
        ensure!(psql(&cluster, end).await? == "t");
        heartbeat.ask(soon()).await.map_err(failed)?;
        Ok(())
    })
}

fn starts() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        // A standby that finds no WAL beyond what it has, and takes no connections.
        std::fs::write(cluster.data().join("standby.signal"), "")?;
        let started = cluster.try_start(&["--hot_standby=off"], BOUND).await?;
        ensure!(matches!(started, Started::Closed(_)), "{started:?}");
        let mut heartbeat = Heartbeat::new(cluster.target(), "test");
        let silence = heartbeat.ask(soon()).await;
        ensure!(silence == Err(Silence::Starting), "{silence:?}");
        Ok(())
    })
}

fn dropped() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let _running = cluster.start().await?;
        let mut session = Session::open(&cluster.target(), "test", "", soon())
            .await
            .map_err(failed)?;
        // Longer than this program can be kept from looking at its clock.
        let sleeps = session.rows("SELECT pg_sleep(3), 1", soon());
        let given_up = tokio::time::timeout(Duration::from_millis(50), sleeps).await;
        ensure!(given_up.is_err(), "{given_up:?}");
        let rows = session.rows("SELECT 2", soon()).await.map_err(failed)?;
        ensure!(rows == [[Some("2".to_owned())]], "{rows:?}");
        Ok(())
    })
}

fn soon() -> trunkline_core::Moment {
    clock::now().after(BOUND)
}

fn failed(silence: impl std::fmt::Debug) -> anyhow::Error {
    anyhow::anyhow!("{silence:?}")
}
