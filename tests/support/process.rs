//! A child process with a log file, in a process group of its own, ended on drop.
//!
//! It is started for a [`WorkDir`], whose janitor ends it should this program be killed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::network::Place;
use crate::parts::Account;
use crate::wait::until;
use crate::workdir::WorkDir;

const LOG_TAIL: u64 = 4_000;

/// A running (or ended) child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    _workdir: Arc<WorkDir>,
}

impl Process {
    /// Starts `command` as `account` (or as ourselves), its output in `NAME.log` of the directory.
    pub fn start(
        name: &str,
        command: &mut Command,
        account: Option<&Account>,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        Self::start_at(&Place::default(), name, command, account, workdir)
    }

    /// The same on a host of a network.
    pub fn start_at(
        place: &Place,
        name: &str,
        command: &mut Command,
        account: Option<&Account>,
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        let (log, file) = log(name, workdir)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        Self::spawn(place, name, command, account, workdir, log)
    }

    /// The same, but we write its input and read its output; only its complaints go to the log.
    pub fn start_piped(
        name: &str,
        command: &mut Command,
        workdir: &Arc<WorkDir>,
    ) -> Result<(Self, ChildStdin, ChildStdout)> {
        let log = workdir.path().join(format!("{name}.log"));
        let file =
            File::create(&log).with_context(|| format!("making the log {}", log.display()))?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file);
        let mut process = Self::spawn(&Place::default(), name, command, None, workdir, log)?;
        let input = process
            .child
            .stdin
            .take()
            .context("its input is not a pipe")?;
        let output = process
            .child
            .stdout
            .take()
            .context("its output is not a pipe")?;
        Ok((process, input, output))
    }

    /// The same with these for its input and output; its complaints go to the log.
    pub fn start_passing(
        name: &str,
        command: &mut Command,
        [input, output]: [Stdio; 2],
        workdir: &Arc<WorkDir>,
    ) -> Result<Self> {
        let (log, file) = log(name, workdir)?;
        command.stdin(input).stdout(output).stderr(file);
        Self::spawn(&Place::default(), name, command, None, workdir, log)
    }

    fn spawn(
        place: &Place,
        name: &str,
        command: &mut Command,
        account: Option<&Account>,
        workdir: &Arc<WorkDir>,
        log: PathBuf,
    ) -> Result<Self> {
        if let Some(account) = account {
            command.uid(account.uid).gid(account.gid);
        }
        let child = place.spawn(command.process_group(0)).with_context(|| {
            format!(
                "starting {name} ({})",
                Path::new(command.get_program()).display()
            )
        })?;
        let process = Self {
            name: name.to_owned(),
            child,
            log,
            _workdir: Arc::clone(workdir),
        };
        workdir.remember(process.pid(), start_time(process.pid())?)?;
        Ok(process)
    }

    /// What it is called in messages and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, which is also its group's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, once it has one.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .with_context(|| format!("asking whether {} still runs", self.name))
    }

    /// Fails with its status and its last words unless it runs.
    pub fn expect_running(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(self.with_log(&anyhow!("{} ended: {status}", self.name))),
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.rustix_pid()?, signal)
            .with_context(|| format!("sending {signal:?} to {} ({})", self.name, self.pid()))
    }

    /// What Ctrl-C at its terminal would send it (SIGINT).
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// Has it read its configuration again (SIGHUP).
    pub fn hang_up(&self) -> Result<()> {
        self.signal(Signal::HUP)
    }

    /// Freezes it (SIGSTOP): its sockets stay open and nobody answers.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks it to end (SIGTERM) without waiting for that.
    pub fn ask_to_end(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub async fn terminate(&mut self, bound: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(bound).await
    }

    /// Ends it and its group at once (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        kill_process_group(self.rustix_pid()?, Signal::KILL)
            .with_context(|| format!("killing {} ({})", self.name, self.pid()))?;
        self.child
            .wait()
            .with_context(|| format!("waiting for killed {}", self.name))?;
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub async fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        let what = format!("{} ({}) has ended", self.name, self.pid());
        let ended = until(&what, bound, async || match self.ended()? {
            Some(status) => Ok(status),
            None => bail!("it still runs"),
        })
        .await;
        ended.map_err(|failure| self.with_log(&failure))
    }

    /// The failure, with the end of this process's log attached.
    #[must_use]
    pub fn with_log(&self, failure: &anyhow::Error) -> anyhow::Error {
        let told = format!("{failure:#}");
        anyhow!(
            "{told}\n--- the end of {}:\n{}",
            self.log.display(),
            self.log_tail()
        )
    }

    /// The last lines it wrote.
    #[must_use]
    pub fn log_tail(&self) -> String {
        read_tail(&self.log).unwrap_or_else(|error| format!("(unreadable: {error})"))
    }

    /// Everything it wrote.
    pub fn log(&self) -> Result<String> {
        let bytes =
            std::fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn rustix_pid(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.pid())?).context("a child's pid is never 0")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the janitor tries again after us.
        let _killed = self.kill();
    }
}

/// How a status reads in a report: its code, or the signal that ended it.
#[must_use]
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}

/// When a process started, in ticks since boot: with its pid, a name that is never reused.
pub(crate) fn start_time(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    // The name may hold spaces and parentheses; the fields behind its last ")" do not.
    let fields = stat.rsplit_once(')').map_or("", |(_name, fields)| fields);
    let field = fields
        .split_whitespace()
        .nth(19)
        .with_context(|| format!("{path} is short"))?;
    field
        .parse()
        .with_context(|| format!("{path}: start time {field:?}"))
}

fn read_tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The log of the process called `name`, to be written on.
fn log(name: &str, workdir: &WorkDir) -> Result<(PathBuf, File)> {
    let log = workdir.path().join(format!("{name}.log"));
    let opened = File::options().create(true).append(true).open(&log);
    let file = opened.with_context(|| format!("opening the log {}", log.display()))?;
    Ok((log, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_failure_carries_the_end_of_the_log() {
        let workdir = Arc::new(WorkDir::new().unwrap());
        let mut process = Process::start(
            "talker",
            &mut shell("echo last words; exit 3"),
            None,
            &workdir,
        )
        .unwrap();
        let status = process.wait(Duration::from_secs(5)).await.unwrap();
        assert_eq!(describe(status), "exit code 3");
        let failure = process.expect_running().unwrap_err().to_string();
        assert!(failure.contains("last words"), "{failure}");
    }

    #[tokio::test]
    async fn a_dropped_process_takes_its_children_along() {
        let workdir = Arc::new(WorkDir::new().unwrap());
        let marker = workdir.path().join("child");
        let script = format!("sleep 300 & echo $! > {}; wait", marker.display());
        let process = Process::start("parent", &mut shell(&script), None, &workdir).unwrap();
        let child = until(
            "the child has said its pid",
            Duration::from_secs(5),
            async || Ok(std::fs::read_to_string(&marker)?.trim().parse::<u32>()?),
        )
        .await
        .unwrap();
        drop(process);
        until("the child is gone", Duration::from_secs(5), async || {
            let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                return Ok(());
            }
            bail!("{state}")
        })
        .await
        .unwrap();
    }
}
