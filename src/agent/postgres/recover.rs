//! Recovery after a crash in single-user mode, so that pg_rewind finds a data directory that was shut down in order; and
//! archiving what waits for it, before it may be thrown away (contract H.7).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;
use trunkline_core::postgres::options_file;
use trunkline_io::files;

use super::postmaster::{self, FindError, Found};
use super::program::{self, Output, Patience, ProgramError};

/// `postmaster.opts` is one line.
const LONGEST: u64 = 1 << 18;
/// Files that would make a recovery of another kind of it.
const SIGNALS: [&str; 3] = ["standby.signal", "recovery.signal", "recovery.conf"];

/// Why there was no recovery.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// A file is in the way.
    #[error("{what} {}: {source}", path.display())]
    File {
        /// What was being done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It cannot be told who runs there.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Somebody does.
    #[error("process {0} runs PostgreSQL on this data directory: it must be stopped before")]
    Runs(u32),
    /// PostgreSQL failed.
    #[error("recovering in single-user mode: {0}")]
    Postgres(#[from] ProgramError),
}

/// Recovers. PostgreSQL is down. `archive_command` as it is in force, where archiving is on.
///
/// # Errors
/// When it cannot be done.
pub async fn recover(
    postgres: &Path,
    data: &Path,
    archive_command: Option<&str>,
    patience: &Patience,
) -> Result<(), RecoverError> {
    let stranger = match postmaster::find(data)? {
        Found::Nobody => None,
        Found::Stranger(pid) => Some(pid),
        Found::SingleUser(pid) => return Err(RecoverError::Runs(pid)),
        Found::Postmaster(running) => return Err(RecoverError::Runs(running.pid())),
    };
    archive(data, archive_command, patience).await?;
    empty(&data.join("pg_wal/archive_status"))?;
    for signal in SIGNALS {
        remove(&data.join(signal))?;
    }
    let mut command = Command::new(postgres);
    command.arg("--single").arg("-D").arg(data);
    for (name, value) in options(data) {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command.args([
        "-c",
        "archive_mode=on",
        "-c",
        "archive_command=false",
        "template1",
    ]);
    program::clean_environment(&mut command);
    postmaster::disown(&mut command, stranger);
    Ok(program::run(command, Output::Logged, patience)
        .await
        .map(drop)?)
}

/// Archives what waits for that, oldest first, until the command fails: what comes after a gap is of no use. `None`:
/// nothing is archived here.
///
/// # Errors
/// When the directory cannot be read.
pub async fn archive(
    data: &Path,
    archive_command: Option<&str>,
    patience: &Patience,
) -> Result<(), RecoverError> {
    let Some(archive_command) = archive_command.filter(|command| !command.trim().is_empty()) else {
        return Ok(());
    };
    let folder = data.join("pg_wal/archive_status");
    for name in waiting(&folder)? {
        let path = format!("pg_wal/{name}");
        let command = shell(&expanded(archive_command, &path, &name), data);
        if let Err(error) = program::run(command, Output::Logged, patience).await {
            tracing::error!("archiving {name}: {error}");
            return Ok(());
        }
        let (ready, done) = (format!("{name}.ready"), format!("{name}.done"));
        let ready = folder.join(ready);
        fs::rename(&ready, folder.join(done))
            .map_err(|source| failed("marking as archived", &ready, source))?;
    }
    Ok(())
}

/// Fetches a file of the log by `restore_command`.
///
/// # Errors
/// When the command fails.
pub async fn fetch(
    data: &Path,
    restore_command: &str,
    name: &str,
    patience: &Patience,
) -> Result<(), ProgramError> {
    let command = expanded(restore_command, &format!("pg_wal/{name}"), name);
    program::run(shell(&command, data), Output::Logged, patience)
        .await
        .map(drop)
}

/// PostgreSQL runs such commands by the shell, in the data directory.
fn shell(command: &str, data: &Path) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).current_dir(data);
    program::clean_environment(&mut shell);
    shell
}

/// A command with its placeholders filled in: `%p` the path, `%f` the name, `%%` a percent sign. What else begins with
/// one stays.
fn expanded(command: &str, path: &str, name: &str) -> String {
    let mut text = String::with_capacity(command.len());
    let mut rest = command.chars();
    while let Some(next) = rest.next() {
        if next != '%' {
            text.push(next);
            continue;
        }
        match rest.next() {
            Some('p') => text.push_str(path),
            Some('f') => text.push_str(name),
            Some('%') | None => text.push('%'),
            Some(other) => text.extend(['%', other]),
        }
    }
    text
}

/// The files of the log that wait to be archived, oldest first.
fn waiting(folder: &Path) -> Result<Vec<String>, RecoverError> {
    let mut names: Vec<String> = entries(folder)?
        .iter()
        .filter_map(|name| name.to_str()?.strip_suffix(".ready"))
        .filter(|name| is_log_file(name))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// 24 digits in hexadecimal, perhaps with `.partial`.
fn is_log_file(name: &str) -> bool {
    let digits = name.strip_suffix(".partial").unwrap_or(name);
    digits.len() == 24 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// The parameters PostgreSQL was started with last.
fn options(data: &Path) -> Vec<(String, String)> {
    let file = files::read(&data.join("postmaster.opts"), LONGEST).unwrap_or_default();
    let parsed = options_file::parse(&file);
    parsed.map_or_else(Vec::new, |(_, arguments)| {
        options_file::parameters(&arguments)
    })
}

fn empty(folder: &Path) -> Result<(), RecoverError> {
    for name in entries(folder)? {
        remove(&folder.join(name))?;
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<OsString>, RecoverError> {
    let read = |source| failed("reading the directory", folder, source);
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries
            .map_err(read)?
            .map(|entry| Ok(entry.map_err(read)?.file_name()))
            .collect(),
    }
}

fn remove(path: &Path) -> Result<(), RecoverError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|source| failed("removing", path, source)),
    }
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> RecoverError {
    RecoverError::File {
        what,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in_and_nothing_else() {
        let command = "cp %p /a/%f && echo 100%% %x %";
        let filled = expanded(command, "pg_wal/1", "1");
        assert_eq!(filled, "cp pg_wal/1 /a/1 && echo 100% %x %");
    }

    #[tokio::test]
    async fn what_waits_is_archived_oldest_first_until_the_command_fails() {
        let data = tempfile::tempdir().unwrap();
        let status = data.path().join("pg_wal/archive_status");
        fs::create_dir_all(&status).unwrap();
        let name = |number: u32| format!("{:024X}", number);
        for number in [3, 1, 2] {
            fs::write(status.join(format!("{}.ready", name(number))), "").unwrap();
        }
        fs::write(status.join("history.ready"), "").unwrap();
        let command = format!("echo %f %p >> told; test %f != {}", name(2));
        let patience = Patience::endless(&tokio_util::sync::CancellationToken::new());
        archive(data.path(), Some(&command), &patience)
            .await
            .unwrap();
        let told = fs::read_to_string(data.path().join("told")).unwrap();
        let line = |number| format!("{0} pg_wal/{0}\n", name(number));
        assert_eq!(told, line(1) + &line(2));
        assert!(status.join(format!("{}.done", name(1))).exists());
        assert!(status.join(format!("{}.ready", name(2))).exists());
        assert!(status.join(format!("{}.ready", name(3))).exists());
    }
}
