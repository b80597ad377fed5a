//! Making data directories: a new cluster, a copy, and what a killed agent leaves of either.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tokio_util::sync::CancellationToken;
use trunkline_agent::postgres::clone::{self, CloneError, Source};
use trunkline_agent::postgres::heartbeat::Heartbeat;
use trunkline_agent::postgres::program::Patience;
use trunkline_agent::postgres::query::Session;
use trunkline_agent::postgres::unfinished::{self, UnfinishedError};
use trunkline_agent::postgres::{bootstrap, processes, promote, roles, slots};
use trunkline_core::config::agent::{Credentials, ReplicaMethod};
use trunkline_core::slots::SlotChange;
use trunkline_core::{Lsn, Scope, Timeline};
use trunkline_io::clock;
use trunkline_support::wait::until;

use super::Test;
use super::cluster::{BOUND, Cluster, on_runtime, patience, psql};

/// The tests of this file.
pub(crate) const TESTS: &[Test] = &[
    (
        "a_new_cluster_has_its_roles_and_no_password_in_its_log",
        new_cluster,
    ),
    (
        "a_failed_initdb_says_why_and_leaves_what_may_be_wiped",
        failed_initdb,
    ),
    ("a_copy_streams_and_can_be_promoted", copy_and_promote),
    ("a_directory_that_is_not_ours_is_not_touched", not_ours),
    ("what_a_killed_agent_left_half_made_is_made_anew", half_made),
    (
        "a_copy_that_is_given_up_leaves_no_program_and_may_be_wiped",
        given_up,
    ),
    (
        "the_operators_method_is_told_where_and_from_whom",
        custom_method,
    ),
    (
        "slots_are_created_advanced_and_dropped_and_never_twice",
        changes_slots,
    ),
];

fn new_cluster() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::empty()?;
        let agent = cluster.agent();
        let options = ["--no-sync".to_owned(), "--auth=scram-sha-256".to_owned()];
        let initdb = cluster.program("initdb");
        let (data, patience) = (cluster.data(), patience(BOUND));
        bootstrap::initdb(&initdb, &data, &options, &agent.superuser, &patience).await?;
        ensure!(
            unfinished::is_unfinished(&data),
            "an agent killed now could not go on"
        );
        let logs = [
            "--logging_collector=on",
            "--log_statement=all",
            "--log_min_duration_statement=0",
        ];
        let running = cluster.start_with(&logs).await?;
        ensure!(
            !unfinished::is_unfinished(&data),
            "PostgreSQL was started: it must not be wiped"
        );
        unfinished::finish(&data)?;
        let target = cluster.target_of(&agent.superuser);
        let soon = clock::now().after(BOUND);
        for _again_changes_nothing in 0..2 {
            roles::superuser(&target, &agent, soon)
                .await
                .map_err(text)?;
            roles::others(&target, &agent, soon).await.map_err(text)?;
        }
        let script = cluster.script("post_init", r#"echo "$1" > "$(dirname "$0")/conninfo""#)?;
        bootstrap::post_init(&script, "dbname=postgres user=x", None, &patience).await?;
        let told = fs::read_to_string(cluster.folder().join("conninfo"))?;
        ensure!(told == "dbname=postgres user=x\n", "{told}");
        let rewind = cluster.target_of(agent.rewind.as_ref().context("no rewind user")?);
        let mut session = Session::open(&rewind, "t", "", soon).await.map_err(text)?;
        session
            .run("SELECT pg_read_binary_file('PG_VERSION')", soon)
            .await
            .map_err(text)?;
        let replicates = "SELECT rolreplication FROM pg_roles WHERE rolname = 'replicator'";
        let rows = session.rows(replicates, soon).await.map_err(text)?;
        ensure!(rows == [[Some("t".to_owned())]], "{rows:?}");
        running.signal(rustix::process::Signal::INT)?;
        running.gone().await;
        let mut log = String::new();
        for file in fs::read_dir(data.join("log"))? {
            log.push_str(&fs::read_to_string(file?.path())?);
        }
        ensure!(
            log.contains("statement: SELECT"),
            "the log has no statements: {log}"
        );
        ensure!(!log.contains("s3cret"), "{log}");
        Ok(())
    })
}

