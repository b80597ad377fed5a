//! After a crash or a fork of the timelines: recovery, comparing, pg_rewind.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trunkline_core::config::agent::{Credentials, Settings};
use trunkline_core::ha::{JobOutcome, Stop};
use trunkline_core::postgres::conninfo::Conninfo;
use trunkline_core::postgres::{MajorVersion, Upstream, files};
use trunkline_core::rewind::{Here, Verdict};
use trunkline_io::clock;

use super::applying::failed;
use super::{Finished, Instance, Unfinished};
use crate::postgres::heartbeat::Heartbeat;
use crate::postgres::postmaster::Running;
use crate::postgres::program::Patience;
use crate::postgres::query::{self, Target};
use crate::postgres::remote::Remote;
use crate::postgres::rewind::{self, Restore, Rewind, RewindError};
use crate::postgres::secret::SecretFile;
use crate::postgres::{control, recover};

/// How long it may take to learn where another member is.
const COMPARISON: Duration = Duration::from_secs(15);
/// How long a question here may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl Instance {
    /// Whether pg_rewind is needed to follow this leader.
    pub(super) async fn check_rewind(
        &self,
        upstream: &Upstream,
        running: Option<Running>,
        cancel: &CancellationToken,
    ) -> Finished {
        let patience = Patience::of(cancel, COMPARISON);
        let version = self.version().await?;
        let rewinder = Access::of(self, self.rewinder(), upstream, version, "read-write")?;
        if rewinder.remote().is_in_recovery(&patience).await? {
            let words = format!(
                "{} is in recovery: no leader to compare with",
                upstream.host
            );
            return Err(Unfinished::Failed(words));
        }
        let replicator = Access::of(self, &self.agent.replication, upstream, version, "any")?;
        let leader = replicator.remote().identify(&patience).await?;
        let history = replicator
            .remote()
            .history(leader.timeline, &patience)
            .await?;
        let control = control::read(&self.binaries(), &self.agent.data_dir).await?;
        if control.system_id != leader.system_id {
            let words = format!(
                "{} has another database ({}) than this member ({}): it is not rewound to it",
                upstream.host, leader.system_id, control.system_id
            );
            return Err(Unfinished::Failed(words));
        }
        let here = match self.still_running(running)? {
            Some(_) => Some(self.here_running().await?),
            None => Here::of(&control),
        };
        let Some(here) = here else {
            tracing::info!("how far the log here goes cannot be told before it is recovered");
            return Ok(JobOutcome::RewindNeeded(false));
        };
        let verdict = here.compared(leader.timeline, history.as_ref());
        let (needed, why) = self.settle(here, verdict).await?;
        tracing::info!(
            "local timeline={} lsn={}, leader timeline={}: pg_rewind is{} needed, since {why}",
            here.timeline,
            here.position,
            leader.timeline,
            if needed { "" } else { " not" }
        );
        Ok(JobOutcome::RewindNeeded(needed))
    }

    /// What a verdict that hangs on the last record here comes to.
    async fn settle(
        &self,
        here: Here,
        verdict: Verdict,
    ) -> Result<(bool, &'static str), Unfinished> {
        let switch = match verdict {
            Verdict::Needed(why) => return Ok((true, why)),
            Verdict::NotNeeded(why) => return Ok((false, why)),
            Verdict::UnlessShutDownAt(switch) => switch,
        };
        let pg_waldump = self.binaries().path("pg_waldump");
        let data = &self.agent.data_dir;
        let end = rewind::end_of_shutdown(&pg_waldump, data, here.timeline, here.position).await?;
        Ok(if end == Some(switch) {
            (
                false,
                "the leader's timeline begins where the shutdown here ended",
            )
        } else {
            (
                true,
                "the leader's timeline does not begin where the shutdown here ended",
            )
        })
    }

    /// How far a running standby is.
    async fn here_running(&self) -> Result<Here, Unfinished> {
        let settings = self.settings();
        let by = clock::now().after(PATIENCE);
        let mut heartbeat = Heartbeat::new(self.target(&settings), "Patroni heartbeat");
        let says = heartbeat.ask(by).await;
        let says = says.map_err(failed("asking PostgreSQL how far it is"))?;
        let replicating = Target::local_replication(&self.agent, &settings);
        let identified = query::identify(&replicating, by).await;
        let identified = identified.map_err(failed("asking PostgreSQL for its timeline"))?;
        Ok(Here {
            timeline: identified.timeline,
            position: says.replayed.or(says.flushed).unwrap_or_default(),
            standby: says.in_recovery,
        })
    }

    /// pg_rewind from this leader.
    pub(super) async fn rewind(
        &self,
        upstream: &Upstream,
        running: Option<Running>,
        cancel: &CancellationToken,
    ) -> Finished {
        let stop = Stop {
            immediate: false,
            checkpoint: false,
            deadline: None,
        };
        if let Some(running) = self.still_running(running)? {
            self.stop(Some(running), stop, cancel).await?;
        }
        self.nobody_rewinds()?;
        let patience = Patience::endless(cancel);
        let settings = self.settings();
        let data = &self.agent.data_dir;
        recover::archive(data, archives_by(&settings), &patience).await?;
        let version = self.version().await?;
        let access = Access::of(self, self.rewinder(), upstream, version, "read-write")?;
        let (pg_rewind, configuration) = (
            self.binaries().path("pg_rewind"),
            self.files.configuration(),
        );
        let elsewhere = (self.agent.config_dir != *data).then_some(configuration.as_path());
        let what = Rewind {
            pg_rewind: &pg_rewind,
            data,
            conninfo: &access.conninfo,
            passfile: access.passfile(),
            restore: restores_by(&settings, version, elsewhere),
        };
        match rewind::rewind(what, &patience).await {
            Ok(()) => Ok(JobOutcome::Done),
            Err(RewindError::Cancelled) => Err(Unfinished::Cancelled),
            Err(error) => Err(error.into()),
        }
    }

    /// Recovery in single-user mode.
    pub(super) async fn recover(&self, cancel: &CancellationToken) -> Finished {
        self.nobody_rewinds()?;
        let settings = self.settings();
        let postgres = self.binaries().path("postgres");
        let data = &self.agent.data_dir;
        let patience = Patience::endless(cancel);
        // What a dead postmaster left may still be writing there.
        self.end_orphans().await?;
        recover::recover(&postgres, data, archives_by(&settings), &patience).await?;
        Ok(JobOutcome::Done)
    }

    fn rewinder(&self) -> &Credentials {
        self.agent.rewind.as_ref().unwrap_or(&self.agent.superuser)
    }
}

