//! Running a program to its end: every line it says goes to the log, the last ones into the failure; it has a bound,
//! can be given up, and leaves neither a zombie nor a child behind. It does not know what the programs are for.

use std::collections::VecDeque;
use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trunkline_core::Moment;
use trunkline_io::clock;

/// A program that was told to end (SIGTERM) has this long (contract, appendix I).
const GRACE: Duration = Duration::from_secs(10);
/// What is left in the pipes when a program has ended is read for this long: a child of it may hold them open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// So many lines go into a failure.
const LINES_KEPT: usize = 15;
/// A line is cut here, in bytes.
const LONGEST_LINE: u64 = 4096;
/// So much of what a program writes to its standard output is kept, where it is asked for, in bytes.
const LONGEST_OUTPUT: u64 = 4 << 20;

/// How long a program may run.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Fires when it is to be given up.
    pub cancel: CancellationToken,
    /// By when it must have ended; never if [`Moment::NEVER`].
    pub deadline: Moment,
}

impl Patience {
    /// Until it is told to give up, no longer than `time`.
    #[must_use]
    pub fn of(cancel: &CancellationToken, time: Duration) -> Self {
        Self {
            cancel: cancel.clone(),
            deadline: clock::now().after(time),
        }
    }

    /// Until it is told to give up.
    #[must_use]
    pub fn endless(cancel: &CancellationToken) -> Self {
        Self {
            cancel: cancel.clone(),
            deadline: Moment::NEVER,
        }
    }

    /// Waits until patience is at its end and says why. Cancel safe.
    pub async fn ends(&self) -> Impatience {
        let left = self.deadline.since(clock::now());
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Impatience::Cancelled,
            () = sleep(self.deadline, left) => Impatience::TooLong,
        }
    }
}

async fn sleep(deadline: Moment, left: Duration) {
    if deadline == Moment::NEVER {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(left).await;
}

/// Why it was not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impatience {
    /// It was told to give up.
    Cancelled,
    /// The deadline has passed.
    TooLong,
}

/// Why a program did not do its work.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// It could not be started.
    #[error("starting {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The cause.
        source: io::Error,
    },
    /// It could not be waited for.
    #[error("waiting for {program}: {source}")]
    Wait {
        /// The program.
        program: String,
        /// The cause.
        source: io::Error,
    },
    /// It ended with a failure.
    #[error("{program} failed ({}){}", ending(*status), quote(last))]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// Its last lines: of standard error, where it said anything there.
        last: Vec<String>,
    },
    /// It did not end in time and was ended.
    #[error("{program} took too long and was ended{}", quote(last))]
    TooLong {
        /// The program.
        program: String,
        /// Its last lines: of standard error, where it said anything there.
        last: Vec<String>,
    },
    /// It was given up and ended.
    #[error("{program} was given up")]
    Cancelled {
        /// The program.
        program: String,
    },
    /// A command line that cannot be split as a shell would.
    #[error(
        "{what} in patroni.yml is no command: {command:?} (a quotation mark is not closed, or it is empty)"
    )]
    NoCommand {
        /// Whose command.
        what: String,
        /// As written.
        command: String,
    },
}

/// What is done with standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// It is logged, as standard error is.
    Logged,
    /// It is kept and returned, and not logged.
    Kept,
}

/// Runs a program with nothing on its standard input, and returns its standard output where that is kept.
///
/// If the returned future is dropped the program and its children are killed.
///
/// # Errors
/// Unless it ends with exit code 0 while there is patience.
pub async fn run(
    command: Command,
    output: Output,
    patience: &Patience,
) -> Result<Vec<u8>, ProgramError> {
    run_telling(command, output, patience, |_| ()).await
}

/// The same; `began` is told the number of the process, which is its process group's too.
///
/// # Errors
/// As of [`run`].
pub async fn run_telling(
    command: Command,
    output: Output,
    patience: &Patience,
    began: impl FnOnce(u32),
) -> Result<Vec<u8>, ProgramError> {
    let program = name(&command);
    let mut last = Lines::default();
    let mut group = Group::start(command, &program)?;
    if let Some(pid) = group.child.id() {
        began(pid);
    }
    let stdout = group.child.stdout.take();
    let stderr = group.child.stderr.take();
    let mut kept = Vec::new();
    let ended = {
        let said = listen(&program, output, stdout, stderr, &mut kept, &mut last);
        group.live(said, patience).await
    };
    let last = last.last();
    match ended {
        Ended::Alone(Ok(status)) if status.success() => Ok(kept),
        Ended::Alone(Ok(status)) => Err(ProgramError::Failed {
            program,
            status,
            last,
        }),
        Ended::Alone(Err(source)) => Err(ProgramError::Wait { program, source }),
        Ended::Killed(Impatience::TooLong) => Err(ProgramError::TooLong { program, last }),
        Ended::Killed(Impatience::Cancelled) => Err(ProgramError::Cancelled { program }),
    }
}