fn failed_initdb() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::empty()?;
        let options = ["--encoding=KLINGON".to_owned()];
        let (initdb, superuser) = (cluster.program("initdb"), Credentials::default());
        let (data, patience) = (cluster.data(), patience(BOUND));
        let made = bootstrap::initdb(&initdb, &data, &options, &superuser, &patience).await;
        let words = made.err().context("it was made")?.to_string();
        ensure!(words.contains("initdb failed (exit code 1)"), "{words}");
        ensure!(words.contains("KLINGON"), "{words}");
        unfinished::clear(&cluster.data()).await?;
        Ok(())
    })
}

fn copy_and_promote() -> Result<()> {
    on_runtime(async {
        let primary = Cluster::made()?;
        let _primary = primary.start().await?;
        psql(&primary, "CREATE TABLE t AS SELECT 1 AS a").await?;
        let standby = Cluster::empty()?;
        clone_of(&primary, &standby).copy(&patience(BOUND)).await?;
        ensure!(!unfinished::is_unfinished(&standby.data()), "it is whole");
        fs::write(standby.data().join("standby.signal"), "")?;
        let follows = format!(
            "--primary_conninfo={} application_name=pg-2",
            conninfo(&primary)
        );
        let _standby = standby.start_with(&[&follows]).await?;
        let mut heartbeat = Heartbeat::new(standby.target(), "Patroni heartbeat");
        let says = until("it streams", BOUND, async || {
            let says = heartbeat
                .ask(clock::now().after(BOUND))
                .await
                .map_err(text)?;
            ensure!(
                says.receiver
                    .as_ref()
                    .is_some_and(|one| one.status == "streaming"),
                "{says:?}"
            );
            ensure!(says.timeline.is_some(), "{says:?}");
            Ok(says)
        })
        .await?;
        ensure!(
            says.in_recovery && says.timeline == Some(Timeline(1)),
            "{says:?}"
        );
        ensure!(
            says.received >= says.replayed && says.flushed.is_none(),
            "{says:?}"
        );
        let mut on_primary = Heartbeat::new(primary.target(), "test");
        let sees = on_primary
            .ask(clock::now().after(BOUND))
            .await
            .map_err(text)?;
        ensure!(
            sees.standbys.len() == 1 && sees.standbys[0].application == "pg-2",
            "{sees:?}"
        );
        ensure!(sees.standbys[0].state == "streaming", "{sees:?}");
        let began = clock::now();
        let pg_ctl = standby.program("pg_ctl");
        promote::promote(&pg_ctl, &standby.data(), &mut heartbeat, &patience(BOUND)).await?;
        tracing::info!("promoted within {:?}", clock::now().since(began));
        psql(&standby, "INSERT INTO t VALUES (2)").await?;
        let says = heartbeat
            .ask(clock::now().after(BOUND))
            .await
            .map_err(text)?;
        ensure!(
            !says.in_recovery && says.timeline == Some(Timeline(2)),
            "{says:?}"
        );
        ensure!(says.checkpoint_timeline.is_some(), "{says:?}");
        Ok(())
    })
}

