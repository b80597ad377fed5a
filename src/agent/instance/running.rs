//! Starting, stopping and promoting.

use std::ffi::OsString;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trunkline_core::ha::{JobOutcome, Mode, Stop};
use trunkline_core::postgres::parameters::Raised;
use trunkline_core::postgres::{ControlData, DataDirectory};
use trunkline_io::clock;

use super::{Finished, Instance, Unfinished};
use crate::jobs::Turn;
use crate::postgres::binaries::Binaries;
use crate::postgres::callbacks::Told;
use crate::postgres::heartbeat::Heartbeat;
use crate::postgres::postmaster::{self, Found, Running};
use crate::postgres::program::{self, Output, Patience};
use crate::postgres::promote::{self, PromoteError};
use crate::postgres::query::Session;
use crate::postgres::start::{self, Start, Started};
use crate::postgres::stop::{self, Stopped};
use crate::postgres::{backups, control, directory, processes};

/// How long the CHECKPOINT before a stop may take before the stop goes on without its end.
const CHECKPOINT: Duration = Duration::from_secs(60);
/// How long the operator's script before a stop may take.
const BEFORE_STOP: Duration = Duration::from_secs(60);
/// How long a promotion may take.
const PROMOTION: Duration = Duration::from_secs(300);

impl Instance {
    /// Writes the configuration and starts PostgreSQL.
    pub(super) async fn start(
        &self,
        mode: &Mode,
        within: Duration,
        cancel: &CancellationToken,
    ) -> Finished {
        let outcome = self.start_quietly(mode, within, cancel).await?;
        self.tell(|told| told.started(*mode == Mode::Primary));
        Ok(outcome)
    }

    /// The same without telling anybody.
    pub(super) async fn start_quietly(
        &self,
        mode: &Mode,
        within: Duration,
        cancel: &CancellationToken,
    ) -> Finished {
        self.nobody_rewinds()?;
        let settings = self.settings();
        let version = self.version().await?;
        let control = self.control_for(mode).await?;
        self.files.make_directories(&settings)?;
        let files = &self.files;
        let written = files.write_for(&settings, mode, version, control.as_ref());
        let written = written.await?;
        for warning in &written.warnings {
            tracing::warn!("{warning}");
        }
        let arguments = self.files.command_line(&settings, control.as_ref());
        let outcome = self.launch(&arguments, within, cancel).await?;
        if outcome == JobOutcome::Done {
            let _changed = backups::save(&self.agent)?;
        }
        let mut state = self.state();
        state.pending_restart = written.raised.iter().map(pending).collect();
        state.applied = Some(settings);
        Ok(outcome)
    }

    /// Starts a postmaster with these arguments and waits for it; the files stand as they are to be.
    pub(super) async fn launch(
        &self,
        arguments: &[OsString],
        within: Duration,
        cancel: &CancellationToken,
    ) -> Finished {
        let what = Start {
            data: &self.agent.data_dir,
            postgres: &self.binaries().path("postgres"),
            arguments,
            sockets: &self.files.socket_locks(&self.settings()),
        };
        let patience = Patience::of(cancel, within);
        if cancel.is_cancelled() {
            return Err(Unfinished::Cancelled);
        }
        match start::start(&self.launcher, what, &patience).await? {
            Started::Ready(_) | Started::Closed(_) => Ok(JobOutcome::Done),
            Started::Still(_) => Ok(JobOutcome::StillStarting),
            Started::Cancelled(running) => {
                // Whoever gave it up wants none to run; nobody may find it by its file yet.
                self.end_now(running).await?;
                Err(Unfinished::Cancelled)
            }
            Started::Ended => {
                let words = "PostgreSQL ended while it was starting: its own log says why";
                Err(Unfinished::Failed(words.to_owned()))
            }
        }
    }

    /// A standby must be started with as much of some things as its primary has.
    async fn control_for(&self, mode: &Mode) -> Result<Option<ControlData>, Unfinished> {
        match mode {
            Mode::Primary => Ok(None),
            Mode::Standby(_) => {
                let binaries = Binaries::of(&self.agent);
                Ok(Some(control::read(&binaries, &self.agent.data_dir).await?))
            }
        }
    }

    /// Stops PostgreSQL, and once more if the job whose place this took has brought up another one meanwhile.
    pub(super) async fn stop_alone(
        &self,
        running: Option<Running>,
        how: Stop,
        turn: &Turn,
    ) -> Finished {
        let alone = turn.alone.is_cancelled();
        let stopped = self.stop(running, how, &turn.cancel).await;
        if alone {
            return stopped;
        }
        let waited = turn.cancel.run_until_cancelled(turn.alone.cancelled());
        if waited.await.is_none() {
            return Err(Unfinished::Cancelled);
        }
        match self.still_running(None)? {
            None => stopped,
            Some(running) => self.stop(Some(running), how, &turn.cancel).await,
        }
    }

    /// Stops PostgreSQL, however long that takes unless there is a deadline.
    pub(super) async fn stop(
        &self,
        running: Option<Running>,
        how: Stop,
        cancel: &CancellationToken,
    ) -> Finished {
        if self.end(running, how, cancel).await? {
            let data = directory::observe(&self.agent);
            let standby = matches!(data, DataDirectory::Present { signal: true, .. });
            self.tell(|told| told.stopped(standby));
        }
        Ok(JobOutcome::Done)
    }

