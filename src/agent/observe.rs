//! Looking at PostgreSQL: its process, its directory, its control file, its own word. No choices.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use trunkline_core::config::agent::{Agent, Settings};
use trunkline_core::ha::{InFlight, Job};
use trunkline_core::postgres::{
    ControlData, DataDirectory, Database, HistoryFile, Postmaster, Silence,
};
use trunkline_core::{Moment, Observed, SystemId, Timeline};
use trunkline_io::clock;
use trunkline_io::shutdown::Tasks;

use crate::postgres::binaries::Binaries;
use crate::postgres::heartbeat::Heartbeat;
use crate::postgres::postmaster::{self, Found, Running};
use crate::postgres::query::Target;
use crate::postgres::{control, directory, history};

/// What the heartbeat's connection calls itself: people find it under that name in `pg_stat_activity`.
const APPLICATION: &str = "Patroni heartbeat";

/// What PostgreSQL was seen to be.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its data directory.
    pub(crate) data: DataDirectory,
    /// The identifier of what is in it.
    pub(crate) system_id: Option<SystemId>,
    /// The history of its timeline, of a primary.
    pub(crate) history_file: Option<HistoryFile>,
    /// Its control file.
    pub(crate) control: Observed<ControlData, String>,
    /// Its postmaster.
    pub(crate) postmaster: Postmaster,
    /// Its own word.
    pub(crate) database: Observed<Database, Silence>,
}

/// Looks at PostgreSQL, and keeps what was seen of it last.
#[derive(Debug)]
pub(crate) struct Observer {
    agent: Arc<Agent>,
    wake: Arc<Notify>,
    tasks: Tasks,
    heartbeat: Heartbeat,
    process: Process,
    data: DataDirectory,
    /// Whether a postmaster was looked for that nothing names.
    searched: bool,
    /// A look at it that has not come back.
    looking: Option<JoinHandle<DataDirectory>>,
    database: Observed<Database, Silence>,
    control: Observed<ControlData, String>,
    system_id: Option<SystemId>,
    history: Option<HistoryFile>,
}

/// The postmaster, as it was found.
#[derive(Debug)]
enum Process {
    Down(Moment),
    Up(Running, Moment),
}

impl Observer {
    /// Nothing seen yet. `wake` is notified when the postmaster ends.
    pub(crate) fn new(
        agent: Arc<Agent>,
        settings: &Settings,
        wake: Arc<Notify>,
        tasks: Tasks,
    ) -> Self {
        let now = clock::now();
        let target = Target::local(&agent, settings);
        Self {
            heartbeat: Heartbeat::new(target, APPLICATION)
                .replicating(Target::local_replication(&agent, settings)),
            agent,
            wake,
            tasks,
            process: Process::Down(now),
            data: DataDirectory::Unusable("it was not looked at yet".to_owned()),
            searched: false,
            looking: None,
            database: Observed::Unknown {
                since: now,
                cause: Silence::NotAsked,
            },
            control: Observed::Unknown {
                since: now,
                cause: "it was not read yet".to_owned(),
            },
            system_id: None,
            history: None,
        }
    }

    /// Other settings are in force.
    pub(crate) fn retarget(&mut self, settings: &Settings) {
        let replication = Target::local_replication(&self.agent, settings);
        self.heartbeat
            .retarget(Target::local(&self.agent, settings), Some(replication));
    }

    /// Forgets whose data it is: a job may have changed that.
    pub(crate) fn forget(&mut self) {
        self.system_id = None;
    }

    /// The running postmaster.
    pub(crate) fn running(&self) -> Option<&Running> {
        match &self.process {
            Process::Up(running, _) => Some(running),
            Process::Down(_) => None,
        }
    }

    /// Looks at everything. PostgreSQL gets `patience` to answer; it is not asked again if its last answer was asked for
    /// after `fresh`.
    pub(crate) async fn look(
        &mut self,
        job: Option<&InFlight>,
        fresh: Moment,
        patience: Duration,
    ) -> Seen {
        let trouble = self.look_for_postmaster();
        self.ask_database(fresh, patience).await;
        let data = match trouble {
            None => self.look_at_data(patience).await,
            Some(words) => DataDirectory::Unusable(words),
        };
        self.read_control(&data, job, fresh, patience).await;
        self.read_history();
        Seen {
            data,
            system_id: self.system_id.clone(),
            history_file: self.history.clone(),
            control: self.control.clone(),
            postmaster: match &self.process {
                Process::Down(since) => Postmaster::Down { since: *since },
                Process::Up(running, since) => Postmaster::Up {
                    pid: running.pid(),
                    since: *since,
                },
            },
            database: self.database.clone(),
        }
    }

    /// Whether the postmaster that was there still is, or one is there now. What keeps that from being told is returned.
    fn look_for_postmaster(&mut self) -> Option<String> {
        let now = clock::now();
        if let Process::Up(running, _) = &self.process {
            if !running.is_gone() {
                return None;
            }
            tracing::warn!(pid = running.pid(), "the postmaster is gone");
            self.process = Process::Down(now);
            self.heartbeat.close();
        }
        match postmaster::find(&self.agent.data_dir) {
            Ok(Found::Postmaster(running)) => {
                self.wake_at_the_end_of(&running);
                self.process = Process::Up(running, now);
                None
            }
            Ok(Found::Nobody | Found::Stranger(_)) if !self.searched => self.search(now),
            Ok(Found::Nobody | Found::Stranger(_) | Found::SingleUser(_)) => None,
            Err(error) => Some(error.to_string()),
        }
    }