fn not_ours() -> Result<()> {
    on_runtime(async {
        let (primary, standby) = (Cluster::made()?, Cluster::empty()?);
        fs::create_dir(standby.data())?;
        fs::write(standby.data().join("precious"), "x")?;
        let refused = clone_of(&primary, &standby).copy(&patience(BOUND)).await;
        let cause = match refused {
            Err(CloneError::Method { cause, .. }) => cause,
            Ok(()) | Err(CloneError::Cancelled | CloneError::NoMethod) => bail!("{refused:?}"),
        };
        ensure!(matches!(cause, UnfinishedError::NotOurs(_)), "{cause:?}");
        // Once PostgreSQL was started in it, the mark means nothing any more.
        mark(&standby.data(), "0 0")?;
        fs::write(standby.data().join("postmaster.opts"), "")?;
        let cleared = unfinished::clear(&standby.data()).await;
        ensure!(
            matches!(cleared, Err(UnfinishedError::NotOurs(_))),
            "{cleared:?}"
        );
        // Nor does one that came with a copy of a directory.
        fs::remove_file(standby.data().join("postmaster.opts"))?;
        fs::copy(standby.data().join(MARK), standby.data().join("copy"))?;
        fs::rename(standby.data().join("copy"), standby.data().join(MARK))?;
        let cleared = unfinished::clear(&standby.data()).await;
        ensure!(
            matches!(cleared, Err(UnfinishedError::NotOurs(_))),
            "{cleared:?}"
        );
        let (initdb, data, superuser) = (
            primary.program("initdb"),
            standby.data(),
            Credentials::default(),
        );
        let made = bootstrap::initdb(&initdb, &data, &[], &superuser, &patience(BOUND)).await;
        ensure!(made.is_err(), "initdb into a directory that is not empty");
        ensure!(fs::read_to_string(standby.data().join("precious"))? == "x");
        Ok(())
    })
}

const MARK: &str = ".trunkline-unfinished";

/// A mark as an agent leaves it: a process, and the mark's own inode.
fn mark(data: &Path, process: &str) -> Result<()> {
    let path = data.join(MARK);
    fs::write(&path, "")?;
    let inode = fs::metadata(&path)?.ino();
    Ok(fs::write(&path, format!("{process} {inode}\n"))?)
}

fn half_made() -> Result<()> {
    on_runtime(async {
        let (primary, standby) = (Cluster::made()?, Cluster::empty()?);
        let _primary = primary.start().await?;
        // A program that an agent killed since had started: it is still at work.
        let mut at_work = std::process::Command::new("sleep");
        std::os::unix::process::CommandExt::process_group(&mut at_work, 0);
        let at_work = at_work.arg("300").spawn()?;
        let started = processes::process(at_work.id())
            .context("it does not run")?
            .started;
        fs::create_dir(standby.data())?;
        fs::set_permissions(standby.data(), PermissionsExt::from_mode(0o700))?;
        fs::write(standby.data().join("PG_VERSION"), "15\n")?;
        mark(&standby.data(), &format!("{} {started}", at_work.id()))?;
        clone_of(&primary, &standby).copy(&patience(BOUND)).await?;
        let left = processes::process(at_work.id());
        ensure!(
            left.is_none_or(|left| left.started != started),
            "it was not killed"
        );
        ensure!(standby.data().join("global/pg_control").exists());
        Ok(())
    })
}

fn given_up() -> Result<()> {
    on_runtime(async {
        let (primary, standby) = (Cluster::made()?, Cluster::empty()?);
        let _primary = primary.start().await?;
        let mut source = clone_of(&primary, &standby);
        // Slow enough to be caught in the middle.
        source.options = vec!["--max-rate=32k".to_owned()];
        let cancel = CancellationToken::new();
        let endless = Patience::endless(&cancel);
        let copy = source.copy(&endless);
        let data = standby.data();
        let give_up = async {
            until("it has begun", BOUND, async || {
                ensure!(unfinished::is_unfinished(&data));
                Ok(())
            })
            .await?;
            cancel.cancel();
            anyhow::Ok(())
        };
        let (copied, begun) = tokio::join!(copy, give_up);
        begun?;
        ensure!(matches!(copied, Err(CloneError::Cancelled)), "{copied:?}");
        let connected = "SELECT count(*) FROM pg_stat_replication";
        until("nobody copies", BOUND, async || {
            ensure!(psql(&primary, connected).await? == "0");
            Ok(())
        })
        .await?;
        unfinished::clear(&data).await?;
        Ok(())
    })
}

