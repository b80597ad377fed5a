//! A PostgreSQL that does not fit its data directory, and a data directory that PostgreSQL does not take: each is told in
//! a sentence that says what to do, tried again without filling the log, and mended by mending what is wrong.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use trunkline_support::parts::Parts;
use trunkline_support::patroni::Node;
use trunkline_support::stand::Stand;
use trunkline_support::wait::until;

use crate::agents::{change_file, on_our_cluster};
use crate::shared::STEADY;

/// A replica that is stopped, and what is done to it.
struct Victim<'s> {
    node: &'s mut Node,
    parts: Parts,
    data: PathBuf,
    /// What was in patroni.yml.
    right: Vec<u8>,
}

impl<'s> Victim<'s> {
    async fn of(stand: &'s mut Stand) -> Result<Self> {
        let name = stand.patroni.candidate().await?;
        let parts = stand.parts.clone();
        let node = stand.patroni.node_mut(&name)?;
        node.stop(STEADY).await?;
        Ok(Self {
            data: node.postmaster_file().with_file_name(""),
            right: fs::read(node.config_file())?,
            parts,
            node,
        })
    }

    /// Starts the agent; it says these words as an error, goes on without it, and does not repeat itself all the time.
    async fn says(&mut self, words: &str) -> Result<()> {
        let before = self.node_log().len();
        self.node.start()?;
        let said = until(words, STEADY, async || {
            let log = self.node.log()?;
            let said = log.get(before..).unwrap_or_default();
            let mut lines = said.lines().filter_map(|line| line.get(24..));
            let found = lines.any(|line| {
                let loud = ["ERROR: ", "WARNING: ", "INFO: "];
                loud.iter().any(|level| line.starts_with(level)) && line.contains(words)
            });
            ensure!(found, "{said}");
            Ok(())
        });
        said.await?;
        ensure!(self.node.is_running()?, "it ended");
        let status = self.node.status().await?;
        ensure!(status["role"] != "primary", "{status}");
        self.node.stop(STEADY).await?;
        let log = self.node_log();
        let said = log.get(before..).unwrap_or_default();
        ensure!(!said.contains("panicked"), "{said}");
        let times = said.lines().filter(|line| line.contains(words)).count();
        ensure!(times <= 20, "it was said {times} times: {said}");
        Ok(())
    }

    /// The log, of an agent that runs or has ended.
    fn node_log(&mut self) -> String {
        let log = self.node.config_file();
        let home = log.parent().unwrap_or(Path::new("/"));
        let file = home.with_extension("log");
        String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
    }

    fn bin_dir(&self, path: &Path) -> Result<()> {
        let path = json!(path);
        change_file(self.node, |config| config["postgresql"]["bin_dir"] = path)
    }
}

/// PostgreSQL's programs, but for `postgres`, which says this of itself.
fn programs(parts: &Parts, folder: &Path, version: &str) -> Result<()> {
    for program in fs::read_dir(&parts.postgresql_bin)? {
        let program = program?;
        if program.file_name() != "postgres" {
            symlink(program.path(), folder.join(program.file_name()))?;
        }
    }
    let other = folder.join("postgres");
    fs::write(&other, format!("#!/bin/sh\necho '{version}'\n"))?;
    fs::set_permissions(&other, PermissionsExt::from_mode(0o755))?;
    Ok(())
}

#[test]
fn programs_of_another_version_than_the_data_are_told_and_the_data_is_left_alone() -> Result<()> {
    on_our_cluster(async |stand, _| {
        let folder = stand.workdir.path().to_owned();
        let mut victim = Victim::of(stand).await?;
        let file = victim.data.join("PG_VERSION");
        let version = fs::read(&file)?;
        let control = fs::read(victim.data.join("global/pg_control"))?;
        for (written, words) in [
            ("13\n", "is of PostgreSQL 13, "),
            (
                "9.6\n",
                "this is not the data directory of a supported version",
            ),
            (
                "\u{0}rubbish",
                "this is not the data directory of a supported version",
            ),
            ("", "this is not the data directory of a supported version"),
        ] {
            fs::write(&file, written)?;
            victim
                .says(words)
                .await
                .with_context(|| format!("{written:?}"))?;
        }
        fs::write(&file, version)?;

        for (name, said, words) in [
            (
                "other",
                "postgres (PostgreSQL) 16.4",
                "of 16; postgresql.bin_dir must be that of ",
            ),
            (
                "old",
                "postgres (PostgreSQL) 9.2.1",
                "postgresql.bin_dir must be the directory of a supported version",
            ),
            (
                "none",
                "hello",
                "postgresql.bin_dir must be the directory of a supported version",
            ),
        ] {
            let bin = folder.join(format!("bin-{name}"));
            if !bin.exists() {
                fs::create_dir(&bin)?;
                programs(&victim.parts, &bin, said)?;
            }
            victim.bin_dir(&bin)?;
            victim.says(words).await.context(name)?;
        }
        fs::write(victim.node.config_file(), &victim.right)?;
        let now = fs::read(victim.data.join("global/pg_control"))?;
        ensure!(now == control, "the data was touched");
        stand.patroni.wait_steady(STEADY).await?;
        Ok(())
    })
}

#[test]
fn a_data_directory_that_postgresql_does_not_take_is_told_and_taken_once_it_is_mended() -> Result<()>
{
    on_our_cluster(async |stand, _| {
        let mut victim = Victim::of(stand).await?;
        let data = victim.data.clone();
        let rights = fs::metadata(&data)?.permissions();

        fs::set_permissions(&data, PermissionsExt::from_mode(0o777))?;
        let words = "PostgreSQL ended while it was starting";
        victim.says(words).await.context("everybody may write")?;
        fs::set_permissions(&data, rights)?;

        if let Some(owner) = victim.parts.account.clone() {
            chown(&data, Some(0), Some(0))?;
            fs::set_permissions(&data, PermissionsExt::from_mode(0o755))?;
            victim.says(words).await.context("another's")?;
            chown(&data, Some(owner.uid), Some(owner.gid))?;
            fs::set_permissions(&data, PermissionsExt::from_mode(0o700))?;
        }

        let (file, aside) = (data.join("postgresql.conf"), data.join("aside"));
        fs::rename(&file, &aside)?;
        fs::create_dir(&file)?;
        victim
            .says("postgresql.conf: ")
            .await
            .context("a directory")?;
        fs::remove_dir(&file)?;
        fs::rename(&aside, &file)?;

        // Nothing of all that may have made a copy of the data, or thrown it away.
        ensure!(data.join("global/pg_control").exists(), "the data is gone");
        stand.patroni.wait_steady(STEADY).await?;
        Ok(())
    })
}
