//! A PostgreSQL for one test: its directory, its arguments, its end.

#![expect(
    clippy::expect_used,
    reason = "a test's own configuration that is none fails the test"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio_util::sync::CancellationToken;
use trunkline_agent::postgres::launch::{HELP, Launcher};
use trunkline_agent::postgres::postmaster::{self, Found, Running};
use trunkline_agent::postgres::program::Patience;
use trunkline_agent::postgres::query::{Place, Target};
use trunkline_agent::postgres::start::{self, Start, Started};
use trunkline_agent::postgres::stop;
use trunkline_core::config::agent::{Agent, Credentials, Settings, understand};
use trunkline_core::config::layers::Layer;
use trunkline_io::yaml;
use trunkline_support::ports::Loopback;

/// What nothing here takes as long as.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// A data directory and whoever runs on it, gone with this value.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    network: Loopback,
}

impl Cluster {
    /// A directory for a cluster, with nothing in it.
    pub(crate) fn empty() -> Result<Self> {
        Ok(Self {
            folder: tempfile::Builder::new()
                .prefix("trunkline-postgres-")
                .tempdir_in("/var/tmp")?,
            network: Loopback::lease()?,
        })
    }

    /// A cluster that initdb has made.
    pub(crate) fn made() -> Result<Self> {
        let cluster = Self::empty()?;
        let made = Command::new(cluster.program("initdb"))
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--pgdata",
            ])
            .arg(cluster.data())
            .output()
            .context("starting initdb")?;
        ensure!(made.status.success(), "initdb: {made:?}");
        Ok(cluster)
    }

    /// A folder for whatever else a test needs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of PostgreSQL's programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        bin().join(name)
    }

    /// The address it listens on.
    pub(crate) fn host(&self) -> String {
        self.network.host(1).to_string()
    }

    /// The port it listens on.
    pub(crate) const fn port(&self) -> u16 {
        5432
    }

    /// The configuration of an agent for it.
    pub(crate) fn agent(&self) -> Agent {
        let text = format!(
            "{{scope: demo, name: pg-1, etcd3: {{hosts: 127.0.0.1}}, restapi: {{listen: '{host}:8008'}},
               postgresql: {{listen: '{host}:{port}', data_dir: '{data}', pgpass: '{folder}/pgpass', bin_dir: '{bin}'}}}}",
            host = self.host(),
            port = self.port(),
            data = self.data().display(),
            folder = self.folder().display(),
            bin = bin().display(),
        );
        let (tree, problems) = yaml::parse("patroni.yml", &text).expect("it is YAML");
        let file = "patroni.yml".to_owned();
        let read = |_: &str| None;
        let passwords = [
            ("PATRONI_SUPERUSER_USERNAME", "postgres"),
            ("PATRONI_SUPERUSER_PASSWORD", "s3cret '\\ super"),
            ("PATRONI_REPLICATION_USERNAME", "replicator"),
            ("PATRONI_REPLICATION_PASSWORD", "s3cret '\\ copy"),
            ("PATRONI_REWIND_USERNAME", "rewinder"),
            ("PATRONI_REWIND_PASSWORD", "s3cret '\\ rewind"),
        ];
        let environment = passwords.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (agent, _) = understand(
            &[Layer { file, tree }],
            &environment.into(),
            &read,
            problems,
        )
        .expect("it is a configuration");
        agent
    }

    /// Where a user asks it.
    pub(crate) fn target_of(&self, user: &Credentials) -> Target {
        Target::local_as(&self.agent(), &Settings::default(), user)
    }

    /// A shell script to be run by its path.
    pub(crate) fn script(&self, name: &str, text: &str) -> Result<String> {
        let path = self.folder().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n"))?;
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Where its superuser asks it.
    pub(crate) fn target(&self) -> Target {
        Target {
            place: Place::Host(self.host()),
            port: self.port(),
            user: Some("postgres".to_owned()),
            password: None,
            database: "postgres".to_owned(),
            options: BTreeMap::new(),
        }
    }

    /// The postmaster's arguments.
    pub(crate) fn arguments(&self, more: &[&str]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["-D".into(), self.data().into()];
        let settings = [
            format!("--listen_addresses={}", self.host()),
            format!("--port={}", self.port()),
            format!("--unix_socket_directories={}", self.folder().display()),
            "--fsync=off".to_owned(),
            "--shared_buffers=16MB".to_owned(),
            "--wal_log_hints=on".to_owned(),
        ];
        arguments.extend(settings.map(OsString::from));
        arguments.extend(more.iter().map(OsString::from));
        arguments
    }

    /// Starts it and waits until it takes connections.
    pub(crate) async fn start(&self) -> Result<Running> {
        self.start_with(&[]).await
    }

    /// The same with more arguments.
    pub(crate) async fn start_with(&self, more: &[&str]) -> Result<Running> {
        let started = self.try_start(more, BOUND).await?;
        let Started::Ready(running) = started else {
            bail!("it is not ready: {started:?}");
        };
        Ok(running)
    }

    /// Starts it, however far it comes within `time`.
    pub(crate) async fn try_start(&self, more: &[&str], time: Duration) -> Result<Started> {
        let (postgres, arguments) = (self.program("postgres"), self.arguments(more));
        let what = Start {
            data: &self.data(),
            postgres: &postgres,
            arguments: &arguments,
            sockets: &[self.folder().join(format!(".s.PGSQL.{}.lock", self.port()))],
        };
        Ok(start::start(&launcher()?, what, &patience(time)).await?)
    }

    /// Its postmaster, as the lock file tells of it.
    pub(crate) fn postmaster(&self) -> Result<Option<Running>> {
        match postmaster::find(&self.data())? {
            Found::Postmaster(running) => Ok(Some(running)),
            Found::Nobody | Found::Stranger(_) => Ok(None),
            Found::SingleUser(pid) => bail!("{pid} is a single-user backend"),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.data();
        // The test's own runtime may still be this thread's. It has its result by now; what is left running fails
        // the next test that looks for it, and no other.
        let end = std::thread::spawn(move || {
            on_runtime(async move {
                if let Ok(Found::Postmaster(running)) = postmaster::find(&data) {
                    stop::kill(&running).await?;
                }
                start::end_orphans(std::ffi::OsStr::new("postgres"), &data).await?;
                Ok(())
            })
        });
        let _ = end.join();
    }
}

/// Where the newest PostgreSQL's programs are.
pub(crate) fn bin() -> PathBuf {
    let versions =
        [18, 17, 16, 15, 14, 13].map(|version| format!("/usr/lib/postgresql/{version}/bin"));
    let found = versions
        .into_iter()
        .map(PathBuf::from)
        .find(|bin| bin.join("postgres").is_file());
    found.unwrap_or_else(|| "/usr/bin".into())
}

/// This test program, told to help.
pub(crate) fn launcher() -> Result<Launcher> {
    Ok(Launcher {
        program: std::env::current_exe()?,
        arguments: vec![HELP.into()],
    })
}

/// Patience for so long.
pub(crate) fn patience(time: Duration) -> Patience {
    Patience::of(&CancellationToken::new(), time)
}

/// Runs a test's body on a runtime of its own.
pub(crate) fn on_runtime<T>(body: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(body)
}

/// Runs psql on it, as a person would; what it answered.
pub(crate) async fn psql(cluster: &Cluster, statement: &str) -> Result<String> {
    let mut command = tokio::process::Command::new(cluster.program("psql"));
    command.args([
        "-X",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-U",
        "postgres",
        "-h",
        &cluster.host(),
    ]);
    command
        .args(["-c", statement, "postgres"])
        .kill_on_drop(true);
    let answer = tokio::time::timeout(BOUND, command.output()).await??;
    ensure!(answer.status.success(), "{statement}: {answer:?}");
    Ok(String::from_utf8(answer.stdout)?.trim().to_owned())
}