fn custom_method() -> Result<()> {
    on_runtime(async {
        let standby = Cluster::empty()?;
        let script = standby.script(
            "restore",
            r#"mkdir "$(dirname "$0")/data"; echo "$@" > "$(dirname "$0")/data/told""#,
        )?;
        let mut source = clone_of(&standby, &standby);
        let method = |command: &str| ReplicaMethod::Command {
            name: "archive".to_owned(),
            command: command.to_owned(),
            no_params: false,
            keep_data: false,
            no_leader: false,
            arguments: vec![("repo".to_owned(), "1".to_owned())],
        };
        // The first one fails; the next one is tried.
        source.methods = vec![method("false"), method(&format!("'{script}' --first"))];
        source.copy(&patience(BOUND)).await?;
        let told = fs::read_to_string(standby.data().join("told"))?;
        let data = standby.data();
        let wanted = format!(
            "--first --repo=1 --scope=demo --role=replica --datadir={} --connstring={}\n",
            data.display(),
            conninfo(&standby)
        );
        ensure!(told == wanted, "{told}");
        Ok(())
    })
}

fn changes_slots() -> Result<()> {
    on_runtime(async {
        let cluster = Cluster::made()?;
        let _running = cluster.start().await?;
        let target = cluster.target();
        let soon = clock::now().after(BOUND);
        let create = [
            SlotChange::Create("a".into()),
            SlotChange::Create("b".into()),
        ];
        slots::change(&target, &create, soon).await.map_err(text)?;
        slots::change(&target, &create, soon).await.map_err(text)?;
        let mut heartbeat = Heartbeat::new(target.clone(), "test");
        let before = heartbeat.ask(soon).await.map_err(text)?;
        let from = before.slots[0].restart.context("it reserves nothing")?;
        psql(
            &cluster,
            "CREATE TABLE t AS SELECT generate_series(1, 10000)",
        )
        .await?;
        let to = heartbeat
            .ask(soon)
            .await
            .map_err(text)?
            .flushed
            .context("no position")?;
        let back = Lsn(from.0 - 1);
        let changes = [
            SlotChange::Advance("a".into(), to),
            SlotChange::Advance("a".into(), back),
            SlotChange::Drop("b".into()),
            SlotChange::Drop("b".into()),
            SlotChange::Drop("never".into()),
        ];
        slots::change(&target, &changes, soon).await.map_err(text)?;
        let after = heartbeat.ask(soon).await.map_err(text)?;
        ensure!(
            after.slots.len() == 1 && after.slots[0].restart == Some(to),
            "{after:?}"
        );
        let failed = slots::change(&target, &[SlotChange::Create("No!".into())], soon).await;
        ensure!(failed.is_err());
        Ok(())
    })
}

/// What a copy is made of, for a test.
pub(crate) struct Copy {
    scope: Scope,
    data: PathBuf,
    program: PathBuf,
    options: Vec<String>,
    conninfo: String,
    methods: Vec<ReplicaMethod>,
}

impl Copy {
    pub(crate) async fn copy(&self, patience: &Patience) -> Result<(), CloneError> {
        let source = Source {
            scope: &self.scope,
            data: &self.data,
            pg_basebackup: &self.program,
            options: &self.options,
            conninfo: &self.conninfo,
            passfile: None,
        };
        clone::clone(source, &self.methods, patience).await
    }
}

pub(crate) fn clone_of(primary: &Cluster, standby: &Cluster) -> Copy {
    Copy {
        scope: "demo".into(),
        data: standby.data(),
        program: primary.program("pg_basebackup"),
        options: vec!["--checkpoint=fast".to_owned(), "--no-sync".to_owned()],
        conninfo: conninfo(primary),
        methods: vec![ReplicaMethod::BaseBackup],
    }
}

pub(crate) fn conninfo(cluster: &Cluster) -> String {
    format!(
        "user=postgres host={} port={}",
        cluster.host(),
        cluster.port()
    )
}

fn text(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}