/// `archive_command`, where archiving is on.
fn archives_by(settings: &Settings) -> Option<&str> {
    let parameter = |name| settings.parameters.get(name).map(String::as_str);
    let on = parameter("archive_mode").is_some_and(|mode| mode != "off");
    parameter("archive_command").filter(|_| on)
}

/// How pg_rewind gets what is missing (contract H.8): before 15 it looks for the configuration in the data directory.
fn restores_by<'a>(
    settings: &'a Settings,
    version: MajorVersion,
    elsewhere: Option<&'a std::path::Path>,
) -> Restore<'a> {
    let command = settings.recovery.get("restore_command");
    let command = command.or_else(|| settings.parameters.get("restore_command"));
    match command.filter(|command| !command.is_empty()) {
        None => Restore::Never,
        Some(_) if version.number() >= 15 || elsewhere.is_none() => Restore::Itself(elsewhere),
        Some(command) => Restore::By(command),
    }
}

/// How another member is reached as one user. The password file lives as long as this.
struct Access {
    psql: std::path::PathBuf,
    conninfo: String,
    secret: Option<SecretFile>,
}

impl Access {
    fn of(
        instance: &Instance,
        user: &Credentials,
        upstream: &Upstream,
        version: MajorVersion,
        session: &str,
    ) -> Result<Self, Unfinished> {
        let conninfo = Conninfo::of(user)
            .set("dbname", &instance.agent.database)
            .set("host", &upstream.host)
            .set("port", &upstream.port)
            .set("target_session_attrs", session);
        let hosts = [upstream.host.as_str()];
        let secret = match (&user.username, &user.password) {
            (Some(name), Some(password)) => {
                let text = files::pgpass(&hosts, upstream.port, name, password.reveal());
                let text = text.map_err(|words| Unfinished::Failed(words.to_owned()))?;
                Some(SecretFile::write(&text)?)
            }
            (_, None) | (None, Some(_)) => None,
        };
        Ok(Self {
            psql: instance.binaries().path("psql"),
            conninfo: conninfo.to_text(version),
            secret,
        })
    }

    fn passfile(&self) -> Option<&std::path::Path> {
        self.secret.as_ref().map(SecretFile::path)
    }

    fn remote(&self) -> Remote<'_> {
        Remote {
            psql: &self.psql,
            conninfo: &self.conninfo,
            passfile: self.passfile(),
        }
    }
}
