//! The configuration of one PostgreSQL, on its disk: everything that has to be there before it starts or reloads, as
//! Patroni leaves it, so that a node can go from one to the other (contract 4.1).
//!
//! What the files say is made in core; when they are written is decided elsewhere.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trunkline_core::config::agent::{Agent, Credentials, Settings};
use trunkline_core::ha::action::Mode;
use trunkline_core::postgres::files;
use trunkline_core::postgres::parameters::{self, Parameters, Raised};
use trunkline_core::postgres::restored::{Restored, Signal};
use trunkline_core::postgres::{ControlData, MajorVersion, Upstream, recovery};

use super::binaries::Binaries;
use super::directory;
use super::disk::{self, Changed, FilesError, Rights};
use super::trial::{self, Trial};

mod plan;
use plan::{Plan, adopt, put};

/// Where PostgreSQL puts its sockets unless it is told otherwise: Debian's, and its own.
const DEFAULT_SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// The files of this node's PostgreSQL.
#[derive(Clone, Debug)]
pub struct Files {
    agent: Arc<Agent>,
}

/// What was written.
#[derive(Clone, Debug)]
#[must_use]
pub struct Written {
    /// Whether any file that a running server reads again is another one than before.
    pub changed: Changed,
    /// The parameters as the file now has them: what the server's own are compared with.
    pub parameters: Parameters,
    /// What a standby needs more of than is configured.
    pub raised: Vec<Raised>,
    /// What was left out or changed, and why.
    pub warnings: Vec<String>,
}

impl Files {
    /// The files that this configuration names.
    #[must_use]
    pub const fn new(agent: Arc<Agent>) -> Self {
        Self { agent }
    }