    /// The same without telling anybody. Says whether there was anything to stop.
    pub(super) async fn end(
        &self,
        running: Option<Running>,
        how: Stop,
        cancel: &CancellationToken,
    ) -> Result<bool, Unfinished> {
        let Some(running) = self.still_running(running)? else {
            self.end_orphans().await?;
            return Ok(false);
        };
        if how.checkpoint && !how.immediate {
            self.checkpoint_before_stop(how).await;
        }
        if !how.immediate {
            self.before_stop(how, cancel).await;
        }
        match stop::stop(&running, how, cancel).await? {
            Stopped::InOrder => {}
            // So that nothing that it left behind acknowledges anything any more.
            Stopped::Immediately | Stopped::Killed => self.end_orphans().await?,
            Stopped::Cancelled => return Err(Unfinished::Cancelled),
        }
        Ok(true)
    }

    /// Ends this postmaster at once, without telling anybody.
    async fn end_now(&self, running: Running) -> Result<(), Unfinished> {
        let how = Stop::at_once(clock::now());
        let never = CancellationToken::new();
        self.end(Some(running), how, &never).await.map(drop)
    }

    /// The postmaster that was seen, or the one that runs.
    pub(super) fn still_running(
        &self,
        running: Option<Running>,
    ) -> Result<Option<Running>, Unfinished> {
        if let Some(running) = running.filter(|running| !running.is_gone()) {
            return Ok(Some(running));
        }
        match postmaster::find(&self.agent.data_dir)? {
            Found::Postmaster(running) => Ok(Some(running)),
            Found::Nobody | Found::Stranger(_) | Found::SingleUser(_) => Ok(None),
        }
    }

    /// A pg_rewind of an earlier run of this agent may have outlived it: nothing is done to the data beside it, and it is
    /// not ended either, since what it leaves half done cannot be used.
    pub(super) fn nobody_rewinds(&self) -> Result<(), Unfinished> {
        let data = &self.agent.data_dir;
        let found = processes::of_program_on("pg_rewind".as_ref(), data)?;
        found.first().map_or(Ok(()), |process| {
            Err(Unfinished::Failed(format!(
                "process {} (pg_rewind) is at work on {}: its end is waited for",
                process.pid,
                data.display()
            )))
        })
    }

    /// Ends what a dead postmaster left behind.
    pub(super) async fn end_orphans(&self) -> Result<(), Unfinished> {
        let postgres = self.binaries().path("postgres");
        let name = postgres.file_name().unwrap_or(postgres.as_os_str());
        start::end_orphans(name, &self.agent.data_dir).await?;
        Ok(())
    }

    /// So that the shutdown's own checkpoint has little left to do. What comes of it changes nothing.
    async fn checkpoint_before_stop(&self, how: Stop) {
        let by = clock::now().after(CHECKPOINT);
        let by = how.deadline.map_or(by, |deadline| by.min(deadline));
        if let Err(silence) = self.run_checkpoint(by).await {
            tracing::warn!("CHECKPOINT before the stop: {silence}");
        }
    }

    async fn before_stop(&self, how: Stop, cancel: &CancellationToken) {
        let settings = self.settings();
        let Some(script) = &settings.before_stop else {
            return;
        };
        let patience = Patience::of(cancel, BEFORE_STOP);
        let command = match program::split("postgresql.before_stop", script) {
            Ok(command) => command,
            Err(error) => return tracing::warn!("postgresql.before_stop: {error}"),
        };
        let run = program::run(command, Output::Logged, &patience);
        // The script gets a part of the time that is left, and no grace: PostgreSQL must be gone by the deadline (A1).
        let ran = match how.deadline {
            None => Ok(run.await),
            Some(deadline) => {
                let part = deadline.since(clock::now()) / 4;
                tokio::time::timeout(part, run).await
            }
        };
        match ran {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!("postgresql.before_stop: {error}"),
            Err(_) => tracing::warn!("postgresql.before_stop: there is no more time for it"),
        }
    }

    /// Takes PostgreSQL out of recovery.
    pub(super) async fn promote(&self, cancel: &CancellationToken) -> Finished {
        let settings = self.settings();
        let patience = Patience::of(cancel, PROMOTION);
        if let Some(script) = &settings.pre_promote {
            promote::pre_promote(script, &patience).await?;
        }
        let mut heartbeat = Heartbeat::new(self.target(&settings), "Patroni heartbeat");
        let pg_ctl = self.binaries().path("pg_ctl");
        let data = &self.agent.data_dir;
        let promoted = promote::promote(&pg_ctl, data, &mut heartbeat, &patience).await;
        if let Err(error) = promoted {
            // It may have been told to, and come out of recovery when somebody else leads: it must not run on.
            if let Some(running) = self.still_running(None)? {
                tracing::error!("{error}: PostgreSQL is stopped, so that it takes no writes later");
                self.end_now(running).await?;
            }
            return Err(match error {
                PromoteError::Cancelled => Unfinished::Cancelled,
                PromoteError::PrePromote(_) | PromoteError::PgCtl(_) | PromoteError::NotYet(_) => {
                    error.into()
                }
            });
        }
        self.tell(Told::promoted);
        Ok(JobOutcome::Done)
    }

    /// Runs CHECKPOINT, which may take long.
    pub(super) async fn run_checkpoint(
        &self,
        by: trunkline_core::Moment,
    ) -> Result<(), trunkline_core::postgres::Silence> {
        let target = self.target(&self.settings());
        let options = "-c statement_timeout=0";
        let mut session = Session::open(&target, "Patroni heartbeat", options, by).await?;
        session.run("CHECKPOINT", by).await
    }
}

fn pending(raised: &Raised) -> (String, (String, String)) {
    let values = (raised.used.clone(), raised.configured.clone());
    (raised.name.to_owned(), values)
}
