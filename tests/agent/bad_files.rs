//! Whatever stands where a configuration should: a sentence that names the file and says what is wrong with it, an exit
//! code, soon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trunkline_support::process::Process;
use trunkline_support::wait::until;
use trunkline_support::workdir::WorkDir;

use crate::BINARY;

/// Longer than any of these takes on a busy machine; `timeout` then answers 124.
const SOON: &str = "10";

fn run(arguments: &[&Path], variables: &[(&str, &[u8])]) -> Result<Output> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let mut command = Command::new("timeout");
    command.arg(SOON).arg(BINARY).args(arguments).env_clear();
    command.env("PATH", "/usr/bin:/bin");
    for (name, value) in variables {
        command.env(name, OsStr::from_bytes(value));
    }
    command.output().context("running the agent")
}

/// It ends with 78 and says these words, in lines that people can read.
fn refused(output: &Output, words: &[&str]) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(78), "{output:?}");
    ensure!(!said.contains("panicked"), "{said}");
    ensure!(said.len() < 4_000, "{} bytes: {said:.200}", said.len());
    for word in words {
        ensure!(said.contains(word), "{word}: {said}");
    }
    Ok(())
}

fn pipe(path: &Path) -> Result<()> {
    let made = Command::new("mkfifo").arg(path).status()?;
    ensure!(made.success(), "mkfifo {}", path.display());
    Ok(())
}

/// What somebody may have put there, and what is said of it.
fn garbage() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let deep = |open: &str, count: usize| open.repeat(count).into_bytes();
    let bomb = (1..40).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
        let before = level - 1;
        format!("{text}a{level}: &a{level} [*a{before}, *a{before}, *a{before}]\n")
    });
    vec![
        ("nothing", Vec::new(), "Config is empty."),
        ("not UTF-8", b"scope: \xff\xfe\n".to_vec(), "UTF-8"),
        (
            "a program",
            fs::read("/bin/true").unwrap_or_default(),
            "UTF-8",
        ),
        ("zeroes", vec![0; 4096], ""),
        ("lists", deep("[", 100_000), ""),
        ("maps", deep("{a: ", 100_000), ""),
        ("steps", deep("- ", 100_000), ""),
        ("quotes", deep("\"", 99_999), ""),
        ("a word", deep("a", 1 << 20), ""),
        ("a list", b"- scope\n- name\n".to_vec(), ""),
        ("aliases", bomb.into_bytes(), ""),
        ("10 MB", deep("# a comment\n", 900_000), "larger than 1 MiB"),
    ]
}

#[test]
fn whatever_is_in_patroni_yml_is_refused_soon_and_in_a_few_words() -> Result<()> {
    let folder = WorkDir::new()?;
    let path = folder.path().join("patroni.yml");
    for (what, bytes, words) in garbage() {
        fs::write(&path, &bytes)?;
        let output = run(&[&path], &[])?;
        refused(&output, &[words]).context(what)?;
        let named = what == "nothing"
            || output
                .stderr
                .starts_with(path.as_os_str().as_encoded_bytes());
        ensure!(named, "{what}: {output:?}");
    }
    Ok(())
}

#[test]
fn whatever_is_in_the_environment_is_refused_in_the_same_way() -> Result<()> {
    for (what, bytes, words) in garbage() {
        // Linux takes no longer one, and none with a zero in it.
        if bytes.len() > 120_000 || bytes.contains(&0) {
            continue;
        }
        let text = std::str::from_utf8(&bytes).is_ok();
        let output = run(&[], &[("PATRONI_CONFIGURATION", &bytes)])?;
        let words = if text && !bytes.is_empty() {
            words
        } else {
            "Config is empty."
        };
        refused(&output, &[words]).context(what)?;
    }
    Ok(())
}

#[test]
fn what_is_no_file_is_not_waited_for() -> Result<()> {
    let folder = WorkDir::new()?;
    let fifo = folder.path().join("pipe.yml");
    pipe(&fifo)?;
    refused(
        &run(&[&fifo], &[])?,
        &["pipe.yml", "it is no ordinary file"],
    )?;
    let endless = PathBuf::from("/dev/zero");
    refused(
        &run(&[&endless], &[])?,
        &["/dev/zero", "it is no ordinary file"],
    )?;
    // A directory is one of files: here there is one that is none, and nothing else.
    refused(&run(&[folder.path()], &[])?, &["Config is empty."])?;
    let inner = folder.path().join("inner.yml");
    fs::create_dir(&inner)?;
    refused(&run(&[folder.path()], &[])?, &["Config is empty."])?;
    let nobody = folder.path().join("loop.yml");
    std::os::unix::fs::symlink(&nobody, &nobody)?;
    refused(&run(&[&nobody], &[])?, &["Config is empty."])?;
    Ok(())
}

/// A configuration that is fine, whose etcd nobody answers for: the agent waits for it.
fn waiting(data: &Path) -> String {
    format!(
        "scope: demo\nname: pg-1\netcd3: {{hosts: ['127.0.0.1:1']}}\nrestapi: {{listen: \
         '127.0.0.1:1'}}\nbootstrap: {{dcs: {{retry_timeout: 3}}}}\npostgresql:\n  listen: 127.0.0.1:1\n  data_dir: {}\n  \
         pgpass: /nonexistent/pgpass\n  authentication: {{superuser: {{username: a, password: b}}, replication: {{username: c, password: d}}}}\n",
        data.display()
    )
}

#[tokio::test]
async fn whatever_the_data_directory_remembers_as_dynamic_configuration_the_agent_starts_without_it()
-> Result<()> {
    let folder = Arc::new(WorkDir::new()?);
    let data = folder.path().join("data");
    fs::create_dir(&data)?;
    let path = folder.path().join("patroni.yml");
    fs::write(&path, waiting(&data))?;
    let kept = data.join("patroni.dynamic.json");
    let mut cases = garbage();
    cases.push(("17 MB", vec![b' '; (1 << 24) + 1], ""));
    for (number, (what, bytes, _)) in cases.into_iter().enumerate() {
        fs::write(&kept, &bytes)?;
        starts(&folder, number).await.context(what)?;
    }
    fs::remove_file(&kept)?;
    pipe(&kept)?;
    starts(&folder, 100).await.context("a pipe")?;
    fs::remove_file(&kept)?;
    fs::create_dir(&kept)?;
    starts(&folder, 101).await.context("a directory")
}

/// The agent names the file and gets on with its start, until it is told to end.
async fn starts(folder: &Arc<WorkDir>, number: usize) -> Result<()> {
    const BOUND: Duration = Duration::from_secs(20);
    let mut command = Command::new(BINARY);
    command.arg(folder.path().join("patroni.yml")).env_clear();
    let mut agent = Process::start(&format!("agent-{number}"), &mut command, None, folder)?;
    until("it names the file and asks etcd", BOUND, async || {
        agent.expect_running()?;
        let log = agent.log()?;
        let named =
            |line: &str| line.contains("WARNING: ") && line.contains("patroni.dynamic.json");
        ensure!(log.lines().any(named), "{log:.2000}");
        ensure!(
            log.contains("etcd's only endpoint cannot be used"),
            "{log:.2000}"
        );
        Ok(())
    })
    .await?;
    let status = agent.terminate(BOUND).await?;
    ensure!(status.code() == Some(1), "{status}");
    let log = agent.log()?;
    ensure!(log.lines().all(|line| line.len() < 1_000), "a long line");
    Ok(())
}
