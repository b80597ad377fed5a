//! The measured client: a set of steady writers with idle sessions beside them, and what they suffered.
//!
//! The clients are Python over libpq (writer.py): the same client for every path that is measured,
//! and the client library most applications have.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::parts::Parts;
use crate::postgres::{DATABASE, Sql, USER};
use crate::process::Process;
use crate::wait::{throughout, until};
use crate::workdir::WorkDir;

mod evidence;
pub use evidence::{Acknowledged, Session};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/writer.py");
/// A fault shows within this time: sessions of a killed server last for some milliseconds more.
const NOTICED: Duration = Duration::from_secs(1);

/// A running set of writers.
#[derive(Debug)]
pub struct Writers {
    run: String,
    process: Process,
    input: Option<ChildStdin>,
    said: Arc<Mutex<Said>>,
}

#[derive(Debug, Default)]
struct Said {
    /// When the writer that is worst off had its last row acknowledged; none before each has had
    /// one.
    all_wrote: Option<Instant>,
    report: Option<Report>,
}

/// What the writers saw from start to end.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    /// Longest time between two acknowledged rows, whoever wrote them.
    pub outage_ms: f64,
    /// The same within each writer.
    pub writer_outages_ms: Vec<f64>,
    /// Logins that succeeded.
    pub logins: u64,
    /// Of these, how many took longer than 200 ms.
    pub logins_held: u64,
    /// The slowest of them.
    pub longest_login_ms: f64,
    /// Logins answered by an error or by the end of the connection, by its text.
    pub refusals: BTreeMap<String, u64>,
    /// Sessions that ended without their client's wish, idle ones included, by the error's text.
    pub breaks: BTreeMap<String, u64>,
    /// Writes refused by a session that stood, by the error's text.
    pub errors: BTreeMap<String, u64>,
    /// Writes refused as read-only (25006): they reached a node that is no primary.
    pub read_only: u64,
    acknowledged: Many<Vec<Acknowledged>>,
    sessions: Many<Session>,
}

/// Thousands of numbers would bury what a failed test has to say.
#[derive(Clone, Deserialize)]
struct Many<T>(Vec<T>);

impl<T> std::fmt::Debug for Many<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "({} of them)", self.0.len())
    }
}

impl Report {
    /// Logins refused, for whatever reason.
    #[must_use]
    pub fn logins_refused(&self) -> u64 {
        self.refusals.values().sum()
    }

    /// Rows acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.0.iter().map(Vec::len).sum()
    }

    /// Writes that only two nodes taking writes at once can explain, each as a sentence.
    #[must_use]
    pub fn two_timelines(&self) -> Vec<String> {
        evidence::two_timelines(self.acknowledged.0.iter().flatten())
    }

    /// Sessions on a node that was not, or no longer, the one that takes writes, each as a sentence.
    #[must_use]
    pub fn wrong_sessions(&self) -> Vec<String> {
        evidence::wrong_sessions(self.acknowledged.0.iter().flatten(), &self.sessions.0)
    }

    /// Who took rows, on which timeline.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<String> {
        let rows = self.acknowledged.0.iter().flatten();
        rows.map(|row| format!("{} on timeline {}", row.node, row.timeline))
            .collect()
    }

    /// The longest outage any single writer saw.
    #[must_use]
    pub fn worst_writer_ms(&self) -> f64 {
        self.writer_outages_ms.iter().copied().fold(0.0, f64::max)
    }
}

/// Makes the table the writers write to.
pub async fn prepare(primary: SocketAddr) -> Result<()> {
    let sql = Sql::connect(primary, Duration::from_secs(10)).await?;
    sql.run(
        "CREATE TABLE IF NOT EXISTS trunkline_writes
             (run text, writer int, number bigint, PRIMARY KEY (run, writer, number))",
    )
    .await
}

/// How many clients there are, and how they log in.
#[derive(Clone, Copy, Debug)]
pub struct Crew {
    /// Those that write.
    pub writers: usize,
    /// Those that hold a session and say nothing.
    pub idle: usize,
    /// Whether they log in with TLS.
    pub tls: Tls,
}

/// Whether writers log in with TLS where the server has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// As libpq does by itself. What a server says inside TLS no router can read: it must not send anybody to
    /// one that is about to say no.
    Preferred,
    /// Never: a router can read that a server refuses, and hold the client instead.
    Never,
}