    /// One that an earlier run of the agent knew, and whose lock file was overwritten since: it may be taking writes (A1).
    fn search(&mut self, now: Moment) -> Option<String> {
        let postgres = Binaries::of(&self.agent).path("postgres");
        let name = postgres.file_name().unwrap_or(postgres.as_os_str());
        let found = postmaster::find_unnamed(name, &self.agent.data_dir);
        self.searched = found.is_ok();
        match found {
            Ok(None) => None,
            Ok(Some(running)) => {
                tracing::warn!(
                    pid = running.pid(),
                    "a postmaster runs in {} that its postmaster.pid does not name: somebody has overwritten or removed \
                     that file, and PostgreSQL will end itself when it finds out, within a minute",
                    self.agent.data_dir.display()
                );
                self.wake_at_the_end_of(&running);
                self.process = Process::Up(running, now);
                None
            }
            Err(error) => Some(error.to_string()),
        }
    }

    fn wake_at_the_end_of(&self, running: &Running) {
        let (running, wake) = (running.clone(), Arc::clone(&self.wake));
        let end = self.tasks.ending().clone();
        self.tasks.spawn("postmaster", async move {
            if end.run_until_cancelled(running.gone()).await.is_some() {
                wake.notify_one();
            }
        });
    }

    async fn ask_database(&mut self, fresh: Moment, patience: Duration) {
        let asked = clock::now();
        let answer = match &self.process {
            Process::Down(_) => Err(Silence::NotAsked),
            Process::Up(_, since) => match self.database.fresh() {
                Some((_, asked)) if asked >= fresh && asked >= *since => return,
                Some(_) | None => self.heartbeat.ask(asked.after(patience)).await,
            },
        };
        match answer {
            Ok(answer) => self.database.answered(answer, asked),
            Err(cause) => {
                self.tell(&cause);
                let known = std::mem::replace(&mut self.database, nothing(asked));
                self.database = known.unanswered(cause, asked);
            }
        }
    }

    /// A PostgreSQL that runs and lets nobody in needs somebody; it is said once, until it says something else.
    fn tell(&self, cause: &Silence) {
        let before = match &self.database {
            Observed::Fresh { .. } => None,
            Observed::Stale { cause, .. } | Observed::Unknown { cause, .. } => Some(cause),
        };
        if let Silence::Failed(words) = cause
            && before != Some(cause)
        {
            tracing::warn!("PostgreSQL cannot be asked: {words}");
        }
    }

    /// The data directory, on a thread of its own: a disk that hangs must not hang whoever keeps the lock. Until it
    /// answers, what was seen last counts.
    async fn look_at_data(&mut self, patience: Duration) -> DataDirectory {
        let agent = &self.agent;
        let looking = self.looking.get_or_insert_with(|| {
            let agent = Arc::clone(agent);
            spawn_blocking(move || directory::observe(&agent))
        });
        match timeout(patience, looking).await {
            Ok(looked) => {
                self.looking = None;
                self.data = looked.unwrap_or_else(|error| {
                    DataDirectory::Unusable(format!("looking at the data directory: {error}"))
                });
            }
            Err(_) => tracing::warn!(
                "{} does not answer within {patience:?}: what was seen of it last counts",
                self.agent.data_dir.display()
            ),
        }
        self.data.clone()
    }

    /// The control file is read while PostgreSQL does not speak for itself, while a job changes it, and where replay has
    /// stopped.
    async fn read_control(
        &mut self,
        data: &DataDirectory,
        job: Option<&InFlight>,
        fresh: Moment,
        patience: Duration,
    ) {
        if !matches!(data, DataDirectory::Present { .. }) {
            self.system_id = None;
            return;
        }
        let changes = |flight: &InFlight| matches!(flight.job, Job::Stop(_) | Job::Promote);
        let speaks = self.database.fresh().filter(|_| !job.is_some_and(changes));
        if let Some((database, _)) = speaks
            && self.system_id.is_some()
        {
            // Why replay is paused, only the control file tells.
            let read = self
                .control
                .fresh()
                .is_some_and(|(_, asked)| asked >= fresh);
            if !database.replay_paused || read {
                return;
            }
        }
        let asked = clock::now();
        let binaries = Binaries::of(&self.agent);
        let reading = timeout(patience, control::read(&binaries, &self.agent.data_dir));
        let read = match reading.await {
            Ok(read) => read.map_err(|error| error.to_string()),
            Err(_) => Err(format!("pg_controldata gave no answer within {patience:?}")),
        };
        match read {
            Ok(control) => {
                self.system_id = Some(control.system_id.clone());
                self.control.answered(control, asked);
            }
            Err(error) => {
                let nothing = Observed::Unknown {
                    since: asked,
                    cause: String::new(),
                };
                let known = std::mem::replace(&mut self.control, nothing);
                self.control = known.unanswered(error, asked);
            }
        }
    }

    /// The history of the timeline a primary is on; it never changes.
    fn read_history(&mut self) {
        let primary = self
            .database
            .fresh()
            .map(|(database, _)| database)
            .filter(|database| !database.in_recovery);
        let timeline = primary.and_then(|database| database.timeline);
        let Some(timeline) = timeline.filter(|timeline| *timeline > Timeline(1)) else {
            self.history = None;
            return;
        };
        if self.history.as_ref().map(|history| history.timeline) == Some(timeline) {
            return;
        }
        self.history = match history::read(&self.wal(), timeline) {
            Ok(history) => Some(history),
            Err(error) => {
                tracing::warn!("{error}");
                None
            }
        };
    }

    fn wal(&self) -> PathBuf {
        self.agent.data_dir.join("pg_wal")
    }
}

const fn nothing(now: Moment) -> Observed<Database, Silence> {
    Observed::Unknown {
        since: now,
        cause: Silence::NotAsked,
    }
}
