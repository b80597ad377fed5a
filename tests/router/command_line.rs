//! What the program does with its arguments and its configuration, up to the exit code.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use trunkline_support::ports::Loopback;
use trunkline_support::process::Process;
use trunkline_support::workdir::WorkDir;

use crate::client::{Answer, Client};
use crate::stand::{BINARY, Plan, on};

struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the program to its end.
async fn run(arguments: &[&str]) -> Result<Outcome> {
    let workdir = Arc::new(WorkDir::new()?);
    let mut command = Command::new(BINARY);
    command.args(arguments);
    let (mut process, input, mut output) = Process::start_piped("run", &mut command, &workdir)?;
    drop(input);
    let status = process.wait(Duration::from_secs(10)).await?;
    let mut stdout = String::new();
    output.read_to_string(&mut stdout)?;
    Ok(Outcome {
        code: status.code(),
        stdout,
        stderr: process.log()?,
    })
}

fn says(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "{word:?} is not said in: {text}");
    }
    Ok(())
}

/// A place for files, gone with the test.
struct Files(WorkDir);

impl Files {
    fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.0.path().join(name);
        std::fs::write(&path, text)?;
        shown(&path)
    }
}

fn shown(path: &Path) -> Result<String> {
    Ok(path.to_str().context("a path that is no text")?.to_owned())
}

/// A configuration whose write listener is on `write`, with `more` in its section.
fn config(write: SocketAddr, more: &str) -> String {
    format!(
        "cluster:\n  scope: demo\n  etcd3: {{hosts: [\"127.0.0.1:1\"]}}\n\
         listeners:\n  write: {{bind: \"{write}\"{more}}}\nstats: off\n"
    )
}

#[tokio::test]
async fn a_wrong_value_is_named_with_file_line_and_key_before_any_port_is_taken() -> Result<()> {
    let (files, network) = (Files(WorkDir::new()?), Loopback::lease()?);
    // Somebody has the port: had the program tried to take it, that would be its complaint.
    let taken = network.free(1, 5000)?;
    let _owner = TcpListener::bind(taken)?;
    let file = files.write("bad.yml", &config(taken, ", hold: soon"))?;
    let outcome = run(&["-f", &file]).await?;
    ensure!(outcome.code == Some(78), "{:?}", outcome.code);
    says(
        &outcome.stderr,
        &["bad.yml:5:", "listeners.write.hold", "soon"],
    )
}

#[tokio::test]
async fn an_unknown_key_is_a_warning_with_its_line_and_check_says_what_was_understood() -> Result<()>
{
    let (files, network) = (Files(WorkDir::new()?), Loopback::lease()?);
    let write = network.free(1, 5000)?;
    let file = files.write("odd.yml", &config(write, ", colour: blue"))?;
    let outcome = run(&["--check", "-f", &file]).await?;
    ensure!(outcome.code == Some(0), "{:?}", outcome.code);
    says(
        &outcome.stderr,
        &["odd.yml:5: warning", "listeners.write.colour"],
    )?;
    says(
        &outcome.stdout,
        &["cluster demo", "/service/demo/", &write.to_string()],
    )
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_listener() -> Result<()> {
    let (files, network) = (Files(WorkDir::new()?), Loopback::lease()?);
    let taken = network.free(1, 5000)?;
    let _owner = TcpListener::bind(taken)?;
    let file = files.write("fine.yml", &config(taken, ""))?;
    let outcome = run(&["-f", &file]).await?;
    ensure!(outcome.code == Some(69), "{:?}", outcome.code);
    says(&outcome.stderr, &["write", &taken.to_string(), "in use"])
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() -> Result<()> {
    let files = Files(WorkDir::new()?);
    let folder = shown(files.0.path())?;
    let missing = shown(&PathBuf::from(&folder).join("missing.yml"))?;
    let binary = files.0.path().join("binary.yml");
    std::fs::write(&binary, b"cluster: \xff\xfe\n")?;
    let binary = shown(&binary)?;
    for file in [folder, missing, binary] {
        let outcome = run(&["-f", &file]).await?;
        ensure!(outcome.code == Some(78), "{file}: {:?}", outcome.code);
        says(&outcome.stderr, &[&file])?;
    }
    Ok(())
}

#[tokio::test]
async fn patronis_own_file_and_flags_need_no_file_of_ours() -> Result<()> {
    let files = Files(WorkDir::new()?);
    let patroni = "scope: orders\nnamespace: /pg/\nname: pg-1\netcd3:\n  hosts: [10.1.0.10:2379]\n";
    let patroni = files.write("patroni.yml", patroni)?;
    let told = [
        run(&["--check", "--from-patroni", &patroni]).await?,
        run(&[
            "--check",
            "--etcd",
            "10.1.0.10:2379",
            "--scope",
            "orders",
            "--namespace",
            "/pg/",
        ])
        .await?,
    ];
    for outcome in told {
        ensure!(
            outcome.code == Some(0),
            "{:?}: {}",
            outcome.code,
            outcome.stderr
        );
        let understood = [
            "/pg/orders/",
            "http://10.1.0.10:2379",
            "*:5000",
            "*:5001",
            "*:5002",
        ];
        says(&outcome.stdout, &understood)?;
    }
    Ok(())
}

#[tokio::test]
async fn wrong_arguments_exit_64_and_questions_about_the_program_0() -> Result<()> {
    for (arguments, code) in [
        (&["--nonsense"][..], 64),
        (&["--scope", "alone"], 64),
        (&["--help"], 0),
        (&["--version"], 0),
    ] {
        let outcome = run(arguments).await?;
        ensure!(
            outcome.code == Some(code),
            "{arguments:?}: {:?}",
            outcome.code
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_scope_etcd_does_not_know_is_said_once_and_clients_are_told() -> Result<()> {
    let plan = Plan {
        scope: Some("misspelt"),
        write: "hold: 1s",
        ..Plan::default()
    };
    on(plan, async |stand| {
        for _ in 0..2 {
            let mut client = Client::ask(stand.write()).await?;
            let answer = client.answer().await?;
            let Answer::Refused { code, message } = answer else {
                anyhow::bail!("{answer:?}");
            };
            ensure!(code == "57P03", "{code}");
            says(&message, &["misspelt", "check scope and namespace"])?;
        }
        let log = stand.router.process().log()?;
        let holding = log.lines().filter(|line| {
            line.contains("listener=\"write\"") && line.contains("holding: etcd holds no such")
        });
        ensure!(holding.count() == 1, "not one line");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_not_built_says_so_and_what_to_use_and_exits_69() -> Result<()> {
    let outcome = tokio::process::Command::new(env!("CARGO_BIN_EXE_trunklinectl"))
        .output()
        .await?;
    ensure!(outcome.status.code() == Some(69), "{}", outcome.status);
    says(
        &String::from_utf8(outcome.stderr)?,
        &["not built yet", "patronictl"],
    )?;
    Ok(())
}
