//! What the program does with its arguments and its configuration, up to the exit code.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use trunkline_support::parts::Parts;
use trunkline_support::patroni::{Patroni, Settings};
use trunkline_support::ports::Loopback;
use trunkline_support::workdir::WorkDir;

use crate::BINARY;

/// Runs the program, which ends by itself, with these variables and none of ours.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Output> {
    let mut command = Command::new("timeout");
    command.arg("20").arg(BINARY).args(arguments).env_clear();
    command
        .envs(variables.iter().copied())
        .env("PATH", "/usr/bin:/bin");
    command.output().context("running the agent")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file that is fine on this machine, as long as somebody listens in etcd's place.
struct Stand {
    folder: WorkDir,
    network: Loopback,
    _etcd: TcpListener,
    text: String,
}

impl Stand {
    fn new() -> Result<Self> {
        let (folder, network) = (WorkDir::new()?, Loopback::lease()?);
        let etcd = TcpListener::bind(network.free(1, 2379)?)?;
        let (rest, listen) = (network.free(2, 8008)?, network.free(2, 5432)?);
        let parts = Parts::find()?;
        let text = format!(
            "scope: demo\nname: pg-1\netcd3: {{hosts: ['{}']}}\nrestapi: {{listen: '{rest}', connect_address: \
             10.9.9.9:8008}}\npostgresql:\n  listen: {listen}\n  connect_address: 10.9.9.9:5432\n  data_dir: {}\n  \
             bin_dir: {}\n  pgpass: /tmp/none\n  authentication: {{superuser: {{username: a, password: b}}, \
             replication: {{username: c, password: d}}}}\n",
            etcd.local_addr()?,
            folder.path().join("data").display(),
            parts.postgresql_bin.display(),
        );
        Ok(Self {
            folder,
            network,
            _etcd: etcd,
            text,
        })
    }

    /// Where it listens for questions.
    fn rest(&self) -> Result<&str> {
        let begins = self.text.split_once("restapi: {listen: '");
        let (_, rest) = begins.context("no restapi")?;
        let (rest, _) = rest.split_once('\'').context("no address")?;
        Ok(rest)
    }

    fn validate(&self, text: &str, more: &[&str]) -> Result<(Option<i32>, String)> {
        let path = self.folder.path().join("patroni.yml");
        std::fs::write(&path, text)?;
        let path = path.to_str().context("a path that is no text")?;
        let output = run(&[&["--validate-config", path], more].concat(), &[])?;
        ensure!(output.stdout.is_empty(), "{output:?}");
        Ok((
            output.status.code(),
            stderr(&output).replace(path, "patroni.yml"),
        ))
    }
}

#[test]
fn a_configuration_that_is_fine_is_validated_in_silence() -> Result<()> {
    let stand = Stand::new()?;
    let (code, said) = stand.validate(&stand.text, &[])?;
    ensure!(code == Some(0) && said.is_empty(), "{code:?}: {said}");
    Ok(())
}

#[test]
fn whatever_would_go_wrong_on_this_machine_is_a_line_of_the_validator() -> Result<()> {
    let stand = Stand::new()?;
    let data = stand.folder.path().join("data");
    let closed = stand.network.free(3, 2379)?;
    let rest = stand.rest()?;
    let _owner = TcpListener::bind(rest)?;
    std::fs::create_dir(&data)?;
    std::fs::write(data.join("letter.txt"), "mine")?;
    let bin = Parts::find()?.postgresql_bin.display().to_string();
    let text = stand
        .text
        .replace(
            "connect_address: 10.9.9.9:5432",
            "connect_address: localhost:5432",
        )
        .replace(&bin, "/nowhere")
        .replace("hosts: ['", &format!("hosts: ['{closed}', '"));
    let (code, said) = stand.validate(&text, &[])?;
    ensure!(code == Some(1), "{code:?}: {said}");
    let port = rest.rsplit(':').next().unwrap_or_default();
    for line in [
        "postgresql.connect_address localhost:5432 didn't pass validation: must not contain \"127.0.0.1\", \"0.0.0.0\", \
         \"*\", \"::1\", \"localhost\"".to_owned(),
        format!("restapi.listen {rest} didn't pass validation: port {port} is already in use"),
        format!("etcd3.hosts {closed} didn't pass validation: {closed} is not reachable"),
        "postgresql.bin_dir /nowhere didn't pass validation: it has no initdb that can be run".to_owned(),
        format!("postgresql.data_dir {} didn't pass validation: ", data.display()),
    ] {
        ensure!(said.lines().any(|said| said.starts_with(&line)), "{line}\n{said}");
    }
    let (_, said) = stand.validate(&text, &["-i"])?;
    ensure!(!said.contains("already in use"), "{said}");
    Ok(())
}