/// Where writers log in.
#[must_use]
pub fn conninfo(servers: &[SocketAddr], tls: Tls) -> String {
    let sslmode = match tls {
        Tls::Preferred => "prefer",
        Tls::Never => "disable",
    };
    let join = |part: &dyn Fn(&SocketAddr) -> String| {
        servers.iter().map(part).collect::<Vec<_>>().join(",")
    };
    let several = if servers.len() > 1 {
        "target_session_attrs=read-write"
    } else {
        ""
    };
    format!(
        "host={} port={} user={USER} dbname={DATABASE} \
         sslmode={sslmode} gssencmode=disable {several}",
        join(&|server| server.ip().to_string()),
        join(&|server| server.port().to_string()),
    )
}

impl Writers {
    /// Starts `crew` and waits until each writer has had a row acknowledged.
    ///
    /// Several servers mean libpq's own search for the one that can be written to.
    pub async fn start(
        run: &str,
        servers: &[SocketAddr],
        crew: Crew,
        parts: &Parts,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        let began = Instant::now();
        let mut command = parts.command(&parts.python, Path::new("/"));
        command
            .arg(PROGRAM)
            .arg(conninfo(servers, crew.tls))
            .arg(crew.writers.to_string())
            .arg(crew.idle.to_string())
            .arg(run);
        let (process, input, output) =
            Process::start_piped(&format!("writers-{run}"), &mut command, workdir)?;
        let said = Arc::new(Mutex::new(Said::default()));
        let listener = Arc::clone(&said);
        std::thread::Builder::new()
            .name(format!("writers-{run}"))
            .spawn(move || listen(output, &listener))
            .context("starting the thread that listens to the writers")?;
        let mut writers = Self {
            run: run.to_owned(),
            process,
            input: Some(input),
            said,
        };
        writers
            .all_wrote_since(began, Duration::from_secs(30))
            .await?;
        Ok(writers)
    }

    /// Waits until every writer has had a row acknowledged well after this call, which is to follow
    /// the fault: so the fault is over for all of them, and not merely unnoticed yet.
    pub async fn all_writing_again(&mut self, bound: Duration) -> Result<()> {
        self.all_wrote_since(Instant::now() + NOTICED, bound).await
    }

    async fn all_wrote_since(&mut self, since: Instant, bound: Duration) -> Result<()> {
        let writing = until("every writer writes", bound, async || {
            self.process.expect_running()?;
            let all_wrote = self
                .said()
                .all_wrote
                .context("some have not had a row yet")?;
            let ago = all_wrote.elapsed();
            ensure!(
                all_wrote > since,
                "the one worst off had its last row {ago:?} ago"
            );
            Ok(())
        });
        writing
            .await
            .map_err(|failure| self.process.with_log(&failure))
    }

    /// Lets them write for a while: a steady state on both sides of a fault is part of a run.
    pub async fn write_for(&mut self, time: Duration) -> Result<()> {
        throughout("the writers run", time, async || {
            self.process.expect_running()
        })
        .await
    }

    /// Stops them and returns what they saw.
    pub async fn stop(mut self) -> Result<Report> {
        drop(self.input.take());
        let reported = until(
            "the writers have reported",
            Duration::from_secs(30),
            async || self.said().report.clone().context("no report yet"),
        );
        reported
            .await
            .map_err(|failure| self.process.with_log(&failure))
    }

    /// The name its rows carry.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many rows of `run` were acknowledged to a writer and are not on `primary`.
pub async fn lost(run: &str, report: &Report, primary: SocketAddr) -> Result<usize> {
    let sql = Sql::connect(primary, Duration::from_secs(10)).await?;
    let rows = sql
        .pairs::<i32, i64>(
            "SELECT writer, number FROM trunkline_writes WHERE run = $1",
            &[&run],
        )
        .await?;
    if rows.is_empty() && report.acknowledged() > 0 {
        bail!("{primary} has no row of {run} at all");
    }
    let kept: HashSet<(i32, i64)> = rows.into_iter().collect();
    let acknowledged = (0..).zip(&report.acknowledged.0);
    Ok(acknowledged
        .flat_map(|(writer, rows)| rows.iter().map(move |row| (writer, row.number)))
        .filter(|row| !kept.contains(row))
        .count())
}

/// Reads what the writers say until they end.
fn listen(output: ChildStdout, said: &Mutex<Said>) {
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Line {
        /// How many milliseconds ago the writer that is worst off had its last row acknowledged.
        Behind(Option<f64>),
        Report(Report),
    }
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        match serde_json::from_str(&line) {
            Ok(Line::Behind(ago)) => {
                said.all_wrote = ago
                    .and_then(|ago| Instant::now().checked_sub(Duration::from_secs_f64(ago / 1e3)));
            }
            Ok(Line::Report(report)) => said.report = Some(report),
            // A line nobody understands leaves the wait for a report to fail, log attached.
            Err(_unreadable) => {}
        }
    }
}