/// A command as people write it in patroni.yml, split as a shell would and nothing else.
///
/// # Errors
/// When it cannot be split; `what` is its key.
pub fn split(what: &str, command: &str) -> Result<Command, ProgramError> {
    let no_command = || ProgramError::NoCommand {
        what: what.to_owned(),
        command: command.to_owned(),
    };
    let mut words = shlex::split(command).ok_or_else(no_command)?.into_iter();
    let program = words.next().filter(|word| !word.is_empty());
    let mut split = Command::new(program.ok_or_else(no_command)?);
    split.args(words);
    clean_environment(&mut split);
    Ok(split)
}

/// Takes what is meant for the agent alone out of a program's environment: its configuration, passwords with it.
pub fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PATRONI_") {
            command.env_remove(&name);
        }
    }
}

/// How a process ended, in words.
#[must_use]
pub fn ending(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

fn quote(last: &[String]) -> String {
    if last.is_empty() {
        return String::new();
    }
    format!(": {}", last.join(" | "))
}

fn name(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    name.to_string_lossy().into_owned()
}

/// How a program came to its end.
enum Ended {
    Alone(io::Result<ExitStatus>),
    Killed(Impatience),
}

/// A child that leads a process group; the whole group is killed on drop.
struct Group {
    child: Child,
    leader: Option<Pid>,
}

impl Group {
    fn start(mut command: Command, program: &str) -> Result<Self, ProgramError> {
        use std::os::unix::process::CommandExt;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut command = tokio::process::Command::from(command);
        let child = command.kill_on_drop(true).spawn();
        let child = child.map_err(|source| ProgramError::Start {
            program: program.to_owned(),
            source,
        })?;
        let raw = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            leader: raw.and_then(Pid::from_raw),
            child,
        })
    }

    /// Waits for its end, listening meanwhile, and ends it when patience does.
    async fn live(&mut self, said: impl Future<Output = ()>, patience: &Patience) -> Ended {
        let mut said = std::pin::pin!(said);
        let mut all_said = false;
        let impatience = loop {
            tokio::select! {
                biased;
                status = self.child.wait() => {
                    if !all_said {
                        let _ = tokio::time::timeout(LAST_WORDS, said).await;
                    }
                    return Ended::Alone(status);
                }
                () = &mut said, if !all_said => all_said = true,
                impatience = patience.ends() => break impatience,
            }
        };
        self.signal(Signal::TERM);
        let dying = async {
            tokio::join!(self.child.wait(), async {
                if !all_said {
                    said.await;
                }
            })
        };
        let _ = tokio::time::timeout(GRACE, dying).await;
        self.signal(Signal::KILL);
        let _ = self.child.wait().await;
        Ended::Killed(impatience)
    }

    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // There is nobody left in the group: that is what was wanted.
            let _ = kill_process_group(leader, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // While the child is not waited for its number is its own; afterwards its children may be left, and a group
        // that has members keeps the number from being used anew.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::KILL);
        }
    }
}

/// The last lines a program said, apart by where: which of two pipes is read first is chance.
#[derive(Default)]
struct Lines {
    words: VecDeque<String>,
    complaints: VecDeque<String>,
}

/// Where a line was said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Word,
    Complaint,
}

impl Lines {
    fn push(&mut self, said: Said, line: String) {
        let lines = match said {
            Said::Word => &mut self.words,
            Said::Complaint => &mut self.complaints,
        };
        if lines.len() == LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// What a failure is best told with.
    fn last(self) -> Vec<String> {
        if self.complaints.is_empty() {
            self.words.into()
        } else {
            self.complaints.into()
        }
    }
}

async fn listen(
    program: &str,
    output: Output,
    stdout: Option<impl AsyncRead + Unpin>,
    stderr: Option<impl AsyncRead + Unpin>,
    kept: &mut Vec<u8>,
    last: &mut Lines,
) {
    let (sender, mut lines) = mpsc::channel(16);
    let errors = each_line(stderr, Said::Complaint, sender.clone());
    let words = async move {
        match (output, stdout) {
            (Output::Logged, stdout) => each_line(stdout, Said::Word, sender).await,
            (Output::Kept, None) => {}
            (Output::Kept, Some(mut stdout)) => {
                let _ = (&mut stdout).take(LONGEST_OUTPUT).read_to_end(kept).await;
                // Nobody reads the rest, but the program must be able to write it.
                let _ = tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await;
            }
        }
    };
    let log = async {
        while let Some((said, line)) = lines.recv().await {
            tracing::info!("{program}: {line}");
            last.push(said, line);
        }
    };
    tokio::join!(errors, words, log);
}

/// Sends every line there is, cut to a length, until nothing is left.
async fn each_line(
    from: Option<impl AsyncRead + Unpin>,
    said: Said,
    to: mpsc::Sender<(Said, String)>,
) {
    let Some(from) = from else {
        return;
    };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut part = (&mut from).take(LONGEST_LINE);
        if !matches!(part.read_until(b'\n', &mut line).await, Ok(1..)) {
            return;
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !text.is_empty() && to.send((said, text)).await.is_err() {
            return;
        }
    }
}
