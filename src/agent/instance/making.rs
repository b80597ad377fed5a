//! Making a data directory: a new cluster, a copy of a member; and putting one aside.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trunkline_core::config::agent::Bootstrap;
use trunkline_core::ha::{JobOutcome, Mode, Stop};
use trunkline_core::postgres::conninfo::Conninfo;
use trunkline_core::postgres::{Identity, Upstream};
use trunkline_io::clock;

use super::applying::failed;
use super::{Finished, Instance, Unfinished};
use crate::postgres::clone::{self, Source};
use crate::postgres::postmaster::Running;
use crate::postgres::program::Patience;
use crate::postgres::unfinished;
use crate::postgres::{backups, bootstrap, control, roles, wipe};

/// How long the roles may take.
const ROLES: Duration = Duration::from_secs(30);
/// How long writing out a cluster that was just made may take.
const WRITE_OUT: Duration = Duration::from_secs(10);
/// How long PostgreSQL gets to end at once.
const AT_ONCE: Duration = Duration::from_secs(10);

impl Instance {
    /// Makes a new cluster: files, a first start, roles, the operator's script.
    pub(super) async fn bootstrap(&self, cancel: &CancellationToken) -> Finished {
        let Some(how) = &self.agent.bootstrap else {
            let words = "patroni.yml has no bootstrap section".to_owned();
            return Err(Unfinished::Failed(words));
        };
        let data = &self.agent.data_dir;
        let patience = Patience::endless(cancel);
        unfinished::clear(data).await?;
        self.state().made = true;
        match &how.method {
            None => self.initdb(how, &patience).await?,
            Some(method) => self.bootstrap_by(method, how, &patience).await?,
        }
        let control = control::read(&self.binaries(), data).await?;
        unfinished::finish(data)?;
        self.tell(|told| told.started(true));
        Ok(JobOutcome::Made(Identity {
            system_id: control.system_id,
            timeline: control.timeline,
        }))
    }

    async fn initdb(&self, how: &Bootstrap, patience: &Patience) -> Result<(), Unfinished> {
        let initdb = self.binaries().path("initdb");
        let (data, superuser) = (&self.agent.data_dir, &self.agent.superuser);
        bootstrap::initdb(&initdb, data, &how.initdb, superuser, patience).await?;
        let _changed = self.files.append_hba(&how.pg_hba)?;
        let (within, cancel) = (self.settings().start_timeout, &patience.cancel);
        let started = self.start_quietly(&Mode::Primary, within, cancel).await?;
        if started != JobOutcome::Done {
            self.out_of_recovery(patience).await?;
        }
        self.fill(how.post_init.as_deref(), patience).await?;
        self.write_out().await;
        Ok(())
    }

    /// Has what was made written out at once. Copies begin with a checkpoint at PostgreSQL's own pace, a tenth of a second
    /// for each page that is left to write: some fifty pages now, which would keep the first members waiting for seconds.
    /// What comes of it changes nothing.
    async fn write_out(&self) {
        if let Err(silence) = self.run_checkpoint(clock::now().after(WRITE_OUT)).await {
            tracing::warn!("the new cluster's first checkpoint: {silence}");
        }
    }

    /// Roles, and the operator's script between the superuser and the others (contract H.1).
    pub(super) async fn fill(
        &self,
        script: Option<&str>,
        patience: &Patience,
    ) -> Result<(), Unfinished> {
        let target = self.target(&self.settings());
        let by = || clock::now().after(ROLES);
        roles::superuser(&target, &self.agent, by())
            .await
            .map_err(failed("creating the superuser"))?;
        if let Some(script) = script {
            let superuser = &self.agent.superuser;
            let host = target.host();
            let conninfo = Conninfo::of(superuser)
                .set("dbname", &self.agent.database)
                .set("host", &host)
                .set("port", &self.agent.port)
                .to_text(self.version().await?);
            let passfile = self
                .files
                .write_pgpass(superuser, &[&host], self.agent.port)?;
            bootstrap::post_init(script, &conninfo, passfile.as_deref(), patience).await?;
        }
        roles::others(&target, &self.agent, by())
            .await
            .map_err(failed("creating the users for replication and pg_rewind"))
    }

    /// Copies a running member.
    pub(super) async fn clone_from(
        &self,
        upstream: &Upstream,
        cancel: &CancellationToken,
    ) -> Finished {
        let settings = self.settings();
        let version = self.binaries().version().await?;
        let user = &self.agent.replication;
        let conninfo = Conninfo::of(user)
            .set("dbname", &self.agent.database)
            .set("host", &upstream.host)
            .set("port", &upstream.port)
            .to_text(version);
        self.files.make_directories(&settings)?;
        let hosts = [upstream.host.as_str()];
        let passfile = self.files.write_pgpass(user, &hosts, upstream.port)?;
        let source = Source {
            scope: &self.agent.scope,
            data: &self.agent.data_dir,
            pg_basebackup: &self.binaries().path("pg_basebackup"),
            options: &settings.basebackup,
            conninfo: &conninfo,
            passfile: passfile.as_deref(),
        };
        clone::clone(
            source,
            &settings.replica_methods,
            &Patience::endless(cancel),
        )
        .await?;
        let _changed = backups::restore(&self.agent)?;
        Ok(JobOutcome::Done)
    }

    /// Puts a data directory whose bootstrap failed aside.
    pub(super) async fn put_aside(
        &self,
        running: Option<Running>,
        cancel: &CancellationToken,
    ) -> Finished {
        if !self.state().made {
            let data = self.agent.data_dir.display();
            tracing::warn!("{data} was not made by this agent: it is left as it is");
            return Ok(JobOutcome::Done);
        }
        self.end(running, at_once(), cancel).await?;
        let aside = wipe::put_aside(&self.agent.data_dir)?;
        tracing::warn!("the data directory was put aside: {}", aside.display());
        Ok(JobOutcome::Done)
    }

    /// Removes what is in the data directory. That this is allowed was decided (A5).
    pub(super) async fn wipe(&self, running: Option<Running>) -> Finished {
        self.stop(running, at_once(), &CancellationToken::new())
            .await?;
        self.nobody_rewinds()?;
        tracing::warn!("emptying {}", self.agent.data_dir.display());
        wipe::wipe(&self.agent.data_dir)?;
        Ok(JobOutcome::Done)
    }
}

fn at_once() -> Stop {
    Stop {
        immediate: true,
        checkpoint: false,
        deadline: Some(clock::now().after(AT_ONCE)),
    }
}