#[test]
fn a_wrong_configuration_ends_a_start_with_78_and_the_validator_with_1() -> Result<()> {
    let stand = Stand::new()?;
    let text = stand.text.replace("etcd3:", "etcd:");
    let (code, said) = stand.validate(&text, &[])?;
    ensure!(code == Some(1), "{code:?}: {said}");
    ensure!(
        said.starts_with("patroni.yml:3: etcd: means etcd's v2 API"),
        "{said}"
    );
    let path = stand.folder.path().join("patroni.yml");
    let output = run(&[path.to_str().unwrap_or_default()], &[])?;
    ensure!(output.status.code() == Some(78), "{output:?}");
    ensure!(
        stderr(&output).contains("etcd: means etcd's v2 API"),
        "{output:?}"
    );
    Ok(())
}

#[test]
fn a_warning_is_said_and_does_no_harm() -> Result<()> {
    let stand = Stand::new()?;
    let (code, said) = stand.validate(&format!("{}  colour: blue\n", stand.text), &[])?;
    ensure!(code == Some(0), "{code:?}: {said}");
    ensure!(said.contains("warning: postgresql.colour"), "{said}");
    Ok(())
}

#[test]
fn without_any_configuration_it_says_so() -> Result<()> {
    for arguments in [&["/nonexistent.yml"][..], &[]] {
        let output = run(arguments, &[])?;
        ensure!(output.status.code() == Some(78), "{output:?}");
        ensure!(stderr(&output).contains("Config is empty."), "{output:?}");
    }
    let output = run(
        &["--validate-config"],
        &[("PATRONI_NAME", "pg-7"), ("PATRONI_NAMEE", "x")],
    )?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(
        stderr(&output).contains("did you mean PATRONI_NAME?"),
        "{output:?}"
    );
    Ok(())
}

#[test]
fn a_variable_that_is_no_text_says_nothing() -> Result<()> {
    let output = Command::new(BINARY)
        .env_clear()
        .env("PATRONI_NAME", OsStr::from_bytes(b"pg-\xff"))
        .arg("--validate-config")
        .output()?;
    ensure!(stderr(&output).contains("Config is empty."), "{output:?}");
    Ok(())
}

#[test]
fn its_version_names_the_patroni_it_stands_in_for() -> Result<()> {
    let output = run(&["--version"], &[])?;
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!("trunkline-agent {version} (patroni 4.1.5)\n");
    ensure!(output.stdout == expected.as_bytes(), "{output:?}");
    ensure!(run(&["-i"], &[])?.status.code() == Some(64));
    ensure!(run(&["--colour"], &[])?.status.code() == Some(64));
    let help = run(&["--help"], &[])?;
    ensure!(
        String::from_utf8_lossy(&help.stdout).contains("78 wrong configuration"),
        "{help:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_files_of_our_own_patroni_nodes_are_understood_without_a_word() -> Result<()> {
    let (workdir, network) = (Arc::new(WorkDir::new()?), Loopback::lease()?);
    let etcd = [network.free(1, 2379)?];
    let settings = Settings::default();
    let patroni = Patroni::prepare(settings, &etcd, &Parts::find()?, &network, &workdir)?;
    for node in patroni.nodes() {
        let file = node.config_file();
        let (agent, warnings) = trunkline_io::patroni_yml::load(Some(&file), &BTreeMap::new())?;
        ensure!(warnings.is_empty(), "{warnings}");
        ensure!(agent.name.as_str() == node.name());
        ensure!(Path::new(&agent.data_dir).is_absolute());
    }
    Ok(())
}

#[test]
fn an_agent_whose_port_is_taken_ends_before_it_has_seen_etcd() -> Result<()> {
    // Its etcd takes connections and never answers.
    let stand = Stand::new()?;
    let rest = stand.rest()?;
    let _owner = TcpListener::bind(rest)?;
    let path = stand.folder.path().join("patroni.yml");
    std::fs::write(&path, &stand.text)?;
    let output = run(&[path.to_str().context("a path that is no text")?], &[])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(stderr(&output).contains(rest), "{output:?}");
    Ok(())
}