    /// `postgresql.conf`.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        directory::configuration(&self.agent)
    }

    /// `pg_hba.conf`, where the parameters name no other one.
    #[must_use]
    pub fn hba(&self) -> PathBuf {
        self.agent.config_dir.join("pg_hba.conf")
    }

    /// `pg_ident.conf`, where the parameters name no other one.
    #[must_use]
    pub fn ident(&self) -> PathBuf {
        self.agent.config_dir.join("pg_ident.conf")
    }

    /// Writes everything that PostgreSQL reads when it starts or reloads in this mode: the signal files, the password file,
    /// `postgresql.conf`, `pg_hba.conf`, `pg_ident.conf`. What is there already is left alone. PostgreSQL itself is asked first what
    /// it thinks of the parameters, and those it would not start with are left out, with a warning.
    ///
    /// `control`: the control file of a server that is to start as a standby; what its primary had more of is raised.
    ///
    /// # Errors
    ///
    /// If a file cannot be written, or PostgreSQL would refuse the configuration for another reason than a parameter. The old
    /// configuration is still in place then.
    pub async fn write_for(
        &self,
        settings: &Settings,
        mode: &Mode,
        version: MajorVersion,
        control: Option<&ControlData>,
    ) -> Result<Written, FilesError> {
        let (parameters, warnings) = parameters::to_write(settings);
        let plan = self.plan(settings, mode, version);
        self.carry_out(plan, parameters, warnings, control).await
    }

    /// The same for the first start of what the operator's own method has made (contract H.3): it recovers as the method
    /// says, and lets nobody in but the agent. `own` are the addresses at which the agent connects to it.
    ///
    /// # Errors
    ///
    /// As [`Self::write_for`].
    pub async fn write_restored(
        &self,
        settings: &Settings,
        restored: &Restored,
        own: &[IpAddr],
        version: MajorVersion,
        control: Option<&ControlData>,
    ) -> Result<Written, FilesError> {
        let (mut parameters, warnings) = parameters::to_write(settings);
        // Another file would let in others, and the agent not.
        parameters.remove("hba_file");
        let (superuser, replication) = (&self.agent.superuser, &self.agent.replication);
        let hba = files::bootstrap_hba(
            superuser.username.as_deref(),
            replication.username.as_deref(),
            own,
        );
        let plan = Plan {
            hba: Some(hba),
            signal: restored.signal,
            recovery: restored.recovery.clone(),
            keeps_auto: restored.keeps_auto,
            ..self.plan(settings, &Mode::Primary, version)
        };
        self.carry_out(plan, parameters, warnings, control).await
    }

    fn plan(&self, settings: &Settings, mode: &Mode, version: MajorVersion) -> Plan {
        let upstream = upstream_of(mode).cloned();
        let text = |lines: &Option<Vec<String>>| lines.as_deref().map(files::lines);
        Plan {
            agent: Arc::clone(&self.agent),
            include: self.include(settings),
            has_own_base: settings.custom_conf.is_none(),
            hba: text(&settings.pg_hba),
            ident: text(&settings.pg_ident),
            signal: match mode {
                Mode::Primary => Signal::None,
                Mode::Standby(_) => Signal::Standby,
            },
            recovery: recovery::section(&self.agent, settings, upstream.as_ref(), version),
            upstream,
            keeps_auto: false,
        }
    }

    async fn carry_out(
        &self,
        plan: Plan,
        mut parameters: Parameters,
        mut warnings: Vec<String>,
        control: Option<&ControlData>,
    ) -> Result<Written, FilesError> {
        let mut started_with = parameters.clone();
        let raised = match control {
            Some(control) => parameters::raise(&mut started_with, control),
            None => Vec::new(),
        };
        let plan = in_background(move || plan.prepare().map(|()| plan)).await?;
        for (name, words) in self.leave_out(&plan, &mut started_with).await? {
            parameters.remove(&name);
            warnings.push(format!("postgresql.parameters.{name} is left out: {words}"));
        }
        let changed = in_background(move || plan.install(&started_with)).await?;
        Ok(Written {
            changed,
            parameters,
            raised,
            warnings,
        })
    }

    /// The arguments of the postmaster, in Patroni's order. `control`: as in [`Self::write_for`].
    #[must_use]
    pub fn command_line(
        &self,
        settings: &Settings,
        control: Option<&ControlData>,
    ) -> Vec<OsString> {
        let (mut parameters, _) = parameters::to_write(settings);
        if let Some(control) = control {
            parameters::raise(&mut parameters, control);
        }
        parameters::command_line(&self.agent.data_dir, &self.configuration(), &parameters)
    }

    /// The parameters that the file on disk sets now; none if there is no file of ours.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn parameters(&self) -> Result<Parameters, FilesError> {
        let text = disk::read_text(&self.configuration())?.filter(|text| files::is_ours(text));
        Ok(text
            .map(|text| files::parameters(&text))
            .unwrap_or_default())
    }

    /// Creates the directories that a start needs: those of the sockets, of the password file, of the statistics.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub fn make_directories(&self, settings: &Settings) -> Result<(), FilesError> {
        let statistics = settings.parameters.get("stats_temp_directory");
        let statistics = statistics.filter(|word| !word.is_empty());
        let named = self
            .socket_directories(settings)
            .into_iter()
            .chain(statistics.map(|word| self.agent.data_dir.join(word)));
        for directory in named.chain(self.agent.pgpass.parent().map(Path::to_owned)) {
            std::fs::create_dir_all(&directory)
                .map_err(|error| FilesError::system("creating", &directory, error))?;
        }
        Ok(())
    }

    /// The locks of PostgreSQL's sockets, where they are while it runs.
    #[must_use]
    pub fn socket_locks(&self, settings: &Settings) -> Vec<PathBuf> {
        let named = self.socket_directories(settings);
        let usual = || DEFAULT_SOCKETS.map(PathBuf::from).to_vec();
        let directories = if named.is_empty() { usual() } else { named };
        let lock = format!(".s.PGSQL.{}.lock", self.agent.port);
        directories.iter().map(|it| it.join(&lock)).collect()
    }

    /// Where the configuration has PostgreSQL put its sockets.
    fn socket_directories(&self, settings: &Settings) -> Vec<PathBuf> {
        let list = settings.parameters.get("unix_socket_directories");
        list.into_iter()
            .flat_map(|list| list.split(','))
            .map(|word| word.trim().trim_matches('"'))
            // An `@` begins a name that is in no file system.
            .filter(|word| !word.is_empty() && !word.starts_with('@'))
            .map(|word| self.agent.data_dir.join(word))
            .collect()
    }

    /// Writes the password file for a program that logs in on `hosts` as this user; `None` if there is no password, and no
    /// file is needed. It holds nothing else then: a standby's own line comes back with [`Self::write_for`].
    ///
    /// # Errors
    ///
    /// As the system says.
    pub fn write_pgpass(
        &self,
        user: &Credentials,
        hosts: &[&str],
        port: u16,
    ) -> Result<Option<PathBuf>, FilesError> {
        Ok(write_pgpass(&self.agent, user, hosts, port)?.map(|_| self.agent.pgpass.clone()))
    }

    /// Appends lines to the `pg_hba.conf` that initdb wrote: `bootstrap.pg_hba`.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub fn append_hba(&self, lines: &[String]) -> Result<Changed, FilesError> {
        adopt(&self.agent, &self.hba())?;
        let mut text = disk::read_text(&self.hba())?.unwrap_or_default();
        for line in lines {
            text.push_str(line.trim_end_matches(['\r', '\n']));
            text.push('\n');
        }
        put(&self.agent, &self.hba(), &text)
    }

    /// Takes the `pg_hba.conf` of a custom bootstrap away, so that the one that was there before can be put back.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub fn remove_hba(&self) -> Result<(), FilesError> {
        disk::remove(&self.hba()).map(drop)
    }

    /// The file that ours includes first.
    fn include(&self, settings: &Settings) -> String {
        match &settings.custom_conf {
            Some(custom) => custom.to_string_lossy().into_owned(),
            None => format!("{}.base.conf", self.agent.config_base_name),
        }
    }

    /// Takes out of `parameters` what PostgreSQL would not start with; which, and its words about each.
    async fn leave_out(
        &self,
        plan: &Plan,
        parameters: &mut Parameters,
    ) -> Result<BTreeMap<String, String>, FilesError> {
        let mut left_out = BTreeMap::new();
        let path = self.configuration();
        loop {
            let text = plan.text(parameters);
            // What is in place was asked about before it was put there.
            if disk::read(&path)?.as_deref() == Some(text.as_bytes()) {
                return Ok(left_out);
            }
            match self.ask_about(&path, &text, parameters).await? {
                Trial::Accepted => return Ok(left_out),
                // Each time there is one less at least.
                Trial::Refused(refused) => {
                    for (name, words) in refused {
                        parameters.remove(&name);
                        left_out.insert(name, words);
                    }
                }
                Trial::Hopeless(words) => {
                    return Err(FilesError::content(
                        &path,
                        format!(
                            "PostgreSQL would not start with what is to be written there: {words}"
                        ),
                        "correct the file it names",
                    ));
                }
            }
        }
    }

    /// Asks PostgreSQL about a text before it is in place, from beside the place: what it includes is found from there.
    async fn ask_about(
        &self,
        path: &Path,
        text: &str,
        parameters: &Parameters,
    ) -> Result<Trial, FilesError> {
        let candidate = disk::beside(path, "trial");
        let (written, rights) = (
            candidate.clone(),
            Rights::beside(&self.agent.data_dir, path),
        );
        let text = text.to_owned();
        let _ = in_background(move || disk::put(&written, text.as_bytes(), rights)).await?;
        let binaries = Binaries::of(&self.agent);
        let trial = trial::of(&binaries, &self.agent.data_dir, &candidate, parameters).await;
        let _ = disk::remove(&candidate);
        Ok(trial?)
    }
}

const fn upstream_of(mode: &Mode) -> Option<&Upstream> {
    match mode {
        Mode::Primary => None,
        Mode::Standby(upstream) => upstream.as_ref(),
    }
}

/// Writes the password file; `None` if this user has no password.
fn write_pgpass(
    agent: &Agent,
    user: &Credentials,
    hosts: &[&str],
    port: u16,
) -> Result<Option<Changed>, FilesError> {
    let Some(password) = &user.password else {
        return Ok(None);
    };
    // libpq's default is the user of the system, whom a password file cannot name: any user then.
    let name = user.username.as_deref().unwrap_or("*");
    let text = files::pgpass(hosts, port, name, password.reveal()).map_err(|words| {
        FilesError::content(
            &agent.pgpass,
            words,
            "choose another password for this user",
        )
    })?;
    disk::put(&agent.pgpass, text.as_bytes(), Rights::Exactly(0o600)).map(Some)
}

/// Does what waits for a disk on a thread that may wait.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> Result<T, FilesError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(FilesError::content(
            Path::new("postgresql.conf"),
            format!("writing it did not end: {error}"),
            "the agent is ending",
        )),
    }
}
