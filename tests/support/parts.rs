//! Where the programs are that the tests start, and who runs PostgreSQL.
//!
//! setup.sh installs them and is the one that knows where its venv is; what is missing is said in
//! one sentence that names the command to run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

const SETUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/setup.sh");
const POSTGRESQL: &str = "/usr/lib/postgresql";

/// The programs of a real cluster.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The etcd server.
    pub etcd: PathBuf,
    /// The newest PostgreSQL's folder of programs.
    pub postgresql_bin: PathBuf,
    /// The venv's Python, which has Patroni and psycopg.
    pub python: PathBuf,
    /// The user PostgreSQL runs as, where we are root and it will not be.
    pub account: Option<Account>,
}

impl Parts {
    /// Finds them all, or says in one sentence what is missing and what to run.
    pub fn find() -> Result<Self> {
        Self::look().context(
            "a part of the real cluster is missing; `make test` (or `make demo`) installs it",
        )
    }

    fn look() -> Result<Self> {
        Ok(Self {
            etcd: on_path("etcd")?,
            postgresql_bin: newest_postgresql()?,
            python: venv_python()?,
            account: Account::for_postgresql()?,
        })
    }

    /// One of PostgreSQL's programs.
    #[must_use]
    pub fn postgresql(&self, program: &str) -> PathBuf {
        self.postgresql_bin.join(program)
    }

    /// A command with nothing of our environment but what every program needs: no PGHOST, no
    /// PATRONI_…, no proxy settings of whoever runs the tests.
    #[must_use]
    pub fn command(&self, program: &Path, home: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env(
                "PATH",
                format!(
                    "{}:/usr/sbin:/usr/bin:/sbin:/bin",
                    self.postgresql_bin.display()
                ),
            )
            .env("HOME", home)
            .env("LC_ALL", "C.UTF-8")
            .current_dir(home);
        command
    }
}

/// A user of this machine.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its user id.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
}

impl Account {
    /// `postgres` for root, since PostgreSQL refuses to run as root; nobody else for others.
    fn for_postgresql() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users = std::fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
        let account = users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let (name, uid, gid) = (fields.first()?, fields.get(2)?, fields.get(3)?);
            (*name == "postgres").then_some(())?;
            Some(Self {
                name: (*name).to_owned(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
            })
        });
        Ok(Some(
            account.context("there is no user `postgres` in /etc/passwd")?,
        ))
    }
}

/// The full path of a program.
pub fn on_path(program: &str) -> Result<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/bin".into()])
        .map(|folder: PathBuf| folder.join(program))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("there is no program `{program}`"))
}

fn newest_postgresql() -> Result<PathBuf> {
    let folders = std::fs::read_dir(POSTGRESQL)
        .with_context(|| format!("there is no PostgreSQL server in {POSTGRESQL}"))?;
    let newest = folders
        .filter_map(|folder| {
            folder
                .ok()?
                .file_name()
                .into_string()
                .ok()?
                .parse::<u32>()
                .ok()
        })
        .filter(|version| Path::new(&format!("{POSTGRESQL}/{version}/bin/postgres")).is_file())
        .max();
    match newest {
        Some(version) => Ok(PathBuf::from(format!("{POSTGRESQL}/{version}/bin"))),
        None => bail!("there is no PostgreSQL server in {POSTGRESQL}/*/bin"),
    }
}

fn venv_python() -> Result<PathBuf> {
    let output = Command::new("sh")
        .args([SETUP, "--venv-path"])
        .output()
        .with_context(|| format!("asking {SETUP} where its venv is"))?;
    ensure!(
        output.status.success(),
        "{SETUP}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let venv = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    ensure!(
        venv.join("complete").is_file(),
        "there is no venv with Patroni in {}",
        venv.display()
    );
    Ok(venv.join("bin/python"))
}
