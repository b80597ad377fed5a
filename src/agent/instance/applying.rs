//! What changes while PostgreSQL runs: whom it follows, its configuration, its slots.

use std::time::Duration;

use rustix::process::Signal;
use trunkline_core::ha::{JobOutcome, Mode};
use trunkline_core::postgres::compare::{self, Context, Kind, Setting};
use trunkline_core::postgres::{DataDirectory, Silence, Upstream};
use trunkline_core::slots::SlotChange;
use trunkline_io::clock;

use super::{Finished, Instance, Unfinished};
use crate::postgres::query::{Row, Session};
use crate::postgres::{backups, directory, slots};

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long changing slots may take: one that is created waits for whatever transactions run.
const SLOTS: Duration = Duration::from_secs(30);
/// How long the CHECKPOINT after a promotion may take.
const CHECKPOINT: Duration = Duration::from_secs(3600);

const SETTINGS: &str =
    "SELECT name, setting, unit, context, vartype FROM pg_catalog.pg_settings ORDER BY name";

impl Instance {
    /// Makes a running standby follow somebody else, or nobody. Since PostgreSQL 13 that takes no restart.
    pub(super) async fn follow(&self, upstream: Option<&Upstream>) -> Finished {
        let mode = Mode::Standby(upstream.cloned());
        self.apply(&mode).await?;
        self.tell(|told| told.reloaded(false));
        Ok(JobOutcome::Done)
    }

    /// Applies the settings in force to a running PostgreSQL.
    pub(super) async fn reload(&self) -> Finished {
        let mode = match directory::observe(&self.agent) {
            DataDirectory::Present {
                signal: true,
                follows,
                ..
            } => Mode::Standby(follows),
            DataDirectory::Present { signal: false, .. } => Mode::Primary,
            DataDirectory::Empty | DataDirectory::Unusable(_) => {
                let words = "the data directory cannot be read".to_owned();
                return Err(Unfinished::Failed(words));
            }
        };
        self.apply(&mode).await?;
        self.tell(|told| told.reloaded(mode == Mode::Primary));
        Ok(JobOutcome::Done)
    }

    /// Writes the files, has PostgreSQL read them, and looks what waits for a restart.
    pub(super) async fn apply(&self, mode: &Mode) -> Result<(), Unfinished> {
        let settings = self.settings();
        let version = self.version().await?;
        let before = self.files.parameters()?;
        let written = self.files.write_for(&settings, mode, version, None).await?;
        for warning in &written.warnings {
            tracing::warn!("{warning}");
        }
        let by = clock::now().after(PATIENCE);
        let target = self.target(&settings);
        let opened = Session::open(&target, "Patroni heartbeat", "", by).await;
        if matches!(opened, Err(Silence::Starting)) {
            return self.reload_unasked();
        }
        let mut session = opened.map_err(failed("connecting to PostgreSQL"))?;
        session
            .run("SELECT pg_catalog.pg_reload_conf()", by)
            .await
            .map_err(failed("having PostgreSQL read its configuration again"))?;
        let rows = session.rows(SETTINGS, by).await;
        let rows = rows.map_err(failed("reading pg_settings"))?;
        let server: Vec<_> = rows.into_iter().filter_map(setting).collect();
        let difference = compare::compare(&written.parameters, &before, &server);
        let _changed = backups::save(&self.agent)?;
        let mut state = self.state();
        state.pending_restart = difference.restart;
        state.applied = Some(settings);
        Ok(())
    }

    /// Has a PostgreSQL that takes no connections yet read its configuration: one that waits for a leader's log may wait
    /// for ever otherwise. What waits for a restart is looked up when it answers.
    fn reload_unasked(&self) -> Result<(), Unfinished> {
        let gone = || Unfinished::Failed("PostgreSQL is gone".to_owned());
        let running = self.still_running(None)?.ok_or_else(gone)?;
        running.signal(Signal::HUP).map_err(|error| {
            Unfinished::Failed(format!(
                "telling PostgreSQL to read its configuration: {error}"
            ))
        })
    }

    /// Creates, drops and advances slots.
    pub(super) async fn change_slots(&self, changes: &[SlotChange]) -> Finished {
        let target = self.target(&self.settings());
        slots::change(&target, changes, clock::now().after(SLOTS))
            .await
            .map_err(failed("changing replication slots"))?;
        Ok(JobOutcome::Done)
    }

    /// The CHECKPOINT after a promotion.
    pub(super) async fn checkpoint(&self) -> Finished {
        self.run_checkpoint(clock::now().after(CHECKPOINT))
            .await
            .map_err(failed("CHECKPOINT"))?;
        Ok(JobOutcome::Done)
    }
}

/// What was being done when PostgreSQL fell silent.
pub(super) fn failed(what: &'static str) -> impl Fn(Silence) -> Unfinished {
    move |silence| Unfinished::Failed(format!("{what}: {silence}"))
}

fn setting(row: Row) -> Option<Setting> {
    let [name, setting, unit, context, kind] = <[Option<String>; 5]>::try_from(row).ok()?;
    Some(Setting {
        name: name?,
        setting: setting.unwrap_or_default(),
        unit,
        context: Context::of(&context?),
        kind: Kind::of(&kind?),
    })
}
